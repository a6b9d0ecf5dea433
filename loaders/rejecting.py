"""Collects the records that a job rejects; at its end warns if they are within the allowance, else raises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hybrid_search.errors import HybridSearchError, RecordsRejected
from hybrid_search.loaders.allowance import DEFAULT, Allowance
from hybrid_search.loaders.dead_letter import DeadLetter
from hybrid_search.loaders.intake import Intake, Source

__all__ = ["rejecting"]

_KINDS = 5


@contextmanager
def rejecting(
    dead_letter: Path,
    *,
    allow: Allowance = DEFAULT,
    tell: Callable[[str], None] = lambda text: None,
    run: str = "",
    goes_on: bool = False,
) -> Iterator[Intake]:
    """Write the records that are rejected inside the block to a dead-letter file, and check their number at the end.

    Pass the yielded object as ``reject`` to :func:`~hybrid_search.loaders.registry.open_dataset` and to the job. If the
    job counts records itself, it reports them to :meth:`~hybrid_search.loaders.intake.Intake.read`.

    :param dead_letter: the file; it is created at the first rejection, and one of an earlier run renamed.
    :param allow: how many records may be rejected.
    :param tell: called with the warning if records were rejected within the allowance.
    :param run: the name of this run in the file.
    :param goes_on: with an earlier run, whose file is then added to.
    :raises RecordsRejected: at the end of the block, if more were rejected than allowed; also instead of another
        error if all records of a source were rejected, as that is its cause.
    :raises StorageError: if the file can't be written.
    """
    with DeadLetter(dead_letter, run, goes_on=goes_on) as refused:
        intake = Intake(refused)
        try:
            yield intake
        except HybridSearchError as error:
            if reason := _sources_lost(intake, dead_letter, str(error)):
                raise RecordsRejected(f"{reason}. Therefore: {error}") from error
            raise
    if not intake.count:
        return
    lost = _sources_lost(intake, dead_letter)
    others = sum(source.records for source in intake.sources.values()) > intake.count
    if not intake.lost or others or len(refused.reasons) > 1:
        lost = f"{lost}. {_account(refused, intake, dead_letter)}" if lost else _account(refused, intake, dead_letter)
    taken = ". Everything else was taken" if others else ""
    if not allow.allows(intake.sources):
        raise RecordsRejected(f"{lost}{taken}. `allow`, here {allow}, can allow it.")
    tell(f"Warning: {lost}, which is allowed (`allow` {allow}){taken}.")


def _sources_lost(intake: Intake, dead_letter: Path, message: str = "") -> str:
    """Name the sources without a usable record and why; skips empty ones that ``message`` names already."""
    lost = [_all_refused(name, source, dead_letter) for name, source in intake.lost.items()]
    return "; ".join([*lost, *(f"{name} is empty" for name in intake.empty if name not in message)])


def _all_refused(name: str, source: Source, dead_letter: Path) -> str:
    first = source.first
    assert first is not None
    name = "standard input" if name == "-" else name
    if source.records == 1:
        return f"The only record of {name} was rejected (line {first.line}: {first.fault}); it is in {dead_letter}"
    return (
        f"All {source.records:,} records of {name} were rejected (the first, at line {first.line}: {first.fault}); "
        f"they are in {dead_letter}"
    )


def _account(refused: DeadLetter, intake: Intake, dead_letter: Path) -> str:
    kinds = [f"{reason} ({count:,})" for reason, count in refused.reasons.items()]
    reasons = "; ".join(kinds[:_KINDS]) + (f"; and {len(kinds) - _KINDS} more kinds" if len(kinds) > _KINDS else "")
    total = sum(source.records for source in intake.sources.values())
    of = f" of {total:,}" if total >= intake.count else ""
    one = intake.count == 1
    noun, verbs = ("record" if one and not of else "records"), ("was", "is") if one else ("were", "are")
    return f"{intake.count:,}{of} {noun} {verbs[0]} rejected and {verbs[1]} in {dead_letter}: {reasons}"
