"""What must hold of an index whose process is dead: all that was acknowledged, once, in both legs, and soon."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from pathlib import Path

import numpy as np

import hybrid_search
from campaign.kills.child import Made
from campaign.kills.scripts import COMMON, document, token
from campaign.seam.folders import names_in
from hybrid_search.errors import IndexNotFound
from hybrid_search.loading.load import LoadOptions
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.types import Document

__all__ = ["Allowed", "Checks"]

Allowed = Mapping[str, AbstractSet[int | None]]
"""For each document the versions that it may have, None for "not there"."""

_SOON = 2.0
_CLOSE = 1e-4
_ALL = 1_000


class Checks:
    """Opens what dead processes left. In a process that has opened nothing before it forked.

    :param model: the checkpoint that made the vectors.
    :param folder: an empty one, for the index that was never disturbed.
    """

    def __init__(self, model: Path, folder: Path) -> None:
        self._model = model
        self._folder = folder
        self._vectors: dict[tuple[str, int], np.ndarray] = {}

    @cached_property
    def _towers(self) -> OnnxEncoder:
        return OnnxEncoder.load(self._model, threads=1)

    @cached_property
    def _shapes(self) -> Counter[str]:
        """The names in an index that was never disturbed."""
        puts = {"doc-1": 1, "doc-2": 1}
        hybrid_search.load(Made(puts), self._folder / "index", model=self._model, options=LoadOptions(threads=1))
        with hybrid_search.open(self._folder / "index", writable=True) as retriever:
            retriever.add([document("doc-2", 2)])
        return _shapes(self._folder)

    def found(self, root: Path, allowed: Allowed, *, exists: bool, writable: bool, goes_on: bool) -> list[str]:
        """Open ``root/index`` and return what is wrong with it, empty when nothing is.

        :param allowed: for each document the versions that it may have, None for none.
        :param exists: there must be an index; otherwise it may also be the beginning of one.
        :param writable: open it to write at first, or to read.
        :param goes_on: also change it afterwards, as the next process would.
        """
        index = root / "index"
        try:
            # A load that was killed may not have stored the model yet.
            held, wrong = self._opened(index, allowed, writable=writable, model=None if exists else self._model)
        except IndexNotFound as error:
            held, wrong = {}, [f"the index is gone: {error}"] if exists else []
        if wrong:
            return wrong
        # After a load that was killed before it made an index whole, the next one is what mends it.
        if goes_on or not exists:
            held = {**held, "doc-0": 99, "doc-new": 99}
            hybrid_search.load(
                Made({"doc-0": 99, "doc-new": 99}), index, model=self._model, options=LoadOptions(threads=1)
            )
        settled: Allowed = {id: {version} for id, version in held.items()}
        _, wrong = self._opened(index, settled, writable=True, model=None)
        return [f"after it was opened to write: {line}" for line in wrong] or self._left_behind(root)

    def answers(self, index: Path, held: Mapping[str, int], *, writable: bool, model: Path | None) -> list[str]:
        """Open an index and return where its answers are not those of one that holds these versions."""
        settled: Allowed = {id: {version} for id, version in held.items()}
        return self._opened(index, settled, writable=writable, model=model)[1]

    def on_server(self, location: str, allowed: Allowed, *, model: Path) -> list[str]:
        """Open an index on a server and return what is wrong with it; as :meth:`found`, but nothing is changed."""
        return self._opened(location, allowed, writable=False, model=model, soon=math.inf)[1]

    def _opened(
        self, index: Path | str, allowed: Allowed, *, writable: bool, model: Path | None, soon: float = _SOON
    ) -> tuple[dict[str, int], list[str]]:
        started = _own_time()
        with hybrid_search.open(index, model=model, writable=writable) as retriever:
            retriever.search(COMMON, 1)
            took = _own_time() - started
            held, wrong = _held(retriever, allowed)
            wrong += self._in_both_legs(retriever, held)
            if writable:
                wrong += retriever.engine.verify()
        if took > soon:
            wrong.append(f"it took {took:.1f} s to open, more than {soon:g}")
        return held, wrong

    def _in_both_legs(self, retriever: Retriever, held: dict[str, int]) -> list[str]:
        wrong = _difference("BM25", retriever.search(COMMON, _ALL, mode="bm25"), held)
        stale = [token(id, version) for id in held for version in range(1, 9) if version != held[id]]
        if found := retriever.search(" ".join(stale), _ALL, mode="bm25"):
            wrong.append(f"BM25 finds {found[0].id} by a word that it no longer has: {found[0].text}")
        query = "river stone light"
        hits = retriever.search(query, _ALL, mode="knn")
        wrong += _difference("k-NN", hits, held)
        asked = self._towers.encode_queries([query])[0]
        vectors = self._encoded(held)
        for hit in hits:
            right = (1 + float(asked @ vectors[hit.id])) / 2 if hit.id in held else hit.score
            if abs(hit.score - right) > _CLOSE:
                wrong.append(f"k-NN has {hit.score} for {hit.id} v{held[hit.id]}, whose own vector gives {right}")
        return wrong

    def _encoded(self, held: dict[str, int]) -> dict[str, np.ndarray]:
        unknown = [item for item in held.items() if item not in self._vectors]
        if unknown:
            texts = [document(*item).searchable_text for item in unknown]
            self._vectors.update(zip(unknown, self._towers.encode_documents(texts), strict=True))
        return {id: self._vectors[id, version] for id, version in held.items()}

    def _left_behind(self, root: Path) -> list[str]:
        strange = _shapes(root) - self._shapes
        segments = {name for name in strange if name.startswith("index/lexical/#.")}
        if segments:
            used = (root / "index" / "lexical" / "meta.json").read_text().replace("-", "")
            of_segments = [name for name in names_in(root / "index" / "lexical") if re.match(r"[0-9a-f]{32}\.", name)]
            strays = [name for name in of_segments if name[:32] not in used]
            strange = Counter({name: count for name, count in strange.items() if name not in segments})
            strange.update(f"index/lexical/{name}" for name in strays)
        return [f"left behind: {', '.join(sorted(strange))}"] if strange else []


def _held(retriever: Retriever, allowed: Allowed) -> tuple[dict[str, int], list[str]]:
    """Return the version of each document that is there, and which of them may not be."""
    documents: list[Document] = list(retriever.engine.documents())
    held = {one.id: int(str(one.metadata["version"])) for one in documents}
    wrong = [f"{id} is there {times} times" for id, times in Counter(one.id for one in documents).items() if times > 1]
    for one in documents:
        if one != document(one.id, held[one.id]):
            wrong.append(f"{one.id} is not what was written: {one}")
    if retriever.engine.count() != len(documents):
        wrong.append(f"{retriever.engine.count()} documents are counted, {len(documents)} are there")
    for id in sorted({*held, *allowed}):
        versions = allowed.get(id, {None})
        if held.get(id) not in versions:
            wrong.append(f"{id} is there as version {held.get(id)}, and should be one of {sorted(versions, key=str)}")
    return held, wrong


def _difference(leg: str, hits: Sequence[hybrid_search.Hit], held: dict[str, int]) -> list[str]:
    counted = Counter(hit.id for hit in hits)
    wrong = [f"{leg} finds {id} {times} times" for id, times in counted.items() if times > 1]
    if missing := sorted(held.keys() - counted):
        wrong.append(f"{leg} does not find {', '.join(missing)}")
    if strange := sorted(counted.keys() - held):
        wrong.append(f"{leg} finds {', '.join(strange)}, which are not there")
    for hit in hits:
        if hit.id in held and hit.text != document(hit.id, held[hit.id]).text:
            wrong.append(f"{leg} shows another text of {hit.id}: {hit.text}")
    return wrong


def _shapes(root: Path) -> Counter[str]:
    return Counter(_shaped(names_in(root)))


def _shaped(names: Iterable[str]) -> Iterable[str]:
    """Names without what differs from one index to the next: identifiers and generations."""
    return (re.sub(r"[0-9a-f]{32}|\d+", "#", name) for name in names)


def _own_time() -> float:
    """Seconds, without those that this thread could have run and the machine was busy with others."""
    with open("/proc/thread-self/schedstat") as file:
        waited = int(file.read().split()[1])
    return time.perf_counter() - waited / 1e9
