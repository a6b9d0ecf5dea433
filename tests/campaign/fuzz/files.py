"""Index folders and checkpoints with a file that is not as it was written: said so, or made good; never believed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from fakes import PETS
from hypothesis import strategies as st

import hybrid_search
from campaign.attack import Attempt, Bench, Outcome
from campaign.fuzz.draws import drawn
from campaign.fuzz.expectation import Answer, Broken, outcome_of, shown
from campaign.fuzz.mutation import flipped, mutated, mutated_json
from campaign.fuzz.planted import planted
from campaign.fuzz.trial import Trial
from hybrid_search import Document, Retriever
from hybrid_search.loaders.dataset import BaseDataset
from hybrid_search.models import inspect_index

__all__ = ["Files"]

_WORDS = "cat dog car tree kitten puppy sleeps the"
_JSON = (".json", ".jsonl")
_HASHED = ("tokenizer.json", "weights.safetensors", "untrained.safetensors", "query.onnx", "document.onnx")


class _Pets(BaseDataset):
    def documents(self) -> Iterator[Document]:
        return iter(PETS)

    def splits(self) -> tuple[str, ...]:
        return ()

    def queries(self, split: str) -> Iterator[hybrid_search.Query]:
        return iter(())

    def judgements(self, split: str, judgement_set: str = "") -> Iterator[hybrid_search.Judgement]:
        return iter(())


class Files:
    """A file a trial, damaged in several ways, one after another; opened, searched, read, verified."""

    name = "fuzz-files"
    unit = "inputs"
    wanted = 1_200
    short = 16
    needs_server = False
    planted: ClassVar = {
        "a damaged model is believed": "a model's files are not compared with their hashes",
    }

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        from made_models import make_model  # loads torch

        model = make_model(bench.folder / "model", [_WORDS] * 3, seed=1)
        index = bench.folder / "index"
        hybrid_search.load(_Pets("pets"), index, model=model)
        with hybrid_search.open(index) as whole:
            right = _encoded(whole)
        files = [
            path
            for root in (model, index)
            for path in sorted(root.rglob("*"))
            if path.is_file() and path.stat().st_size
        ]

        def attempt(trial: int) -> Outcome:
            return _tried(files[trial % len(files)], index, model, right, bench.draw(trial))

        with planted(bench.planted):
            yield attempt


def _tried(file: Path, index: Path, model: Path, right: list[list[float]], number: int) -> Outcome:
    trial = Trial()
    root = index if index in file.parents else model
    content = file.read_bytes()
    changes = mutated_json(content) if file.suffix in _JSON else flipped(content)
    for damaged in drawn(st.one_of(changes, changes, mutated(content)), number, 2):
        copied = shutil.copytree(root, root.with_name(f"{root.name}-damaged"))
        try:
            place = copied / file.relative_to(root)
            place.write_bytes(damaged)
            with trial.doing(f"{root.name}/{file.relative_to(root)} with {_change(content, damaged)}", 1):
                if root == index:
                    _use_index(copied)
                else:
                    _use_model(index, copied, right, hashed=file.name in _HASHED and damaged != content)
        finally:
            shutil.rmtree(copied)
    return trial.outcome()


def _change(before: bytes, after: bytes) -> str:
    """Say how a file was changed."""
    at = next(
        (place for place, (one, other) in enumerate(zip(before, after, strict=False)) if one != other),
        min(len(before), len(after)),
    )
    was, became = before[at : at + 40], after[at : at + 40]
    return f"{len(after)} bytes instead of {len(before)}, from {at} on {became!r} instead of {was!r}"


def _use_index(folder: Path) -> None:
    opened = outcome_of(lambda: hybrid_search.open(folder))
    if not isinstance(opened, Answer):
        return
    with opened.value as retriever:
        for query in ("cat", "dog sleeps"):
            for mode in ("bm25", "hybrid", "knn") if retriever.searches_vectors else ("bm25",):
                told = outcome_of(lambda query=query, mode=mode: retriever.search(query, mode=mode))
                if isinstance(told, Answer):
                    _check([Document(hit.id, hit.text, hit.title, hit.metadata) for hit in told.value])
        told = outcome_of(lambda: retriever.get([pet.id for pet in PETS]))
        if isinstance(told, Answer):
            _check([document for document in told.value if document is not None])
        outcome_of(lambda: list(retriever.engine.documents()))
    outcome_of(lambda: inspect_index(str(folder)))
    outcome_of(lambda: inspect_index(str(folder), verify=True))
    _use_to_write(folder)


def _use_to_write(folder: Path) -> None:
    opened = outcome_of(lambda: hybrid_search.open(folder, writable=True))
    if isinstance(opened, Answer):
        _add_one(opened.value)


def _add_one(retriever: Retriever) -> None:
    try:
        told = outcome_of(lambda: retriever.add([Document("new", "a new tree")]))
        if isinstance(told, Answer):
            found = outcome_of(lambda: retriever.search("new", mode="bm25"))
            if isinstance(found, Answer) and "new" not in [hit.id for hit in found.value]:
                raise Broken(f"a document was added and acknowledged, and a search for it finds {found.value}")
    finally:
        outcome_of(retriever.close)


def _check(documents: list[Document]) -> None:
    right = {pet.id: pet for pet in PETS}
    for document in documents:
        if document != right.get(document.id):
            raise Broken(f"{shown(document)} is shown, stored was {right.get(document.id)}")


def _use_model(index: Path, model: Path, right: list[list[float]], *, hashed: bool) -> None:
    opened = outcome_of(lambda: hybrid_search.open(index, model=model))
    if isinstance(opened, Answer):
        if hashed:
            opened.value.close()
            raise Broken("a file of a model is not what was written, and the model opens")
        with opened.value as retriever:
            told = outcome_of(lambda: _encoded(retriever))
            if isinstance(told, Answer) and told.value != right:
                raise Broken("a damaged model encodes, and otherwise than the whole one")
            outcome_of(lambda: retriever.search("cat dog"))


def _encoded(retriever: Retriever) -> list[list[float]]:
    texts = [*_WORDS.split(), _WORDS]
    encoders = (retriever.encode_queries, retriever.encode_documents)
    return [row for encode in encoders for row in encode(texts).tolist()]
