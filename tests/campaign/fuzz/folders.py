"""Documents, ids, queries and filters against an index in a folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from fakes import AxisEncoder

from campaign.attack import Attempt, Bench, Outcome
from campaign.fuzz.conditions import CONDITIONS, KINDS
from campaign.fuzz.draws import drawn
from campaign.fuzz.expectation import shown
from campaign.fuzz.place import Place
from campaign.fuzz.planted import planted
from campaign.fuzz.strategies import DOCUMENTS, IDS, QUERIES
from campaign.fuzz.trial import Trial
from hybrid_search import Retriever
from hybrid_search.opening import create_index, open_engine
from hybrid_search.settings.index import IndexSettings

__all__ = ["SETTINGS", "Folders"]

SETTINGS = IndexSettings(fingerprint="axes", dimension=4, fields=KINDS)  # type: ignore[arg-type]
MODES = ("bm25", "hybrid", "knn")


class Folders:
    """A new index a trial: documents in, some deleted, all looked at; then queries and filters, and opened anew."""

    name = "fuzz-folder"
    unit = "inputs"
    wanted = 20_000
    short = 300
    needs_server = False
    planted: ClassVar = {
        "a rejected record is kept": "a document that is refused is stored all the same, without its metadata",
        "a swallowed error": "a filter over a field that is not there finds everything",
        "an accepted document is changed": "a text is stored without the blanks at its ends",
    }

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        with planted(bench.planted):
            yield lambda trial: _tried(bench.folder / f"index-{trial}", bench.draw(trial))


def _tried(folder: Path, number: int) -> Outcome:
    documents, ids = drawn(DOCUMENTS, number, 40), drawn(IDS, number, 10)
    trial = Trial()
    place = Place(Retriever(AxisEncoder(), create_index(folder, SETTINGS)))
    try:
        for start in range(0, len(documents), 10):
            batch = documents[start : start + 10]
            with trial.doing(f"documents {shown(batch, 3_000)}", len(batch)):
                refused = place.add(batch)
                place.check([batch[position].id for position in refused])
        with trial.doing(f"deleted ids {ids!r}", len(ids)):
            place.delete(ids)
            place.check(ids)
        among = f"among {shown(documents, 3_000)}"
        for position, query in enumerate(drawn(QUERIES, number, 40)):
            with trial.doing(f"query {shown(query, 200)} {among}", 1):
                place.ask([query], MODES[position % 3])
        base = {mode: place.everything(mode) for mode in MODES}
        for position, condition in enumerate(drawn(CONDITIONS, number, 60)):
            mode = MODES[position % 3]
            with trial.doing(f"filter {shown(condition)} {among}", 1):
                place.narrow(condition, mode, base[mode])
        with trial.doing(f"opened anew, with {shown(documents, 3_000)}", 1):
            place.retriever.close()
            place.retriever = Retriever(AxisEncoder(), open_engine(folder))
            place.check(ids)
    finally:
        place.retriever.close()
        shutil.rmtree(folder, ignore_errors=True)
    return trial.outcome()
