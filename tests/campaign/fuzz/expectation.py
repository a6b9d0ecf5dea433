"""What may come of an input: an answer, or a typed error that says what and why. Anything else is a broken promise."""

from __future__ import annotations

import re
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Generic, TypeVar

from hybrid_search import HybridSearchError

__all__ = ["Answer", "Broken", "Refused", "Told", "checked_message", "deadline", "outcome_of", "shown"]

T = TypeVar("T")

SECONDS = 20.0
"""In which every call must be done; the machine may be busy with other attacks."""

LONGEST_MESSAGE = 4_000
"""An error is read by a person; one that quotes a whole hostile input is none."""

_INTERNAL = re.compile(r"<[\w.]+ object at 0x|<function |<bound method|Traceback \(most recent")
_ROOT = Path(__file__).parents[3]


class Broken(Exception):
    """A promise does not hold; says which, with the values."""


class _Hang(BaseException):
    """Raised by the alarm; not an Exception, so that no handler takes it for a failure of its own."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """The call returned."""

    value: T


@dataclass(frozen=True, slots=True)
class Refused:
    """The call raised one of the library's own errors."""

    error: HybridSearchError

    def __str__(self) -> str:
        return f"{type(self.error).__name__}: {self.error}"


Told = Answer[T] | Refused


def outcome_of(call: Callable[[], T], *, seconds: float = SECONDS, also: tuple[type[Exception], ...] = ()) -> Told[T]:
    """Carry out a call.

    :param also: errors of another library that the caller gets by contract, as click's.
    :raises Broken: if it hangs, ends with an error that is not the library's, or with one that does not say what is
        wrong.
    """
    try:
        with deadline(seconds):
            return Answer(call())
    except HybridSearchError as error:
        checked_message(error)
        return Refused(error)
    except _Hang:
        raise Broken(f"no answer after {seconds:g} s") from None
    except also:
        raise
    except Exception as error:
        raise Broken(f"{type(error).__name__}: {str(error)[:300]} (in {_place(error)})") from error


def checked_message(error: HybridSearchError) -> None:
    """Check that an error can be read, printed and kept.

    :raises Broken: if it is empty, endless, not to be encoded, or shows the inside of an object.
    """
    message = str(error)
    if len(message.strip()) < 8:
        raise Broken(f"{type(error).__name__} says nothing: {message!r}")
    if len(message) > LONGEST_MESSAGE:
        raise Broken(f"{type(error).__name__} has {len(message)} characters: {message[:200]!r} …")
    if _INTERNAL.search(message):
        raise Broken(f"{type(error).__name__} shows the inside of an object: {message[:500]!r}")
    try:
        message.encode()
    except UnicodeEncodeError:
        raise Broken(f"{type(error).__name__} can't be printed, it has a lone surrogate: {message[:200]!r}") from None


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """End what runs too long, in the main thread."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise _Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def shown(value: object, length: int = 500) -> str:
    """Show an input, however deep it is nested."""
    try:
        text = repr(value)
    except RecursionError:
        text = f"a deeply nested {type(value).__name__}"
    return text if len(text) <= length else f"{text[:length]} …"


def _place(error: Exception) -> str:
    """The last line of our own code that the error passed."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if str(_ROOT) in one.filename]
    own = [one for one in frames if "/tests/" not in one.filename and "/.venv/" not in one.filename] or frames
    last = own[-1]
    return f"{Path(last.filename).relative_to(_ROOT)}:{last.lineno} {last.name}"
