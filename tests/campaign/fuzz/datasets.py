"""Data files of every loader with damaged bytes and odd shapes: each record is taken as it is, or refused by name."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st

from campaign.attack import Attempt, Bench, Outcome
from campaign.fuzz.draws import drawn
from campaign.fuzz.expectation import Broken, Refused, outcome_of
from campaign.fuzz.mutation import mutated, mutated_json
from campaign.fuzz.planted import planted
from campaign.fuzz.strategies import ANY, JSON, TEXTS
from campaign.fuzz.trial import Trial
from hybrid_search.loaders.dead_letter import DeadLetter
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.types import Document, Judgement, Query, Rejection

__all__ = ["Datasets"]

_DOCUMENTS = b"".join(
    json.dumps(
        {
            "id": f"d{number}",
            "title": f"title {number}",
            "text": f"the cat number {number}",
            "metadata": {"year": 2000 + number},
        }
    ).encode()
    + b"\n"
    for number in range(5)
)
_QUERIES = b'{"id": "q1", "text": "which cat"}\n{"id": "q2", "text": "which dog"}\n'
_QRELS = b"query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\nq2\td3\t2\n"
_PAGES = b"".join(
    json.dumps(
        {
            "answers": ["a"],
            "query": f"which {number}",
            "query_id": number,
            "query_type": "description",
            "wellFormedAnswers": [],
            "passages": {"is_selected": [0, 1], "passage_text": [f"one {number}", f"two {number}"], "url": ["u", "v"]},
        }
    ).encode()
    + b"\n"
    for number in range(3)
)
_LAYOUTS: Mapping[str, tuple[str, Mapping[str, bytes]]] = {
    "jsonl file": ("jsonl", {"documents.jsonl": _DOCUMENTS}),
    "jsonl folder": ("jsonl", {"documents.jsonl": _DOCUMENTS, "queries.jsonl": _QUERIES, "qrels.tsv": _QRELS}),
    "beir": (
        "beir",
        {
            "corpus.jsonl": _DOCUMENTS.replace(b'"id"', b'"_id"'),
            "queries.jsonl": _QUERIES.replace(b'"id"', b'"_id"'),
            "qrels/test.tsv": _QRELS,
        },
    ),
    "msmarco_passage": (
        "msmarco_passage",
        {
            "collection.tsv": b"0\tthe cat\n1\tthe dog\n2\ta tree\n",
            "queries.train.tsv": b"7\twhich cat\n8\twhich dog\n",
            "queries.dev.small.tsv": b"9\twhich tree\n",
            "qrels.train.tsv": b"7\t0\t0\t1\n8\t0\t1\t1\n",
            "qrels.dev.small.tsv": b"9\t0\t2\t1\n",
            "qidpidtriples.train.full.2.tsv": b"7\t0\t1\n8\t1\t2\n",
        },
    ),
    "ms_marco": ("ms_marco", {"train.jsonl": _PAGES, "validation.jsonl": _PAGES}),
}

_ODD_LINES = st.one_of(
    JSON.map(lambda one: json.dumps(one, default=repr).encode("utf-8", "surrogatepass")),
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("id", "_id", "text", "title", "metadata", "odd", "query", "passages"), ANY)
    ).map(lambda one: json.dumps(one, default=repr).encode("utf-8", "surrogatepass")),
    TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(max_size=20),
    st.lists(
        st.sampled_from(
            [b"q1", b"d1", b"0", b"1", b"1.0", b"+1", b"-1", b"True", b"", b'"1"', b"9" * 30, b"nan", b"\xff"]
        ),
        max_size=6,
    ).map(b"\t".join),
    st.integers(100, 5_000).map(
        lambda depth: b'{"id": "x", "text": "cat", "metadata": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
    ),
)


def _spoilt(content: bytes) -> st.SearchStrategy[bytes]:
    """A file with lines between its own, with damaged lines, packed or cut."""
    lines = content.splitlines(keepends=True)
    between = st.builds(
        lambda at, odd, end: b"".join([*lines[:at], odd, end, *lines[at:]]),
        st.integers(0, len(lines)),
        _ODD_LINES,
        st.sampled_from([b"\n", b"\r\n", b"\r", b"", b"\x85", b"\x00\n"]),
    )
    packed = mutated(gzip.compress(content, mtime=0))
    whole = st.sampled_from(
        [
            b"",
            b"\n\n",
            b"\xff\xfe" + content.decode().encode("utf-16-le"),
            b"\xef\xbb\xbf" + content,
            content * 2,
            b"PK\x03\x04" + content,
            b"[" + content.replace(b"\n", b",").rstrip(b",") + b"]",
            gzip.compress(content, mtime=0)[:-9],
            b"BZh9" + content,
            b"\x28\xb5\x2f\xfd" + content,
        ]
    )
    kinds = [between, between, between, mutated(content), packed, whole]
    if lines and lines[0].startswith(b"{"):
        row = st.integers(0, len(lines) - 1).flatmap(
            lambda at: mutated_json(lines[at]).map(lambda odd: b"".join([*lines[:at], odd, b"\n", *lines[at + 1 :]]))
        )
        kinds += [row, row, row]
    return st.one_of(*kinds)


class Datasets:
    """A file of a data set a trial, spoilt in many ways; all is read, refused records go to a dead-letter file."""

    name = "fuzz-datasets"
    unit = "inputs"
    wanted = 15_000
    short = 340
    needs_server = False
    planted: ClassVar = {
        "a record is not written down": "a line that is no JSON does not come to the dead-letter file",
        "a bare KeyError": "a record's id is looked up without a guard",
    }

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        files = [(layout, file) for layout, (_, contents) in _LAYOUTS.items() for file in contents]
        spoilt = {(layout, file): _spoilt(_LAYOUTS[layout][1][file]) for layout, file in files}

        def attempt(trial: int) -> Outcome:
            place = files[trial % len(files)]
            return _tried(bench.folder / "data", *place, spoilt[place], bench.draw(trial))

        with planted(bench.planted):
            yield attempt


def _tried(folder: Path, layout: str, file: str, spoilt: st.SearchStrategy[bytes], number: int) -> Outcome:
    trial = Trial()
    loader, contents = _LAYOUTS[layout]
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for content in drawn(spoilt, number, 20):
        (folder / file).write_bytes(content)
        (folder / "rejected.jsonl").unlink(missing_ok=True)
        with trial.doing(f"{layout}, {file} with {content[:1_500]!r}", 1):
            _read(
                loader,
                folder if len(contents) > 1 else folder / file,
                folder / "rejected.jsonl",
                content,
                folder / file,
            )
    return trial.outcome()


def _read(loader: str, path: Path, letters: Path, content: bytes, file: Path) -> None:
    rejected: list[Rejection] = []
    with DeadLetter(letters) as letter:

        def reject(rejection: Rejection) -> None:
            rejected.append(rejection)
            letter(rejection)

        opened = outcome_of(lambda: open_dataset(loader, path, reject=reject))
        if isinstance(opened, Refused):
            return
        dataset = opened.value
        told = outcome_of(lambda: list(dataset.documents()))
        documents = [] if isinstance(told, Refused) else told.value
        parts: list[Callable[[], Any]] = []
        for split in dataset.splits():
            parts += [
                lambda split=split: list(dataset.queries(split)),
                lambda split=split: list(dataset.examples(split)),
            ]
            parts += [lambda split=split, of=of: list(dataset.judgements(split, of)) for of in dataset.judgement_sets()]
        refused = isinstance(told, Refused)
        for part in parts:
            read = outcome_of(part)
            refused |= isinstance(read, Refused)
            for record in [] if isinstance(read, Refused) else read.value:
                _check_record(record)
    for document in documents:
        _check_record(document)
    if silent := [one for one in rejected if len(one.reason) < 4 or not one.source]:
        raise Broken(f"{silent[0]} has no reason or no place")
    written = (
        [json.loads(line) for line in letters.read_text(encoding="utf-8").splitlines()] if letters.exists() else []
    )
    if len(written) != len(rejected):
        raise Broken(f"{len(rejected)} records were refused, {len(written)} are in the dead-letter file")
    if loader == "jsonl" and file.name == "documents.jsonl" and not refused:
        _check_all_accounted(content, documents, rejected)


def _check_record(record: Any) -> None:
    """Check that what a loader gives out is what its type says."""
    match record:
        case Document(id, text, title, metadata):
            texts, whole = (id, text, title, *metadata), bool(id.strip()) and bool((text + title).strip())
        case Query(id, text):
            texts, whole = (id, text), bool(id.strip()) and bool(text.strip())
        case Judgement(query_id, document_id, grade):
            texts, whole = (query_id, document_id), bool(query_id) and bool(document_id) and type(grade) is int
        case _:
            return
    if not whole or not all(isinstance(text, str) for text in texts):
        raise Broken(f"{record!r} was given out as a record")
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        raise Broken(f"{record!r} was given out, which no index can take") from None


def _check_all_accounted(content: bytes, documents: list[Document], rejected: list[Rejection]) -> None:
    """Check that each plain line of a JSON-lines file came out, or was refused."""
    packed = (b"\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"\xff\xfe", b"BZ")
    if content.startswith(packed) or content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):  # no lines of JSON
        return
    ids = {document.id for document in documents}
    lines = {one.line for one in rejected}
    for number, line in enumerate(content.split(b"\n"), 1):
        if line in _DOCUMENTS.splitlines() and number not in lines and json.loads(line)["id"] not in ids:
            raise Broken(f"line {number} ({line[:100]!r}) neither came out nor was refused")
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):  # nested too deeply for Python's own reader
            if line.strip() and number not in lines and not _blank(line):
                raise Broken(f"line {number} ({line[:100]!r}) is no JSON, and was passed over in silence") from None
            continue
        if not isinstance(record, dict) and number not in lines:
            raise Broken(f"line {number} ({line[:100]!r}) is no object, and was passed over in silence")


def _blank(line: bytes) -> bool:
    try:
        return not line.removeprefix(b"\xef\xbb\xbf").decode().strip()
    except UnicodeDecodeError:
        return False
