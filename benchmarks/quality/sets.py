"""The three sets of the quality targets, and the one training set whose model is measured on all of them.

(a) ``dl19``: 43 TREC DL 2019 queries over 41,751 MS MARCO passages; (b) ``nfcorpus``: its test split; (c) ``squad``:
the questions of the titles with md5(title) mod 5 == 0 over all paragraphs. No query of a test is trained on, and no
text of (c)'s titles. Each set also has queries to *fit* on (k1, b and the fusion weight; the choice between recipes):
MS MARCO training queries that are kept out of training, NFCorpus's dev split, and the SQuAD titles with
md5(title) mod 5 == 1, whose paragraphs are kept out of training too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

from benchmarks.harness import need_data, passages, read_documents
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.protocols import Dataset
from hybrid_search.types import Document, Example, Judgement, Query, text_hash

__all__ = [
    "NAMES",
    "Judged",
    "TestSet",
    "test_set",
    "training_labels",
    "write_queries",
    "write_set",
    "write_training_set",
]

NAMES = ("dl19", "nfcorpus", "squad")
FIT_SHARE = 4
"""One MS MARCO training query in so many is kept out of training, for the fit."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Queries with their judgements, and the documents that are ranked for them."""

    documents: list[Document]
    queries: list[Query]
    judgements: list[Judgement]


@dataclass(frozen=True, slots=True)
class TestSet:
    """What is measured on, and what is fitted on."""

    name: str
    test: Judged
    fit: Judged


def test_set(name: str) -> TestSet:
    """Read one of :data:`NAMES`."""
    return {"dl19": _dl19, "nfcorpus": _nfcorpus, "squad": _squad}[name]()


def training_labels(name: str) -> Judged:
    """Read what of one of :data:`NAMES` is trained on with labels, and the documents to find wrong answers among."""
    if name == "dl19":
        trained = [e for e in _triples() if not _fits(e.query.text)]
        documents = {e.positive.id: e.positive for e in trained}
        judged = [(e.query, e.positive.id) for e in trained]
        by_id = {query.id: query for query, _ in judged}
        return Judged(list(documents.values()), list(by_id.values()), [Judgement(q.id, id, 1) for q, id in judged])
    if name == "squad":
        return Judged(_squad_documents(lambda b: b > 1), *_squad_questions(lambda b: b > 1))
    opened = _opened("beir", "nfcorpus")
    return Judged(list(opened.documents()), list(opened.queries("train")), list(opened.judgements("train")))


def write_training_set(folder: Path, *, labels: str = "", pool: bool = True) -> None:
    """Write the training set as a folder of the loader ``jsonl``, split ``train``.

    Texts: all passages of (a) and (b), (c)'s paragraphs of titles that are neither tested nor fitted on, and the
    passages of the MS MARCO triples. Labels: the triples.

    :param labels: ``nfcorpus`` or ``squad`` adds that set's own training labels.
    :param pool: whether all passages of (a) are among the texts, or those of the triples alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trained = [e for e in _triples() if not _fits(e.query.text)]
    documents = chain(passages() if pool else (), read_documents("beir", "nfcorpus"), _squad_documents(lambda b: b > 1))
    further = (d for e in trained for d in (e.positive, *e.negatives))
    judged = [(e.query, e.positive.id) for e in trained] + list(_own_labels(labels))
    unique = {d.id: d for d in chain(documents, further)}.values()
    _write_data(folder, unique, judged)


def write_set(folder: Path, name: str) -> None:
    """Write what may be learnt of a set alone, as a folder of the loader ``jsonl``, split ``train``.

    (a) its passages, no labels; (b) its documents and training labels; (c) the paragraphs and questions of titles that
    are neither tested nor fitted on. ``asked.txt`` has the queries of the labels, a line each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    documents = _squad_documents(lambda b: b > 1) if name == "squad" else test_set(name).test.documents
    judged = list(_own_labels(name))
    _write_data(folder, documents, judged)
    asked = dict.fromkeys(" ".join(query.text.split()) for query, _ in judged)
    (folder / "asked.txt").write_text("\n".join(asked) + "\n", encoding="utf-8")


def _write_data(folder: Path, documents: Iterable[Document], judged: Sequence[tuple[Query, str]]) -> None:
    _write(folder / "documents.jsonl", ({"id": d.id, "title": d.title, "text": d.text} for d in documents))
    queries = {query.id: query.text for query, _ in judged}
    _write(folder / "queries.jsonl", ({"id": i, "text": text} for i, text in queries.items()))
    if judged:
        lines = ["query-id\tcorpus-id\tscore", *(f"{query.id}\t{document}\t1" for query, document in judged)]
        (folder / "qrels").mkdir(exist_ok=True)
        (folder / "qrels" / "train.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_queries(file: Path) -> None:
    """Write training-side queries without their answers, one a line, for a teacher: no query of a test among them."""
    tests = {text_hash(query.text) for name in NAMES for query in test_set(name).test.queries}
    queries = chain(
        _opened("msmarco_passage", "msmarco-passage").queries("dev.small"),
        _opened("beir", "nfcorpus").queries("train"),
        _squad_questions(lambda b: b > 1)[0],
    )
    texts = dict.fromkeys(" ".join(q.text.split()) for q in queries if text_hash(q.text) not in tests)
    file.write_text("\n".join(texts) + "\n", encoding="utf-8")


def _dl19() -> TestSet:
    opened = _opened("msmarco_passage", "msmarco-passage")
    documents = passages()
    held = [e for e in _triples() if _fits(e.query.text)]
    more = {e.positive.id: e.positive for e in held}
    fit = Judged(
        [*documents, *(d for i, d in more.items() if i not in {d.id for d in documents})],
        list({e.query.id: e.query for e in held}.values()),
        [Judgement(e.query.id, e.positive.id, 1) for e in held],
    )
    return TestSet("dl19", Judged(documents, list(opened.queries("dl19")), list(opened.judgements("dl19"))), fit)


def _nfcorpus() -> TestSet:
    opened = _opened("beir", "nfcorpus")
    documents = list(opened.documents())
    test, fit = (
        Judged(documents, list(opened.queries(split)), list(opened.judgements(split))) for split in ("test", "dev")
    )
    return TestSet("nfcorpus", test, fit)


def _squad() -> TestSet:
    parts = [(lambda b: b == 0, lambda b: True), (lambda b: b == 1, lambda b: b != 0)]
    test, fit = (Judged(_squad_documents(ranked), *_squad_questions(asked)) for asked, ranked in parts)
    return TestSet("squad", test, fit)


def _squad_documents(wanted: Callable[[int], bool]) -> list[Document]:
    return [d for d in read_documents("beir", "squad") if wanted(_bucket(d.title))]


def _squad_questions(wanted: Callable[[int], bool]) -> tuple[list[Query], list[Judgement]]:
    opened = _opened("beir", "squad")
    asked = {d.id for d in _squad_documents(wanted)}
    judgements = [j for j in opened.judgements("train") if j.document_id in asked]
    ids = {j.query_id for j in judgements}
    return [q for q in opened.queries("train") if q.id in ids], judgements


def _own_labels(name: str) -> Iterator[tuple[Query, str]]:
    if name == "nfcorpus":
        opened = _opened("beir", "nfcorpus")
        queries, judgements = list(opened.queries("train")), list(opened.judgements("train"))
    elif name == "squad":
        queries, judgements = _squad_questions(lambda b: b > 1)
    else:
        return
    by_id = {query.id: query for query in queries}
    yield from ((by_id[j.query_id], j.document_id) for j in judgements if j.grade > 0 and j.query_id in by_id)


@cache
def _triples() -> tuple[Example, ...]:
    return tuple(_opened("msmarco_passage", "msmarco-passage").examples("train"))


def _opened(loader: str, folder: str) -> Dataset:
    return open_dataset(loader, need_data() / folder, reject=lambda rejection: None)


def _bucket(title: str) -> int:
    return int(hashlib.md5(title.replace(" ", "_").encode(), usedforsecurity=False).hexdigest(), 16) % 5


def _fits(text: str) -> bool:
    return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(), 16) % FIT_SHARE == 0


def _write(path: Path, records: Iterable[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
