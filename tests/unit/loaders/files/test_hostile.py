"""What is passed over and what is rejected, while the rest is read."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest

from hybrid_search.errors import DataError, DatasetNotFound, UsageError
from hybrid_search.loaders.files import open_dataset


def test_hidden_and_binary_files_links_and_parts_of_pages_are_counted_and_the_rest_is_read(put, load, folder, tmp_path):
    put("a.txt", "They jump.")
    put(".git/config", "x")
    put(".hidden.md", "x")
    put("b.dat", b"\0\1\2")
    put("empty.md", "\n")
    put("style.css", "p {}")
    put("package.json", '{"name": "it",\n "dependencies": {}}')
    (tmp_path / "outside.txt").write_text("secret")
    (folder / "out.txt").symlink_to(tmp_path / "outside.txt")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.txt")
    loaded = load()
    assert list(loaded.documents) == ["a.txt"]
    assert loaded.counts == {
        "documents": 1, "files": 4, "not_read_hidden": 2, "not_read_binary": 1, "not_read_empty": 1,
        "not_read_assets": 1, "not_read_data": 1, "not_read_links": 2, "not_read_special": 1,
    }  # fmt: skip
    assert loaded.rejected == []


def test_what_is_broken_or_an_archive_is_rejected_with_its_reason(put, load, folder):
    put("a.txt", "They jump.")
    put("broken.pdf", "%PDF-1.4 and no more")
    put("named.pdf", "no such thing")
    put("broken.docx", b"PK\3\4 and no more")
    put("damaged.txt.gz", b"\x1f\x8b\x08 and no more")
    put("broken.json", '{"id": \n')
    with zipfile.ZipFile(folder / "some.zip", "w") as archive:
        archive.writestr("a.txt", "x")
    with tarfile.open(folder / "some.tar", "w") as packed:
        packed.add(folder / "a.txt")
    loaded = load()
    assert list(loaded.documents) == ["a.txt"]
    assert {name: reason.split(";")[0].split(":")[0] for name, reason in loaded.reasons.items()} == {
        "broken.pdf": "a broken pdf file",
        "named.pdf": "no PDF",
        "broken.docx": "no DOCX file, or a broken one",
        "damaged.txt.gz": "the packed file is damaged",
        "broken.json": "not JSON",
        "some.zip": "a zip archive",
        "some.tar": "a tar archive",
    }


def test_a_file_that_is_too_large_or_a_docx_that_unpacks_to_more_is_rejected(put, load, folder):
    put("a.txt", "They jump.")
    with open(folder / "huge.txt", "wb") as file:
        file.truncate(1 << 33)
    with (
        zipfile.ZipFile(folder / "bomb.docx", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("word/document.xml", "w", force_zip64=True) as part,
    ):
        for _ in range(65):
            part.write(bytes(1 << 20))
    loaded = load()
    assert list(loaded.documents) == ["a.txt"]
    assert loaded.reasons == {"huge.txt": "8,192 MiB; at most 64 are read", "bomb.docx": "unpacks to more than 64 MiB"}


def test_html_of_any_depth_ends_in_time_and_is_rejected_where_the_rest_of_it_would_be_lost(put, load):
    put("deep.html", "<div>" * 200_000 + "They jump.")
    put("page.html", "<div>" * 500 + "They jump.")
    loaded = load()
    assert loaded.reasons == {"deep.html": "elements are nested too deeply"}
    assert loaded.documents["page.html"].text == "They jump."


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.md", "> " * 20_000 + "x"),
        ("a.md", "- " * 5_000 + "x"),
        ("a.md", "[" * 20_000),
        ("a.rst", "* " * 300 + "x"),
        ("a.md", "---\na: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n---\nx"),
        ("a.json", "[" * 100_000),
    ],
    ids=range(6),
)
def test_a_text_made_to_exhaust_a_parser_is_read_or_rejected(put, load, name, content):
    put(name, content)
    put("b.txt", "They jump.")
    loaded = load()
    assert "b.txt" in loaded.documents
    is_read, is_rejected = name in loaded.documents, bool(loaded.rejected)
    assert is_read != is_rejected


def test_a_single_file_may_be_given_and_a_folder_without_files_is_an_error(put, load, folder):
    with pytest.raises(DataError, match="no file to read"):
        load()
    assert list(load(put("a.md", "# Fleas\n\nThey jump.")).documents) == ["a.md"]


def test_a_path_is_needed_and_must_be_there(tmp_path):
    with pytest.raises(UsageError, match="needs a `path`"):
        open_dataset(None, reject=print)
    with pytest.raises(DatasetNotFound):
        open_dataset(tmp_path / "nosuch", reject=print)


def test_a_missing_reader_is_said_with_its_extra(put, folder):
    put("a.md", "# Fleas")
    code = (
        "import sys; sys.modules['markdown_it'] = None\n"
        "from pathlib import Path; from hybrid_search.loaders.files import open_dataset\n"
        f"list(open_dataset(Path({str(folder)!r}), reject=print).documents())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "markdown-it-py is not installed; it comes with the extra 'files'" in done.stderr


def test_a_front_matter_that_merges_itself_again_and_again_is_text(put, load):
    merged = [f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}]}}" for before, name in pairwise("abcdefghij")]
    put("a.md", "\n".join(["---", "a: &a {x: 1}", *merged, "---", "They jump."]))
    put("b.md", "---\nbase: &base {author: Ann}\nmore: {<<: *base}\nauthor: Ben\n---\nThey run.")
    loaded = load()
    assert "They jump." in loaded.documents["a.md"].text
    assert (loaded.documents["b.md"].text, loaded.documents["b.md"].metadata["author"]) == ("They run.", "Ben")


@pytest.mark.parametrize("seconds", [99_999_999_999_999, -99_999_999_999])
def test_a_file_changed_at_a_time_that_no_calendar_has_is_read(seconds):
    memory = "/dev/shm"  # most file systems on disks keep no such time
    with tempfile.TemporaryDirectory(dir=memory if os.path.isdir(memory) else None) as place:
        file = Path(place, "a.txt")
        file.write_text("They jump.")
        os.utime(file, (seconds, seconds))
        assert [one.text for one in open_dataset(Path(place), reject=pytest.fail, config="whole").documents()] == [
            "They jump."
        ]


@pytest.mark.parametrize("word", ["*a ", "`a ", "(|a ", "a_ ", "https://a.example/b "])
def test_restructured_text_that_its_parser_would_not_end_is_read_as_plain_text(put, load, word):
    put("a.rst", f"Title\n=====\n\n{word * 20_000}\n\nThey jump.\n")
    began = time.process_time()
    loaded = load()
    assert loaded.rejected == []
    assert loaded.documents["a.rst"].text.endswith("They jump.")
    assert time.process_time() - began < 8  # a moment; looking for the end of each mark took twenty seconds
