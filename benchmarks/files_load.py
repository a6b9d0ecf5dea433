"""How long ``load files`` takes from nothing to searchable: 2,000 Markdown and HTML files of 10 MB in all.

``python -m benchmarks.files_load`` makes the files out of the documentation that ships with Python.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from html import escape
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter

import hybrid_search
from benchmarks.harness import write_result
from hybrid_search.loaders.python_docs import PythonDocs
from hybrid_search.types import Document

FILES = 2_000
BYTES = 10_000_000


def main() -> None:
    """Make the files, load them, ask once, and write the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "docs")
        size = write_files(source)
        started = perf_counter()
        data = hybrid_search.open_dataset("files", source, reject=print)
        report = hybrid_search.load(data, Path(folder, "index"), options=hybrid_search.LoadOptions(lexical_only=True))
        with hybrid_search.open(Path(folder, "index")) as retriever:
            found = retriever.search("join the parts of a path", mode="bm25")
        seconds = perf_counter() - started
    counts = dict(report.read)
    figures = {"files": counts["files"], "MB": round(size / 1e6, 1), "passages": counts["passages"]}
    figures |= {"hits of one query": len(found), "seconds": round(seconds, 1)}
    write_result("files_load", figures, command="python -m benchmarks.files_load")


def write_files(folder: Path) -> int:
    """Write the files, half of them Markdown; return their size in bytes."""
    size, passages = 0, cycle(PythonDocs().documents())
    for number in range(FILES):
        is_html = number % 2 == 1
        path = folder / f"part-{number % 40}" / f"{number}.{'html' if is_html else 'md'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (_html if is_html else _markdown)(_some(passages, BYTES // FILES))
        path.write_text(text)
        size += len(text.encode())
    return size


def _some(passages: Iterator[Document], least: int) -> list[Document]:
    taken: list[Document] = []
    while sum(len(one.text) for one in taken) < least:
        taken += islice(passages, 1)
    return taken


def _markdown(parts: list[Document]) -> str:
    return f"# {parts[0].title}\n\n" + "\n\n".join(f"## {one.title}\n\n{one.text}" for one in parts)


def _html(parts: list[Document]) -> str:
    sections = "".join(f"<h2>{escape(one.title)}</h2><p>{escape(one.text)}</p>" for one in parts)
    return f"<html><head><title>{escape(parts[0].title)}</title></head><body>{sections}</body></html>"


if __name__ == "__main__":
    main()
