"""Counts what keeps the code base easy to find one's way in: files, rooms, and what a search passes on its way.

``python -m docs.rooms`` counts in this checkout and follows a search of the embedded engine; with OPENSEARCH_URL set,
one of a server too. ``--tree FOLDER`` counts the files of another checkout.
"""

from __future__ import annotations

import ast
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
SMALL = 60
SERVER = "hybrid_search.engines.opensearch"
QUERIES = ["cat", "dog", "cat dog", "a cat", "a dog"]


@click.command()
@click.option("--tree", type=click.Path(exists=True, path_type=Path), default=ROOT, help="The checkout to count in.")
def main(tree: Path) -> None:
    """Print the counts as a table."""
    table = Table("what", "count")
    for what, count in [*counts(tree), *(passed() if tree == ROOT else [])]:
        table.add_row(what, str(count))
    Console().print(table)


def counts(tree: Path) -> Iterator[tuple[str, int]]:
    """Count the files of ``hybrid_search`` below a checkout."""
    files = {
        path: len(path.read_text(encoding="utf-8").splitlines()) for path in (tree / "hybrid_search").rglob("*.py")
    }
    modules = {path: lines for path, lines in files.items() if path.name != "__init__.py"}
    rooms = Counter(path.parent for path in modules)
    yield "modules without __init__", len(modules)
    yield "lines", sum(files.values())
    yield "lines of the median module", round(median(modules.values()))
    yield "lines of the longest module", max(modules.values())
    yield f"modules of {SMALL} lines or less", sum(lines <= SMALL for lines in modules.values())
    for room, size in rooms.most_common(3):
        yield f"modules in {room.relative_to(tree)}", size
    yield f"modules of {SERVER} that others import", len(_entries(tree, list(files)))


def _entries(tree: Path, files: list[Path]) -> set[str]:
    names = {".".join(path.relative_to(tree).with_suffix("").parts).removesuffix(".__init__") for path in files}
    seen: set[str] = set()
    for path in files:
        if SERVER in ".".join(path.relative_to(tree).parts):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(SERVER):
                found = {f"{node.module}.{alias.name}" for alias in node.names} & names
                seen |= found or {node.module}
    return seen


@dataclass
class Passed:
    """What a call passed.

    :ivar files: of ``hybrid_search`` in which something ran.
    :ivar depth: functions of ``hybrid_search`` on the stack when a request was sent, at most.
    :ivar requests: how many were sent.
    """

    files: set[str] = field(default_factory=set)
    depth: int = 0
    requests: int = 0


def passed() -> Iterator[tuple[str, int]]:
    """Follow searches through the code."""
    with tempfile.TemporaryDirectory() as folder, closing(_embedded(f"{folder}/index")) as retriever:
        yield "files that a search in a folder passes", len(_followed(retriever.search).files)
    if url := os.environ.get("OPENSEARCH_URL"):
        with _on_server(url) as retriever:
            hybrid = _followed(retriever.search)
            yield "files that a search on a server passes", len(hybrid.files)
            yield "functions from Retriever.search to the request", hybrid.depth
            many = _followed(lambda: retriever.search_many(QUERIES, 3, mode="bm25"))
            yield f"requests of {len(QUERIES)} queries in one leg", many.requests


class _Encoder:
    """Vectors that need no model."""

    fingerprint, dimension, similarity = "rooms", 2, "cosine"

    def encode_queries(self, texts: list[str]) -> Any:
        return np.asarray([[1.0, len(text) / 10] for text in texts], dtype=np.float32)

    encode_documents = encode_queries


def _embedded(folder: str) -> Any:
    from hybrid_search.engines.embedded import EmbeddedEngine

    _filled(EmbeddedEngine.create(Path(folder), _settings())).close()
    return _retriever(EmbeddedEngine.open(Path(folder)))


@contextmanager
def _on_server(url: str) -> Iterator[Any]:
    from hybrid_search.engines.opensearch import OpenSearchEngine

    location = f"opensearch://{url.split('://')[1].rstrip('/')}/docs-rooms"
    try:
        with closing(_filled(OpenSearchEngine.create(location, _settings(), exist_ok=True))) as retriever:
            yield retriever
    finally:
        OpenSearchEngine.drop(location)


def _settings() -> Any:
    from hybrid_search.settings.index import IndexSettings

    return IndexSettings(fingerprint=_Encoder.fingerprint, dimension=_Encoder.dimension)


def _retriever(engine: Any) -> Any:
    from hybrid_search.retrieval.retriever import Retriever

    return Retriever(_Encoder(), engine)  # type: ignore[arg-type]


def _filled(engine: Any) -> Any:
    from hybrid_search.types import Document

    retriever = _retriever(engine)
    retriever.add([Document(str(number), text) for number, text in enumerate(["a cat", "a dog", "cat dog", "bird"])])
    engine.commit()
    return retriever


def _followed(search: Callable[..., Any]) -> Passed:
    """Run a search twice, the second time followed: what is done once only is no part of a search."""
    arguments = () if search.__name__ == "<lambda>" else ("cat dog", 3)
    search(*arguments)
    found = Passed()

    def follow(frame: FrameType, event: str, argument: object) -> None:
        del argument
        if event == "call":
            name = frame.f_code.co_filename
            if "/hybrid_search/" in name:
                found.files.add(name)
            elif frame.f_code.co_name == "perform_request" and name.endswith("opensearchpy/transport.py"):
                found.requests += 1
                found.depth = max(found.depth, _own_frames(frame))

    sys.setprofile(follow)
    try:
        search(*arguments)
    finally:
        sys.setprofile(None)
    return found


def _own_frames(frame: FrameType | None) -> int:
    depth = 0
    while frame is not None:
        depth += "/hybrid_search/" in frame.f_code.co_filename
        frame = frame.f_back
    return depth


if __name__ == "__main__":
    main()
