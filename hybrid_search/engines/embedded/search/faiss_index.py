"""Functions around FAISS: choosing, building and writing an index, and searching among part of its vectors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from hybrid_search.engines.embedded.store.own_files import made
from hybrid_search.errors import ConfigError
from hybrid_search.settings.index import Similarity

__all__ = [
    "FLAT",
    "RESCORED",
    "Allowed",
    "build",
    "check_factory",
    "exact",
    "is_graph",
    "is_similarity",
    "is_transformed",
    "kind_for",
    "prepared",
    "reason",
    "search",
    "threads_for",
    "to_score",
    "walk",
    "write",
]

Floats = NDArray[np.float32]
Positions = NDArray[np.int64]

# At import FAISS replaces methods of its classes by ones with other arguments than its type stubs declare.
_swig: Any = faiss

FLAT = "Flat"
RESCORED = "SQ8,RFlat"
"""FAISS's name for it; FAISS's own keeps the originals in memory, and fetches k candidates for k hits."""

_RESCORED_FROM = 10_000
_GRAPH = "HNSW32"
_GRAPH_FROM = 200_000
_TRAINED_ON = 262_144
_EF_CONSTRUCTION = 100
_PROBES = 16
_LEAST_SQUARE = 1e-20
_EXACT_UP_TO = 20_000
_MATRIX_FROM = 20
"""From so many queries on, to copy the vectors and multiply matrices takes less time."""
_BLOCK = 65_536
_CPP = re.compile(r"^Error in .*? at \S+:\d+: (Error: '.*?' failed: ?)?", re.DOTALL)


def check_factory(factory: str, dimension: int) -> None:
    """Check an ``index_factory`` string by making an empty index.

    :param dimension: 0 for an index without vectors; the string must be valid all the same.
    :raises ConfigError: if FAISS refuses it, with the reason.
    """
    if factory == "auto":
        return
    index = _make(factory, dimension, "dot")
    if is_graph(index) and _has_no_way_back(index):
        raise ConfigError(
            f"faiss is {factory!r}, a graph whose vectors can't be compared one by one, as a search through few of "
            f"them must; use PCA or OPQ before it, or IVF instead of HNSW"
        )


def _make(factory: str, dimension: int, similarity: Similarity) -> Any:
    metric = faiss.METRIC_L2 if similarity == "l2" else faiss.METRIC_INNER_PRODUCT
    try:
        index = faiss.index_factory(dimension, factory, metric)
    except RuntimeError as error:
        if "could not parse" in (why := reason(error)):
            raise ConfigError(
                f"faiss is {factory!r}, which is no index_factory string that FAISS knows; "
                f"for example Flat, HNSW32, IVF1024,PQ32"
            ) from error
        raise ConfigError(
            f"faiss is {factory!r}, which FAISS refuses for dimension {dimension}: {why}; "
            f"see its guidelines for index_factory, or use auto, Flat or HNSW32"
        ) from error
    if isinstance(index, faiss.IndexIDMap):
        raise ConfigError(f"faiss is {factory!r}; leave IDMap out, positions are kept beside the index")
    if isinstance(graph := _inner(index), faiss.IndexHNSW):
        graph.hnsw.efConstruction = _EF_CONSTRUCTION
    return index


def _has_no_way_back(index: Any) -> bool:
    """Return whether vectors are transformed in a way that FAISS can't undo: whitened, or to binary codes."""
    if not is_transformed(index):
        return False
    chain: Any = index.chain
    steps = [_swig.downcast_VectorTransform(chain.at(number)) for number in range(chain.size())]
    return any(isinstance(step, _swig.ITQTransform) or getattr(step, "eigen_power", 0) for step in steps)


def reason(error: RuntimeError) -> str:
    """Return FAISS's message without its start: a C++ function, file and line."""
    return _CPP.sub("", str(error)).strip()


def _inner(index: Any) -> Any:
    """Return the index proper, without a preceding transformation of the vectors."""
    return faiss.downcast_index(index.index) if is_transformed(index) else index


def kind_for(factory: str, dimension: int, count: int) -> str:
    """Return the kind to build for this many vectors: the factory's, or ``Flat`` if they are too few to train it."""
    if not count:
        return FLAT
    if factory == "auto":
        return FLAT if count < _RESCORED_FROM else RESCORED if count < _GRAPH_FROM else _GRAPH
    index = _make(factory, dimension, "dot")
    if index.is_trained:
        return factory
    return factory if count >= _needed(index) else FLAT


def _needed(index: Any) -> int:
    """Return how many vectors training needs: with 39 for each centroid, FAISS does not warn."""
    inner = _inner(index)
    lists = inner.nlist if isinstance(inner, faiss.IndexIVF) else 1
    quantizer = getattr(inner, "pq", None)
    codes = quantizer.ksub if quantizer is not None else 1
    return int(39 * max(lists, codes, 10))


def build(kind: str, vectors: Floats, similarity: Similarity) -> Any:
    """Build an index of prepared vectors (n, dimension); trained, if it needs that, on a sample of them."""
    index = _make(kind, vectors.shape[1], similarity)
    if not index.is_trained:
        step = max(1, len(vectors) // _TRAINED_ON)
        index.train(np.ascontiguousarray(vectors[::step]))
    index.add(vectors)
    return index


def write(index: Any, path: Path) -> None:
    """Write an index to a file.

    :raises OSError: if the disk is full.
    """
    # Through a Python file: FAISS's own writer prints to stderr when it fails.
    with made(path) as file:
        _swig.write_index(index, _swig.PyCallbackIOWriter(file.write))


def prepared(vectors: Floats, similarity: Similarity) -> Floats:
    """Convert vectors to the form that is indexed and searched: contiguous float32 (n, dim), unit length for cosine."""
    vectors = np.ascontiguousarray(vectors, np.float32)
    if similarity != "cosine" or not len(vectors):
        return vectors
    squares = np.einsum("ij,ij->i", vectors, vectors)
    ordinary = (squares > _LEAST_SQUARE) & (squares < 1 / _LEAST_SQUARE)
    if ordinary.all():
        units: Floats = vectors / np.sqrt(squares)[:, None]
        return units
    prepared = _extreme(vectors)
    prepared[ordinary] = vectors[ordinary] / np.sqrt(squares[ordinary])[:, None]
    return prepared


def _extreme(vectors: Floats) -> Floats:
    """Normalise, after division by the largest component, as squares of extreme numbers leave float32's range."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    scaled = np.divide(vectors, largest, out=np.zeros_like(vectors), where=largest > 0)
    norms = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit: Floats = np.divide(scaled, norms, out=np.zeros_like(scaled), where=norms > 0)
    return unit


def to_score(values: Floats, similarity: Similarity) -> NDArray[np.float64]:
    """Convert FAISS's inner products or squared distances to OpenSearch's scores; higher is better."""
    wide = values.astype(np.float64)
    if similarity == "cosine":
        return (1 + np.minimum(np.maximum(wide, -1), 1)) / 2
    if similarity == "l2":
        return 1 / (1 + np.maximum(wide, 0))
    return np.where(wide >= 0, 1 + np.maximum(wide, 0), 1 / (1 - np.minimum(wide, 0)))


@dataclass(frozen=True, slots=True, eq=False)
class Allowed:
    """The vectors that a search may find.

    :ivar alive: (n,) whether each position is allowed.
    :ivar bitmap: the same in FAISS's form, little-endian bits; None if all are allowed.
    :ivar count: number of allowed positions.
    """

    alive: NDArray[np.bool_]
    bitmap: NDArray[np.uint8] | None
    count: int


def is_graph(index: Any) -> bool:
    """Return whether an index is a graph, which is walked."""
    return isinstance(_inner(index), faiss.IndexHNSW)


def is_transformed(index: Any) -> bool:
    """Return whether the vectors are transformed before they are indexed."""
    return isinstance(index, faiss.IndexPreTransform)


def is_similarity(index: Any) -> bool:
    """Return whether greater values are nearer: inner products, not distances."""
    return bool(_inner(index).metric_type == faiss.METRIC_INNER_PRODUCT)


@contextmanager
def threads_for(queries: int) -> Iterator[None]:
    """Let FAISS search one query in the calling thread alone; more of them on all cores.

    It would start a team of threads for one query too, and wait for each of them: where the other cores have work, for
    many times as long as the search takes. OpenMP keeps the number for each thread, so others are not concerned.
    """
    before = faiss.omp_get_max_threads()
    if queries > 1 or before == 1:
        yield
        return
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def search(index: Any, queries: Floats, k: int, allowed: Allowed, steps: int) -> tuple[Floats, Positions]:
    """Return the k best of the allowed vectors for each query: (values, positions), each (queries, k).

    A missing neighbour has position -1. If few vectors of a graph are allowed, it would miss most of them, and the
    query is compared with each of them instead.

    :param steps: how far a graph is walked, at least; further for a larger k, and where many are not allowed.
    """
    graph = is_graph(index)
    if graph and allowed.bitmap is not None and allowed.count <= max(_EXACT_UP_TO, len(allowed.alive) // 10):
        if len(queries) < _MATRIX_FROM and (vectors := _vectors_of(index)) is not None:
            return _native(vectors, queries, k, allowed, 0)
        return exact(index, queries, k, np.flatnonzero(allowed.alive))
    values, positions = _native(index, queries, k, allowed, steps)
    if graph and (positions < 0).any():
        return exact(index, queries, k, np.flatnonzero(allowed.alive))
    return values, positions


def _vectors_of(graph: Any) -> Any:
    """Return the index of the vectors that a graph links, if it can be searched among some of them; else None."""
    vectors = None if is_transformed(graph) else faiss.downcast_index(graph.storage)
    return vectors if isinstance(vectors, faiss.IndexFlat | faiss.IndexScalarQuantizer) else None


def walk(index: Any, queries: Floats, k: int, steps: int) -> tuple[Floats, Positions]:
    """Search all of a graph with this effort exactly; otherwise as :func:`search`."""
    everything = Allowed(np.ones(index.ntotal, bool), None, index.ntotal)
    return _native(index, queries, k, everything, steps)


def _native(index: Any, queries: Floats, k: int, allowed: Allowed, steps: int) -> tuple[Floats, Positions]:
    inner = _inner(index)
    share = allowed.count / len(allowed.alive)
    selector = None if allowed.bitmap is None else _swig.IDSelectorBitmap(allowed.bitmap)
    if isinstance(inner, faiss.IndexHNSW):
        effort = int(max(steps, k) / share)
        parameters = (
            _graph_parameters(effort) if selector is None else _swig.SearchParametersHNSW(sel=selector, efSearch=effort)
        )
    elif isinstance(inner, faiss.IndexIVF):
        probes = min(inner.nlist, int(max(_PROBES, inner.nlist // 16) / share) + 1)
        parameters = _swig.SearchParametersIVF(sel=selector, nprobe=probes)
    elif selector is None:
        return index.search(queries, k)  # type: ignore[no-any-return]
    elif isinstance(inner, faiss.IndexFlat | faiss.IndexScalarQuantizer):
        parameters = _swig.SearchParameters(sel=selector)
    else:
        return _sifted(index, queries, k, allowed.alive)
    if inner is not index:
        parameters = _swig.SearchParametersPreTransform(index_params=parameters)
    return index.search(queries, k, params=parameters)  # type: ignore[no-any-return]


@lru_cache(maxsize=64)
def _graph_parameters(effort: int) -> Any:
    return _swig.SearchParametersHNSW(efSearch=effort)


def _sifted(index: Any, queries: Floats, k: int, alive: NDArray[np.bool_]) -> tuple[Floats, Positions]:
    """Search an index that takes no selector: increase k until enough of the results are allowed."""
    needed = min(k, int(alive.sum()))
    fetched = 2 * k
    while True:
        fetched = min(fetched, index.ntotal)
        values, positions = index.search(queries, fetched)
        good = (positions >= 0) & alive[np.maximum(positions, 0)]
        if fetched == index.ntotal or good.sum(axis=1).min() >= needed:
            break
        fetched *= 4
    # A stable sort on "not good" moves the good ones to the front and keeps their order.
    front = np.argsort(~good, axis=1, kind="stable")[:, :k]
    positions = np.where(np.take_along_axis(good, front, axis=1), np.take_along_axis(positions, front, axis=1), -1)
    return np.take_along_axis(values, front, axis=1), positions


def exact(index: Any, queries: Floats, k: int, positions: Positions) -> tuple[Floats, Positions]:
    """Compare with each vector at ``positions``, in blocks; otherwise as :func:`search`."""
    inner = _inner(index)
    heap = faiss.ResultHeap(len(queries), k, keep_max=is_similarity(index))
    for start in range(0, len(positions), _BLOCK):
        block = positions[start : start + _BLOCK]
        vectors = index.reconstruct_batch(block)
        values, local = faiss.knn(queries, vectors, min(k, len(block)), metric=inner.metric_type)
        heap.add_result(values, block[local])
    heap.finalize()
    return heap.D, heap.I
