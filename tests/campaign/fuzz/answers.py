"""Each answer that the client reads, with a key less, another type, another status, or half of it."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar
from unittest.mock import patch

from fakes import PETS, AxisEncoder
from hypothesis import strategies as st

from campaign.attack import Attempt, Bench, Outcome
from campaign.fuzz.draws import drawn
from campaign.fuzz.expectation import Answer, Broken, outcome_of, shown
from campaign.fuzz.folders import SETTINGS
from campaign.fuzz.mutation import mutated_json
from campaign.fuzz.planted import planted
from campaign.fuzz.tape import Said, Tape, playing
from campaign.fuzz.trial import Trial
from hybrid_search import Document, Hit, Retriever
from hybrid_search.doctor.diagnosis import diagnose
from hybrid_search.indexes import indexes_on
from hybrid_search.models import inspect_index
from hybrid_search.opening import create_index, drop_index, open_engine

__all__ = ["Answers"]

Work = Callable[[str], Any]
"""Does one thing with the index at a location; its own connections."""


def _with(use: Callable[[Retriever], Any], *, writable: bool = False) -> Work:
    def work(location: str) -> Any:
        with Retriever(AxisEncoder(), open_engine(location, writable=writable)) as retriever:
            return use(retriever)

    return work


def _server_of(location: str) -> str:
    return location.rpartition("/")[0]


_FILTER = "lang = en"
WORKS: Mapping[str, Work] = {
    "hybrid": _with(lambda one: one.search("cat dog", filter=_FILTER)),
    "bm25": _with(lambda one: one.search("sleeps", mode="bm25")),
    "knn": _with(lambda one: one.search_many(["cat", "car"], mode="knn")),
    "rrf": _with(lambda one: one.search("cat", fusion=one.fusion.replace(method="rrf"))),
    "rankings": _with(lambda one: one.rankings(["cat", "sleeps"], 10)),
    "get": _with(lambda one: one.get(["d1", "nothing", "d3"])),
    "documents": _with(lambda one: list(one.engine.documents())),
    "add": _with(lambda one: one.add([*PETS, Document("new", "tree")]), writable=True),
    "delete": _with(lambda one: one.delete(["d1", "nothing"]), writable=True),
    "info": lambda location: inspect_index(location),
    "indexes": lambda location: indexes_on(_server_of(location)),
    "doctor": lambda location: diagnose(location),
}


def _damaged(said: Said) -> st.SearchStrategy[Said]:
    """One answer in many wrong ways."""
    statuses = st.sampled_from([200, 201, 204, 301, 400, 401, 403, 404, 409, 413, 429, 500, 502, 503])
    ways = [
        st.builds(lambda status: dataclasses.replace(said, status=status), statuses),
        st.builds(lambda cut: dataclasses.replace(said, cut=min(cut, len(said.body))), st.integers(1, 400)),
        st.sampled_from([b"", b"{}", b"[]", b"null", b"<html>proxy</html>", b"\xff", b'"x"', b"1", b"{" * 5_000]).map(
            lambda body: dataclasses.replace(said, body=body)
        ),
        st.sampled_from(["text/html", "", "application/json", "application/cbor", "text/plain"]).map(
            lambda kind: dataclasses.replace(said, kind=kind)
        ),
    ]
    if said.body[:1] in (b"{", b"["):
        ways += [mutated_json(said.body).map(lambda body: dataclasses.replace(said, body=body))] * 8
    return st.one_of(*ways)


class Answers:
    """A job and one of the answers it reads a trial, damaged in many ways."""

    name = "fuzz-answers"
    unit = "inputs"
    wanted = 8_000
    short = 240
    needs_server = True
    planted: ClassVar = {"answers are believed": "what is read of an answer is read without a guard"}

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        name = f"fuzz-answers-{bench.seed}-{os.getpid()}"
        upstream = str(bench.server).replace("http", "opensearch", 1)
        tapes: list[tuple[str, str, Tape]] = []
        with ExitStack() as stack:
            stack.enter_context(patch.dict(os.environ, {"OPENSEARCH_RETRIES": "0", "OPENSEARCH_READ_TIMEOUT": "5"}))
            for job, work in WORKS.items():
                drop_index(f"{upstream}/{name}")
                with Retriever(AxisEncoder(), create_index(f"{upstream}/{name}", SETTINGS)) as retriever:
                    retriever.add(PETS)
                tape = Tape(str(bench.server))
                location = f"{stack.enter_context(playing(tape))}/{name}"
                work(location)
                tape.upstream = None
                tapes.append((job, location, tape))
            drop_index(f"{upstream}/{name}")
            places = [(job, location, tape, place) for job, location, tape in tapes for place in range(len(tape.said))]

            # Neighbours in the list are answers of the same job: a stride visits all jobs early, and all places if it
            # has no divisor in common with their number.
            stride = next(one for one in (31, 37) if len(places) % one)

            def attempt(trial: int) -> Outcome:
                return _tried(*places[trial * stride % len(places)], bench.draw(trial))

            with planted(bench.planted):
                yield attempt


def _tried(job: str, location: str, tape: Tape, place: int, number: int) -> Outcome:
    trial = Trial()
    said = tape.said[place]
    for damaged in drawn(_damaged(said), number, 12):
        tape.rewind((place, damaged))
        told = f"status {damaged.status}, {damaged.kind!r}, {damaged.cut} bytes less, {shown(damaged.body, 1_500)}"
        with trial.doing(f"{job}, {said.request} answered with {told}", 1):
            result = outcome_of(lambda: WORKS[job](location), seconds=30)
            if isinstance(result, Answer):
                _check(result.value)
    tape.rewind(None)
    return trial.outcome()


def _check(answer: Any) -> None:
    """Check that what comes back is what its type says, whatever the server said."""
    for one in answer if isinstance(answer, list) else []:
        match one:
            case list():
                _check(one)
            case Hit(id, _, score, text, title, metadata):
                if not math.isfinite(score):
                    raise Broken(f"{one!r} has a score that is none")
                _check_texts(one, id, text, title, metadata)
            case Document(id, text, title, metadata):
                _check_texts(one, id, text, title, metadata)


def _check_texts(one: object, id: Any, text: Any, title: Any, metadata: Any) -> None:
    if not all(isinstance(value, str) for value in (id, text, title)) or not isinstance(metadata, Mapping):
        raise Broken(f"{one!r} was given out")
    for value in metadata.values():
        if not isinstance(value, str | int | float | bool | tuple):
            raise Broken(f"{one!r} has {value!r} among its metadata")
