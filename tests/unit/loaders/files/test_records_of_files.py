"""Tables and JSON: which fields are what."""

from __future__ import annotations

import pytest

from hybrid_search.errors import UsageError
from hybrid_search.loaders import open_dataset
from hybrid_search.loaders.mapping import Fields
from hybrid_search.types import Document

URLS = '{"url": "u/1", "name": "Fleas", "body": "They jump.", "summary": "Jumpers.", "lang": "en", "deep": {"a": 1}}\n'


def test_the_usual_names_are_known_and_other_fields_become_metadata(put, load):
    put("a.jsonl", URLS)
    loaded = load()
    assert loaded.documents == {
        "a.jsonl#1": Document(
            "a.jsonl#1",
            "They jump.",
            "Fleas",
            {"path": "a.jsonl", "url": "u/1", "summary": "Jumpers.", "lang": "en"},
        )
    }
    assert loaded.counts["fields_left_out"] == 1


def test_fields_are_chosen_by_name_and_the_others_left_out(put, load):
    put("a.jsonl", URLS + '{"name": "no url", "body": "x"}\n')
    fields = Fields(id="url", title="name", text=("body", "summary"), metadata=("lang",))
    loaded = load(fields=fields)
    assert loaded.documents == {
        "u/1": Document("u/1", "They jump.\n\nJumpers.", "Fleas", {"path": "a.jsonl", "lang": "en"})
    }
    assert [(one.line, one.field, one.reason) for one in loaded.rejected] == [(2, "url", "missing")]


def test_a_table_has_a_document_in_each_row_and_numbers_stay_texts(put, load):
    put("a.tsv", "id\ttext\tyear\n7\tThey jump.\t2024\n")
    put("b.csv", "id;text\n7;They bite.\n8;They eat.\n")
    loaded = load()
    assert loaded.documents["7"] == Document("7", "They jump.", "", {"path": "a.tsv", "year": "2024"})
    assert list(loaded.documents) == ["7", "8"]
    assert [one.reason for one in loaded.rejected] == [
        "the id was seen before with other content; the first record stays; if tables count their rows alike, choose "
        "id=path+id, so that ids begin with the file's path"
    ]


def test_json_may_be_an_array_an_object_or_lines(put, load):
    put("a.json", '[{"id": 1, "text": "x"},\n {"id": 2, "text": "y"}]')
    put("b.json", '{"id": 3,\n "content": "z"}')
    put("c.json", '{"id": 4, "text": "w"}\n{"id": 5, "text": "v"}\n')
    assert list(load().documents) == ["1", "2", "3", "4", "5"]


def test_a_record_without_a_text_is_rejected_with_the_names_to_choose_from(put, load):
    put("a.jsonl", '{"id": 1, "question": "Do they jump?"}\n')
    [rejection] = load().rejected
    assert rejection.reason == (
        "blank, and so is the title; the fields are id, question: choose with `text`, `title` and `id` what they are"
    )


def test_jsonl_takes_unknown_fields_as_metadata_and_a_choice_of_them(write, rejected):
    path = write("mine.jsonl", '{"id": 1, "text": "x", "lang": "en", "deep": {}, "metadata": {"year": 3}}\n')
    everything = open_dataset("jsonl", path, reject=rejected.append)
    assert [one.metadata for one in everything.documents()] == [{"year": 3, "lang": "en"}]
    assert everything.report() == {"documents": 1, "fields_left_out": 1}
    nothing = open_dataset("jsonl", path, reject=rejected.append, fields=Fields(metadata=()))
    assert [one.metadata for one in nothing.documents()] == [{}]
    assert rejected == []


def test_the_fields_of_a_public_data_set_can_not_be_chosen(write):
    with pytest.raises(UsageError, match="the fields of beir are known"):
        open_dataset("beir", write("x", "").parent, reject=print, fields=Fields(id="url"))


def test_ids_may_begin_with_the_path_so_that_two_tables_have_rows_of_the_same_ids(put, load):
    put("a.csv", "id,text\n7,They jump.\n")
    put("sub/b.csv", "id,text\n7,They bite.\n")
    loaded = load(fields=Fields(id="path+id"))
    assert (list(loaded.documents), loaded.rejected) == (["a.csv#7", "sub/b.csv#7"], [])


def test_what_is_binary_or_empty_is_named(put, load):
    put("a.dat", b"\0\1\2" * 50)
    put("b.txt", " \n")
    put("c.txt", "They jump.")
    loaded = load()
    assert loaded.data.not_read == {"binary": ["a.dat"], "empty": ["b.txt"]}


def test_a_rejected_record_names_the_fields_as_they_were_chosen(put, load, write, rejected):
    fields = Fields(id="url", title="name", text=("body", "summary"))
    put("a.jsonl", '{"url": "u/1", "body": " "}\n{"url": "", "body": "x"}\n')
    found = [(one.field, one.reason) for one in load(fields=fields).rejected]
    assert found == [("body, summary", "blank, and so is the title"), ("url", "blank")]
    mine = open_dataset("jsonl", write("m.jsonl", '{"url": "u/1"}\n'), reject=rejected.append, fields=fields)
    assert list(mine.documents()) == []
    assert [one.field for one in rejected] == ["body, summary"]


def test_a_passage_that_can_not_have_an_id_is_told_with_its_record_s_file_and_line(put, load):
    put("a.md", "# A\n\nA page before it.")
    table = put("b.csv", f"id,text\n1,x\n{'i' * 511},y\n")
    [rejection] = load(config="passages").rejected
    assert (rejection.source, rejection.line, rejection.field) == (str(table), 3, "id")


def test_fields_that_metadata_can_not_hold_are_named(put, load):
    put("a.jsonl", "".join(f'{{"id": {n}, "text": "x", "deep{n}": {{}}, "lang": "en"}}\n' for n in range(12)))
    loaded = load()
    assert len(loaded.documents) == loaded.counts["fields_left_out"] == 12
    assert list(loaded.data.left_out.unfit) == [f"deep{n}" for n in range(10)]
