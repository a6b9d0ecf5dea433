"""``python_docs``: the running interpreter's own documentation, as passages, queries and judgements.

A few thousand real passages that ship with every Python: the standard library's docstrings and the chapters of the
language reference behind ``help()``. The summary sentence of a docstring is used as a query and removed from the
passages that answer it. The result is the same for the same Python version.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

from hybrid_search.errors import UsageError
from hybrid_search.loaders.dataset import BaseDataset
from hybrid_search.loaders.docstrings import Docstring, standard_library, topics
from hybrid_search.loaders.folder import refuse_config
from hybrid_search.loaders.formats import Reject
from hybrid_search.loaders.passages import cut, summary_and_rest, words
from hybrid_search.types import Document, Judgement, Query, normalise_text, text_hash

__all__ = ["PythonDocs", "open_dataset"]

NAME = "python_docs"
SPLITS = ("train", "test")

_PASSAGE_WORDS = 12
"""Least words of a passage."""

_QUERY_WORDS = range(5, 31)
_SHINGLE = 4
_SIGNATURE = re.compile(r"->|\w\(|=|>>>|[{}\[\]|]")
_IDENTIFIER = re.compile(r"_|\d|[a-z][A-Z]")


def open_dataset(path: Path | None, *, reject: Reject, config: str = "") -> PythonDocs:
    """Open the running interpreter's documentation; nothing in it is ever rejected.

    :raises UsageError: if a path or a configuration is given.
    """
    refuse_config(config, NAME)
    if path is not None:
        raise UsageError(f"{NAME} reads the running Python's documentation and takes no `path`, so leave {path} out")
    return PythonDocs()


@dataclass(frozen=True, slots=True)
class _Entry:
    """One docstring, its query (empty if it has none), and the text from which its passages are cut."""

    docstring: Docstring
    query: str
    body: str


@dataclass(frozen=True, slots=True)
class _Answer:
    """The passages of one docstring, and the query that they answer (empty if there is none)."""

    query: str
    documents: tuple[Document, ...]


class PythonDocs(BaseDataset):
    """Passages of documentation; queries are summary sentences, answered by all passages of their docstring.

    A summary becomes a query if it is a sentence of 5 to 30 words, is not a signature, does not contain the identifier
    that it describes (BM25 would find it by the title), is the summary of a single docstring and occurs in no passage;
    otherwise it stays in its passage. A docstring shared by several names is used once, under the first. Metadata:
    ``module`` (not for topics) and ``kind`` (``module``, ``class``, ``function``, ``topic``).
    """

    def __init__(self) -> None:
        super().__init__(NAME)

    def documents(self) -> Iterator[Document]:
        """Stream the passages: by module and source order, then the topics by name."""
        counts = self._start_pass("documents")
        for answer in self._answers:
            for document in answer.documents:
                counts["documents"] += 1
                counts[f"{document.metadata['kind']}_documents"] += 1
                yield document

    def splits(self) -> tuple[str, ...]:
        """``train`` and ``test``, each with about half of the queries."""
        return SPLITS

    def queries(self, split: str) -> Iterator[Query]:
        """Stream a split's queries; their ids are hashes of their texts."""
        return (Query(text_hash(answer.query), answer.query) for answer in self._asking(split))

    def judgements(self, split: str, judgement_set: str = "") -> Iterator[Judgement]:
        """Stream a split's judgements: each passage of the query's docstring has grade 1."""
        self._check_judgement_set(judgement_set)
        return (
            Judgement(text_hash(answer.query), document.id, 1)
            for answer in self._asking(split)
            for document in answer.documents
        )

    def _asking(self, split: str) -> list[_Answer]:
        self._check_split(split)
        return [answer for answer in self._answers if answer.query and _split(answer.query) == split]

    @cached_property
    def _answers(self) -> Sequence[_Answer]:
        docstrings = _distinct(chain(standard_library(), topics()))
        entries = _without_repeated([_entry(docstring) for docstring in docstrings])
        # Docstrings may differ in their summaries only. Of equal passages only the first is kept: otherwise a ranking
        # could find an equal passage without a judgement, or one passage answer both a training and a test query.
        texts: set[str] = set()
        answers = []
        for entry in entries:
            documents = tuple(document for document in _passages(entry) if document.text not in texts)
            texts.update(document.text for document in documents)
            if documents:
                answers.append(_Answer(entry.query, documents))
        return answers


def _split(query: str) -> str:
    # Depends on the text alone, so that equal queries are in the same split.
    return SPLITS[hashlib.sha256(normalise_text(query).encode()).digest()[0] % 2]


def _passages(entry: _Entry) -> list[Document]:
    """Cut the body into passages with the ids ``name``, ``name#2`` and so on; none if the body is too short."""
    if len(words(entry.body)) < _PASSAGE_WORDS:
        return []
    name, module, kind, _ = entry.docstring
    stem = f"{kind}:{name}" if kind == "topic" else name
    metadata = {"module": module, "kind": kind} if module else {"kind": kind}
    return [
        Document(stem if number == 1 else f"{stem}#{number}", text, name, metadata)
        for number, text in enumerate(cut(entry.body), 1)
    ]


def _distinct(docstrings: Iterator[Docstring]) -> Iterator[Docstring]:
    names: set[str] = set()
    texts: set[str] = set()
    for docstring in docstrings:
        content = text_hash(docstring.text)
        name = f"{docstring.kind == 'topic'}:{docstring.name}"
        if name not in names and content not in texts:
            names.add(name)
            texts.add(content)
            yield docstring


def _entry(docstring: Docstring) -> _Entry:
    summary, rest = summary_and_rest(docstring.text)
    if docstring.kind == "topic" or len(words(rest)) < _PASSAGE_WORDS or not _can_ask(summary, docstring.name):
        return _Entry(docstring, "", docstring.text)
    return _Entry(docstring, summary, rest)


def _can_ask(summary: str, name: str) -> bool:
    tokens = words(summary)
    if len(tokens) not in _QUERY_WORDS or not summary[0].isalpha() or _SIGNATURE.search(summary):
        return False
    own = name.rpartition(".")[2]
    return not (_IDENTIFIER.search(own) and own.casefold() in summary.casefold())


def _without_repeated(entries: Sequence[_Entry]) -> list[_Entry]:
    """Put a summary back into its passage if it also occurs in another docstring, as summary or within the text."""
    queries = Counter(normalise_text(entry.query) for entry in entries if entry.query)
    repeated = {query for query, count in queries.items() if count > 1}
    by_start: dict[tuple[str, ...], list[str]] = {}
    for query in queries:
        by_start.setdefault(tuple(query.split()[:_SHINGLE]), []).append(query)
    for entry in entries:
        body = normalise_text(entry.body)
        tokens = body.split()
        starts = {tuple(tokens[at : at + _SHINGLE]) for at in range(len(tokens) - _SHINGLE + 1)}
        repeated.update(query for start in starts & by_start.keys() for query in by_start[start] if query in body)
    return [
        _Entry(entry.docstring, "", entry.docstring.text) if normalise_text(entry.query) in repeated else entry
        for entry in entries
    ]
