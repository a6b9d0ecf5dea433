"""The end of a job that records were refused in: told if that was allowed, an error if it was not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hybrid_search.errors import HybridSearchError, RecordsRejected
from loaders.allowance import DEFAULT, Allowance
from loaders.dead_letter import DeadLetter
from loaders.intake import Intake, Source

__all__ = ["rejecting"]

_KINDS = 5


@contextmanager
def rejecting(
    dead_letter: Path, *, allow: Allowance = DEFAULT, tell: Callable[[str], None] = lambda text: None
) -> Iterator[Intake]:
    """Collect what is refused in the block in a dead-letter file, and judge it at the end.

    Give what the block gets as ``reject`` to :func:`~loaders.registry.open_dataset` and to the job; what the job knows
    better of how many records there were goes to its :meth:`~loaders.intake.Intake.read`.

    :param allow: what may be refused.
    :param tell: takes the warning where it was allowed.
    :raises RecordsRejected: after everything else is done, if more was refused than allowed; in place of another error
        if all records of a source were refused, which is then what is behind it.
    :raises StorageError: if the file can't be written.
    """
    with DeadLetter(dead_letter) as refused:
        intake = Intake(refused)
        try:
            yield intake
        except HybridSearchError as error:
            if reason := _behind(intake, dead_letter, str(error)):
                raise RecordsRejected(f"{reason}. Therefore: {error}") from error
            raise
    if not intake.count:
        return
    lost = f"{told}. " if (told := _behind(intake, dead_letter)) else ""
    account = f"{lost}{_account(refused, intake, dead_letter)}"
    if not allow.allows(intake.sources):
        raise RecordsRejected(f"{account}. Everything else was taken. --allow-rejected, here {allow}, can allow it.")
    tell(f"Warning: {account}, which is allowed (--allow-rejected {allow}). Everything else was taken.")


def _behind(intake: Intake, dead_letter: Path, told: str = "") -> str:
    """Name the sources that gave nothing, with the first reason; not again those that are told to be empty."""
    lost = [_all_refused(name, source, dead_letter) for name, source in intake.lost.items()]
    return "; ".join([*lost, *(f"{name} is empty" for name in intake.empty if name not in told)])


def _all_refused(name: str, source: Source, dead_letter: Path) -> str:
    first = source.first
    assert first is not None
    reason = f"{first.field}: {first.reason}" if first.field else first.reason
    return (
        f"All {source.records:,} records of {name} were rejected (the first, at line {first.line}: {reason}); they are "
        f"in {dead_letter}"
    )


def _account(refused: DeadLetter, intake: Intake, dead_letter: Path) -> str:
    kinds = [f"{reason} ({count:,})" for reason, count in refused.reasons.items()]
    reasons = "; ".join(kinds[:_KINDS]) + (f"; and {len(kinds) - _KINDS} more kinds" if len(kinds) > _KINDS else "")
    total = max((source.records for source in intake.sources.values() if source.rejected), default=0)
    of = f" of {total:,}" if total >= intake.count else ""
    return f"{intake.count:,}{of} records were rejected and are in {dead_letter}: {reasons}"
