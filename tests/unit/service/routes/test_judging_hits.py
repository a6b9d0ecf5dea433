"""Judgements become a data set that the loader reads; neighbours are those of the document's own vector."""

from __future__ import annotations

import threading
from pathlib import Path

from service_app import opening, served
from starlette.testclient import TestClient

from hybrid_search.loaders.registry import open_dataset
from hybrid_search.service.routes.judgements import Judgements
from hybrid_search.types import Document


def test_what_is_judged_is_read_by_the_loader_and_the_last_word_counts(own_index: Path, tmp_path: Path) -> None:
    folder = tmp_path / "judged"
    with opening(own_index, writable=True)() as retriever:
        retriever.add([Document("d 3", "a tree")])
    with served(own_index, judgements=str(folder)) as client:
        for query, document_id, grade in (
            ("a pet", "d1", 1),
            ("a pet", "d2", 0),
            ("A  pet", "d1", 3),
            ("à\n\t?", "d 3", 1),
        ):
            asked = {"query": query, "document_id": document_id, "grade": grade}
            assert client.post("/judgements", json=asked).json() == {"noted": True}
        assert client.post("/judgements", json={"query": " ", "document_id": "d1", "grade": 1}).status_code == 400
        assert client.post("/judgements", json={"query": "x", "document_id": "a\tb", "grade": 1}).status_code == 400
        unknown = client.post("/judgements", json={"query": "x", "document_id": "nosuch", "grade": 1})
        assert (unknown.status_code, unknown.json()["type"]) == (404, "urn:hybrid-search:Unknown")
    (folder / "documents.jsonl").write_text('{"id": "d1", "text": "x"}\n')
    data = open_dataset("jsonl", folder, reject=lambda rejection: (_ for _ in ()).throw(AssertionError(rejection)))
    texts = {query.id: query.text for query in data.queries("dev")}
    found = {(texts[one.query_id], one.document_id, one.grade) for one in data.judgements("dev")}
    # "A  pet" is the same query but for case and space.
    assert found == {("a pet", "d1", 3), ("a pet", "d2", 0), ("à\n\t?", "d 3", 1)}


def test_many_judge_at_once_and_none_is_lost(tmp_path: Path) -> None:
    judgements = [Judgements(tmp_path), Judgements(tmp_path)]  # as in two processes
    threads = [
        threading.Thread(target=lambda n=number: [judgements[n % 2].note(f"q{n}", f"d{i}", 1) for i in range(5)])
        for number in range(6)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len((tmp_path / "qrels" / "dev.tsv").read_text().splitlines()) == 1 + 6 * 5
    assert len((tmp_path / "queries.jsonl").read_text().splitlines()) == 6


def test_a_service_without_a_folder_notes_nothing(client: TestClient) -> None:
    answer = client.post("/judgements", json={"query": "x", "document_id": "d1", "grade": 1})
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:hybrid-search:NoJudgements")


def test_neighbours_are_those_of_the_document_s_vector_without_itself(client: TestClient) -> None:
    # d1 is two parts of one axis and one of another; d2 and d3 are pure.
    hits = client.post("/neighbours", json={"id": "d1", "k": 2}).json()["hits"]
    assert [hit["id"] for hit in hits] == ["d2", "d3"]
    assert [hit["rank"] for hit in hits] == [1, 2]
    assert hits[0]["distance"] < hits[1]["distance"]
    assert client.post("/neighbours", json={"id": "nosuch"}).status_code == 404


def test_the_page_asks_nobody_else_and_lets_nobody_frame_it(client: TestClient) -> None:
    for name in ("", "page/page.css", "page/page.js"):
        part = client.get(f"/{name}")
        assert part.status_code == 200
        assert part.headers["content-security-policy"].startswith("default-src 'self'")
        assert "http://" not in part.text
        assert "https://" not in part.text
    assert client.get("/page/nosuch").status_code == 404
