"""Up to a million passages in a folder: loading by stage, memory, disk, opening, searches, filters, recall, small adds.

The passages are recombined from the sentences of real ones (MS MARCO and general English text): two to four that follow
each other in one passage, and one to three of another, drawn by seed 0. Each sentence is encoded by ``en``, and a
passage's vector is the mean of its sentences', weighted by words and of unit length, as encoding a million passages
takes two cores twenty minutes. ``sample`` encodes some of them as well, and tells how near the two kinds of vectors
are, and what encoding costs. Queries are real ones (MS MARCO dev.small), encoded by ``en``.

Each part runs by itself, with what it makes in ``--folder``, so that none must be repeated for another::

    python -m benchmarks.million prepare
    python -m benchmarks.million load --documents 1000000 --seconds 150   # as often as it takes
    python -m benchmarks.million search --documents 1000000

``load`` reads a JSONL file, so that its rate is that of a text to a searchable document; ``prepare`` is needed once.
What is measured is added to ``results/million.json``, by number of passages.
"""

from __future__ import annotations

import gzip
import json
import re
import resource
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import RESULTS, need_data, passages, real_queries, write_result
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.engines.embedded.search.dense import DenseLeg
from hybrid_search.engines.embedded.search.forward import ForwardIndex
from hybrid_search.engines.embedded.search.tantivy_index import TantivyIndex
from hybrid_search.engines.embedded.store.writing import StoreWriter
from hybrid_search.indexing import index_corpus
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.search import Search
from hybrid_search.settings.index import Fusion, IndexSettings, Similarity
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.shipped import located
from hybrid_search.types import Document

Floats = NDArray[np.float32]

MOST = 1_000_000
GENERAL = 2
"""Parts of the general English text, of eight."""
QUERIES, RECALL_QUERIES, WARM = 400, 200, 50
SAMPLE = 20_000
SHARES = (0.001, 0.01, 0.1, 0.5, 0.98)
"""Of the passages, that pass a filter."""
ADDS = 40
SLICE = 100_000
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"'(])")
_DRAWN = 100_000


@click.group()
@click.option("--folder", type=click.Path(path_type=Path), default="million", help="What is made, 5 GB for a million.")
@click.pass_context
def main(context: click.Context, folder: Path) -> None:
    """Measure the embedded engine with up to a million passages."""
    folder.mkdir(exist_ok=True)
    context.obj = folder


@main.command()
@click.pass_obj
def prepare(folder: Path) -> None:
    """Make the passages and their vectors."""
    sentences, starts = _sentences()
    encoder = OnnxEncoder.load(located(Path("en")))
    vectors = np.concatenate(
        [encoder.encode_documents(sentences[at : at + _DRAWN]) for at in range(0, len(sentences), _DRAWN)]
    )
    words = np.array([one.count(" ") + 1 for one in sentences], np.float32)
    draw, sizes = np.random.default_rng(0), np.diff(starts)
    with (folder / "passages.jsonl").open("w") as texts, (folder / "vectors.f32").open("wb") as file:
        for first in range(0, MOST, _DRAWN):
            chosen = [_recombined(draw, starts, sizes) for _ in range(_DRAWN)]
            for number, one in enumerate(chosen, first):
                text = " ".join(sentences[at] for at in one)
                texts.write(json.dumps({"id": f"p{number}", "text": text, "number": number}) + "\n")
            file.write(_mean(chosen, vectors, words).tobytes())
            print(f"{first + _DRAWN:,} of {MOST:,}, of {len(sentences):,} sentences", flush=True)


def _sentences() -> tuple[list[str], NDArray[np.int64]]:
    """Return the sentences of all passages, and where each passage's begin, with the end."""
    sentences: list[str] = []
    starts = [0]
    for text in _texts():
        sentences.extend(one for one in _SENTENCE.split(text) if one)
        if len(sentences) > starts[-1]:
            starts.append(len(sentences))
    return sentences, np.array(starts)


def _texts() -> Iterator[str]:
    yield from (document.text for document in passages())
    for part in range(GENERAL):
        with gzip.open(need_data() / "general-text" / f"passages-{part:02}.jsonl.gz", "rt", encoding="utf-8") as file:
            yield from (json.loads(line)["text"] for line in file)


def _recombined(draw: np.random.Generator, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> list[int]:
    """Draw a passage: two to four sentences of one that follow each other, and one to three of another."""
    chosen: list[int] = []
    for least in (2, 1):
        passage = int(draw.integers(len(sizes)))
        count = min(int(sizes[passage]), least + int(draw.integers(3)))
        first = int(starts[passage] + draw.integers(sizes[passage] - count + 1))
        chosen.extend(range(first, first + count))
    return chosen


def _mean(chosen: list[list[int]], vectors: Floats, words: Floats) -> Floats:
    of_each = [np.einsum("i,ij->j", words[one], vectors[one]) for one in chosen]
    means = np.stack(of_each)
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    return np.asarray(means / np.maximum(lengths, 1e-9), np.float32)


@main.command()
@click.pass_obj
def sample(folder: Path) -> None:
    """Encode some of the passages: what that costs, and how near the made vectors are."""
    encoder = OnnxEncoder.load(located(Path("en")))
    documents = list(islice(_documents(folder), SAMPLE))
    texts = [document.searchable_text for document in documents]
    began, processor = time.perf_counter(), time.process_time()
    vectors = encoder.encode_documents(texts)
    seconds, processor = time.perf_counter() - began, time.process_time() - processor
    made = _vectors(folder, SAMPLE)
    cosines = (made * vectors).sum(axis=1)
    figures = {
        "passages": SAMPLE,
        "words a passage": round(float(np.mean([text.count(" ") + 1 for text in texts])), 1),
        "encoded/s": round(SAMPLE / seconds),
        "encoded/s of processor": round(SAMPLE / processor),
        "cosine of made and encoded vectors": round(float(cosines.mean()), 3),
    }
    _note("encoding", figures)


@main.command()
@click.option("--documents", type=int, default=MOST)
@click.option("--lexical", is_flag=True, help="Without vectors.")
@click.option("--factory", default="auto", help="The k-NN index.")
@click.option("--seconds", type=float, default=1e9, help="Go on for so long; the next call goes on from there.")
@click.pass_obj
def load(folder: Path, documents: int, lexical: bool, factory: str, seconds: float) -> None:
    """Load the passages, and tell rate, stages, memory and disk; call it until all are there."""
    index, known = folder / _name(documents, lexical), folder / f"{_name(documents, lexical)}.json"
    if not known.exists():
        shutil.rmtree(index, ignore_errors=True)
    settings = IndexSettings(
        fingerprint="" if lexical else "made", dimension=0 if lexical else _Made.dimension, faiss=factory
    )
    parts: list[dict[str, Any]] = json.loads(known.read_text()) if known.exists() else []
    with _watched() as memory, _staged() as stages:
        began, processor = time.perf_counter(), time.process_time()
        with EmbeddedEngine.create(index, settings, exist_ok=True) as engine:
            opened, first = time.perf_counter(), engine.count()
            left = islice(_documents(folder), first, documents)
            encoder = None if lexical else _Made(folder, first)
            for _ in index_corpus(engine, encoder, _until(left, opened + seconds)):
                pass
            searchable, done = time.perf_counter(), engine.count()
            described = engine.stats()
        closed = time.perf_counter()
    parts.append(
        {
            "from": first,
            "to": done,
            "documents/s, text to searchable": round((done - first) / (searchable - opened)),
            "documents/s of processor": round((done - first) / (time.process_time() - processor)),
            "opening s": round(opened - began, 1),
            "closing s": round(closed - searchable, 1),
            "stages, s": {name: round(taken, 1) for name, taken in sorted(stages.items(), key=lambda one: -one[1])},
            **memory,
            "k-NN": described["dense"],
        }
    )
    known.write_text(json.dumps(parts))
    print(json.dumps(parts[-1], indent=2))
    if done >= documents:
        known.unlink()
        seconds = sum((part["to"] - part["from"]) / part["documents/s, text to searchable"] for part in parts)
        whole = {
            "documents/s, text to searchable": round(documents / seconds),
            "peak MB": max(part["peak MB"] for part in parts),
            "disk MB": {name: round(size / 1e6) for name, size in _sizes(index).items()},
            "parts": parts,
        }
        _note(_name(documents, lexical), {"load": whole})


def _until(documents: Iterator[Document], end: float) -> Iterator[Document]:
    for document in documents:
        yield document
        if time.perf_counter() > end:
            return


class _Made:
    """Gives the prepared vectors, in the order of the passages."""

    fingerprint, dimension = "made", 256
    similarity: Similarity = "cosine"

    def __init__(self, folder: Path, first: int) -> None:
        self._file = (folder / "vectors.f32").open("rb")
        self._file.seek(4 * first * self.dimension)

    def encode_documents(self, texts: Any) -> Floats:
        return np.fromfile(self._file, np.float32, len(texts) * self.dimension).reshape(-1, self.dimension)

    def encode_queries(self, texts: Any) -> Floats:
        raise NotImplementedError


def _documents(folder: Path) -> Iterator[Document]:
    yield from open_dataset("jsonl", folder / "passages.jsonl", reject=lambda rejection: None).documents()


def _vectors(folder: Path, count: int) -> Floats:
    return np.asarray(np.memmap(folder / "vectors.f32", np.float32, mode="r", shape=(MOST, _Made.dimension)))[:count]


def _name(documents: int, lexical: bool = False) -> str:
    return f"{documents} lexical" if lexical else str(documents)


@contextmanager
def _staged() -> Iterator[dict[str, float]]:
    """Tell the seconds that each stage of a load takes, by the clock: they overlap where they run side by side."""
    taken: dict[str, float] = defaultdict(float)
    stages = (
        ("SQLite: adding", StoreWriter, "add"),
        ("SQLite: committing", StoreWriter, "commit"),
        ("forward index", ForwardIndex, "sync"),
        ("tantivy", TantivyIndex, "sync"),
        ("vectors", DenseLeg, "sync"),
        ("vectors: saving", DenseLeg, "save"),
    )
    kept = [(owner, method, getattr(owner, method)) for _, owner, method in stages]
    for name, owner, method in stages:
        setattr(owner, method, _timed(getattr(owner, method), name, taken))
    try:
        yield taken
    finally:
        for owner, method, function in kept:
            setattr(owner, method, function)


def _timed(function: Callable[..., Any], name: str, taken: dict[str, float]) -> Callable[..., Any]:
    def timed(*arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            taken[name] += time.perf_counter() - began

    return timed


@contextmanager
def _watched() -> Iterator[dict[str, float]]:
    """Tell the most memory that was resident, with the mapped files' pages and without them."""
    figures: dict[str, float] = {}
    ended = threading.Event()
    own = [0.0]

    def watch() -> None:
        while not ended.wait(0.05):
            own[0] = max(own[0], _resident()["own MB"])

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield figures
    finally:
        ended.set()
        watching.join()
        figures["peak MB, mapped files included"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        figures["peak MB"] = own[0]


def _resident() -> dict[str, float]:
    """Return what is resident now: the process's own, and pages of files that are mapped, which can be dropped."""
    lines = Path("/proc/self/status").read_text().splitlines()
    known = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines) if "Rss" in name}
    return {"own MB": round(known["RssAnon"] / 1024), "mapped files MB": round(known["RssFile"] / 1024)}


def _sizes(index: Path) -> dict[str, int]:
    sizes: dict[str, int] = defaultdict(int)
    for path in index.rglob("*"):
        if path.is_file():
            sizes[path.relative_to(index).parts[0]] += path.stat().st_size
    return {"all": sum(sizes.values()), **sizes}


@main.command()
@click.option("--documents", type=int, default=MOST)
@click.pass_obj
def search(folder: Path, documents: int) -> None:
    """Open the index that was loaded, and search it."""
    encoder = OnnxEncoder.load(located(Path("en")))
    queries = real_queries(QUERIES + WARM)
    encoder.encode_queries(queries[:1])
    before = _resident()
    began = time.perf_counter()
    with EmbeddedEngine.open(folder / _name(documents)) as engine:
        opening = time.perf_counter() - began
        retriever = Retriever(_Queries(encoder), engine, Fusion(window=200))
        figures: dict[str, Any] = {"opening ms": round(1000 * opening, 1)}
        for mode in ("hybrid", "bm25", "knn"):
            figures[f"{mode} ms"] = _latency(partial(retriever.search, k=10, mode=mode), queries)
        figures["resident"] = _resident()
        figures["resident before opening"] = before
        figures["k-NN"] = engine.stats()["dense"]
        figures["queries/s, 8 threads"] = _throughput(retriever, queries)
        figures["filtered hybrid ms"] = {
            str(share): _filtered(retriever, queries, share, documents) for share in SHARES
        }
        figures["recall@10 of k-NN"] = _recall(engine, encoder, queries[:RECALL_QUERIES], _vectors(folder, documents))
    _note(_name(documents), {"search": figures})


class _Queries:
    """``en`` for queries, under the fingerprint of an index of made vectors."""

    fingerprint, dimension = "made", 256
    similarity: Similarity = "cosine"

    def __init__(self, encoder: OnnxEncoder) -> None:
        self.encode_queries = encoder.encode_queries
        self.encode_documents = encoder.encode_documents


def _latency(call: Callable[[str], object], queries: list[str]) -> dict[str, float]:
    for query in queries[:WARM]:
        call(query)
    taken = [_once(call, query) for query in queries[WARM:]]
    return {f"p{q}": round(float(np.percentile(taken, q)), 2) for q in (50, 95, 99)}


def _once(call: Callable[[str], object], query: str) -> float:
    began = time.perf_counter()
    call(query)
    return round((time.perf_counter() - began) * 1000, 2)


def _filtered(retriever: Any, queries: list[str], share: float, documents: int) -> dict[str, float]:
    """Filter by a range of numbers; the first query's filter is not resolved yet."""
    filtered = partial(retriever.search, k=10, filter=f"number < {round(share * documents)}")
    return {"first": _once(filtered, queries[0])} | _latency(filtered, queries[: WARM + QUERIES // 4])


def _throughput(retriever: Any, queries: list[str]) -> float:
    with ThreadPoolExecutor(8) as pool:
        began = time.perf_counter()
        for _ in pool.map(partial(retriever.search, k=10), queries):
            pass
        return round(len(queries) / (time.perf_counter() - began))


def _recall(engine: EmbeddedEngine, encoder: OnnxEncoder, texts: list[str], vectors: Floats) -> float:
    """Return the share of the ten nearest by comparison with every vector that k-NN finds, or of ones as near."""
    queries = encoder.encode_queries(texts)
    best = np.full((len(queries), 10), -2.0, np.float32)
    for at in range(0, len(vectors), SLICE):
        values = queries @ vectors[at : at + SLICE].T
        best = -np.sort(-np.concatenate([best, values], axis=1), axis=1)[:, :10]
    rankings = engine.rank(Search(texts=texts, vectors=queries, k=10, mode="knn"))
    found = [
        [float(query @ vectors[int(id[1:])]) for id in one.ids] for query, one in zip(queries, rankings, strict=True)
    ]
    near = [np.array(values) >= least - 1e-5 for values, least in zip(found, best[:, -1], strict=True)]
    return round(float(np.mean([one.sum() / 10 for one in near])), 3)


@main.command()
@click.option("--documents", type=int, default=MOST)
@click.pass_obj
def add(folder: Path, documents: int) -> None:
    """Add one document after another to the index that was loaded, and delete them."""
    vectors, others = _vectors(folder, MOST), list(islice(_documents(folder), ADDS))
    with EmbeddedEngine.open(folder / _name(documents), writable=True) as engine:
        taken = []
        for number, other in enumerate(others):
            began = time.perf_counter()
            engine.add([Document(f"new{number}", other.text)], vectors[number : number + 1])
            engine.commit()
            taken.append((time.perf_counter() - began) * 1000)
        engine.delete([f"new{number}" for number in range(ADDS)])
        engine.commit()
        began = time.perf_counter()
    closing = time.perf_counter() - began
    figures = {f"p{q}": round(float(np.percentile(taken, q)), 1) for q in (50, 95, 99)}
    _note(_name(documents), {"one document added ms": figures, "closing after it s": round(closing, 1)})


def _note(name: str, figures: dict[str, Any]) -> None:
    """Add figures to those of other parts."""
    path = RESULTS / "million.json"
    known = json.loads(path.read_text())["figures"] if path.exists() else {}
    known[name] = {**known.get(name, {}), **figures}
    print(json.dumps({name: figures}, indent=2))
    write_result("million", known, command="python -m benchmarks.million", show=False)


if __name__ == "__main__":
    main()
