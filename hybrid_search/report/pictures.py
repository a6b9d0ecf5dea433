"""The pictures of a report, by matplotlib: each once as SVG in the page's colours, and once as PNG."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hybrid_search.errors import importing_extra
from hybrid_search.evaluation.diagnose import BINS
from hybrid_search.evaluation.significance import Comparison
from hybrid_search.report.inputs import Inputs, growth, timings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Picture", "as_png", "as_svg", "pictures", "plain"]

_WIDTH, _HEIGHT = 4.8, 3.2  # inches; small, so that letters stay large enough on a phone
_ROW = 0.3
_WIDE, _WIDER = 3, 200  # the largest value over the least, from which on an axis is logarithmic; has fewer ticks
_MOST_ROWS = 30
_MOST_CURVES = 8
_LONGEST_NAME = 36
_COLOURS = ("#0b84c4", "#d9730d", "#2a9d5c", "#c2417c", "#8a63d2", "#9a7b00", "#17a2a2", "#d1495b")
"""Told apart by people who see red and green alike, and dark and light enough for either background."""
_MARKERS = "os^Dv<>P"

_INK, _FAINT = "#010203", "#040506"
"""Stand for the page's colours in an SVG."""
_PRINTED = ("#1a1a1a", "#c8c8c8")


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture.

    :ivar name: of its file.
    :ivar kind: the section that it belongs to, as :class:`~hybrid_search.report.inputs.Inputs` names it.
    :ivar title: above it.
    :ivar text: what it shows, in words.
    """

    name: str
    kind: str
    title: str
    text: str
    draw: Callable[[Figure], None]
    height: float = _HEIGHT


def plain(text: str, longest: int = _LONGEST_NAME) -> str:
    """Return a name that came from a file, fit to be drawn: printable, on one line, and not too long."""
    clean = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return clean if len(clean) <= longest else f"{clean[: longest - 1]}…"


def pictures(inputs: Inputs) -> Iterator[Picture]:
    """Yield all pictures that the inputs give."""
    yield from _of_trainings(inputs)
    for draw, kind in (
        (_of_comparison, inputs.comparisons), (_of_evaluation, inputs.evaluations), (_of_diagnosis, inputs.diagnoses),
        (_of_tuning, inputs.tunings), (_of_sweep, inputs.sweeps), (_of_benchmark, inputs.benchmarks),
    ):  # fmt: skip
        for number, (name, value) in enumerate(kind.items(), 1):
            yield from draw(number, plain(name), value)


def _of_comparison(number: int, name: str, compared: Any) -> Iterator[Picture]:
    measure = compared.measures[0] if compared.measures else "quality"
    values = {row.name: row.comparison for row in compared.rows}
    yield _forest(f"quality-{number}", "comparisons", f"{name}: {measure} of {compared.queries:,} queries", values)
    timed = [row for row in compared.rows if row.latency is not None and row.latency.p50 > 0 and measure in row.means]
    if len(timed) > 1:
        yield _pareto(f"pareto-{number}", name, measure, timed)


def _of_evaluation(number: int, name: str, evaluated: Any) -> Iterator[Picture]:
    measure = evaluated.significance.measure
    yield _forest(f"systems-{number}", "evaluations", f"{name}: {measure}", evaluated.significance.systems)
    if evaluated.against_bm25 and evaluated.against_bm25.changes:
        yield _changes(f"changes-{number}", name, measure, evaluated.against_bm25.changes)
    if latencies := dict(timings(evaluated.latency_ms)):
        yield _latencies(f"speed-{number}", "evaluations", f"{name}: time of one query", latencies)


def _of_diagnosis(number: int, name: str, diagnosis: Any) -> Iterator[Picture]:
    if cosines := {what: counts for what, counts in diagnosis.cosines.items() if len(counts) == BINS}:
        yield _histogram(f"cosines-{number}", name, cosines)


def _of_tuning(number: int, name: str, tuned: Any) -> Iterator[Picture]:
    yield _forest(f"fusion-{number}", "tunings", f"{name}: {tuned.measure} on held-out queries", tuned.checked)


def _of_sweep(number: int, name: str, swept: Any) -> Iterator[Picture]:
    done = [(trial.number, trial.measure) for trial in swept.trials if trial.measure is not None]
    if done:
        yield _trials(f"trials-{number}", name, swept.measure, done)
    if swept.importance:
        yield _shares(f"importance-{number}", f"{name}: what the measure depends on", swept.importance)
    if swept.checked:
        yield _forest(f"swept-{number}", "sweeps", f"{name}: {swept.measure} on held-out queries", swept.checked)


def _of_benchmark(number: int, name: str, benchmark: Any) -> Iterator[Picture]:
    if latencies := dict(timings(benchmark.figures)):
        yield _latencies(f"latency-{number}", "benchmarks", f"{name}: milliseconds", latencies)
    for place, (what, size, points) in enumerate(growth(benchmark.figures), 1):
        of = plain(what.removeprefix(f"{benchmark.benchmark}, "), 60)
        yield _growth(f"growth-{number}-{place}", f"{name}: {of}", size, points)


def _of_trainings(inputs: Inputs) -> Iterator[Picture]:
    """Yield a picture for each value that trainings log: measures and the loss first."""
    names = {name for training in inputs.trainings.values() for name in training.series}
    order = sorted(names, key=lambda name: ("@" not in name, name != "loss", name))
    for number, value in enumerate(order[:6], 1):
        runs = {name: run.series[value] for name, run in inputs.trainings.items() if value in run.series}
        shown = dict(list(runs.items())[:_MOST_CURVES])
        ends = "; ".join(f"{plain(name)} ends at {points[-1][1]:.4g}" for name, points in shown.items())
        yield Picture(
            f"training-{number}", "trainings", f"{plain(value)} while training", f"By step. {ends}.", _curves(shown)
        )


def _curves(runs: Mapping[str, Sequence[tuple[float, float]]]) -> Callable[[Figure], None]:
    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for number, (name, points) in enumerate(runs.items()):
            steps, values = zip(*points, strict=True)
            few: dict[str, Any] = (
                {"marker": _MARKERS[number % len(_MARKERS)], "markersize": 4} if len(points) < 20 else {}
            )
            axes.plot(steps, values, color=_colour(number), linewidth=1.2, label=plain(name), **few)
        axes.set_xlabel("step")
        if len(runs) > 1:
            axes.legend()

    return draw


def _forest(name: str, kind: str, title: str, values: Mapping[str, Comparison]) -> Picture:
    """Draw a mean with its interval for each system."""
    rows = list(values.items())[:_MOST_ROWS]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for place, (_, one) in enumerate(rows):
            low, high = one.interval or (one.mean, one.mean)
            axes.plot([low, high], [place, place], color=_colour(0), linewidth=2, alpha=0.5)
            axes.plot([one.mean], [place], "o", color=_colour(0), markersize=5)
        _named_rows(axes, [label for label, _ in rows])
        axes.set_xlabel("mean and 95 % interval")

    text = "; ".join(f"{plain(label)} {one.mean:.3f}" for label, one in rows)
    return Picture(name, kind, title, f"{text}.", draw, _height(len(rows)))


def _pareto(name: str, of: str, measure: str, rows: Sequence[Any]) -> Picture:
    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for number, row in enumerate(rows[:_MOST_ROWS]):
            full: dict[str, Any] = {"color": _colour(number)} if row.is_optimal else {"markerfacecolor": "none"}
            axes.plot(
                [row.latency.p50], [row.means[measure]], _MARKERS[number % len(_MARKERS)], markersize=7,
                label=plain(row.name, 24), markeredgecolor=_colour(number), linestyle="none", **full,
            )  # fmt: skip
        front = _front([(row.latency.p50, row.means[measure]) for row in rows])
        axes.plot([x for x, _ in front], [y for _, y in front], color=_faint(), linewidth=1.2, zorder=0)
        _logarithmic(axes, "x", [row.latency.p50 for row in rows])
        axes.set_xlabel("p50 of one query, ms")
        axes.set_ylabel(measure)
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.22), ncols=2)

    best = ", ".join(plain(row.name) for row in rows if row.is_optimal)
    text = f"On the line: none is better in quality and time. Filled: none in quality, time and size together: {best}."
    return Picture(name, "comparisons", f"{of}: quality against time", text, draw, _HEIGHT + 0.2 * (len(rows) // 2))


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points (time, quality) that no other is as good as in both."""
    front: list[tuple[float, float]] = []
    for time, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or quality > front[-1][1]:
            front.append((time, quality))
    return front


def _changes(name: str, of: str, measure: str, changes: Mapping[str, float]) -> Picture:
    """Draw each query's change, in order."""
    ordered = np.sort(np.array(list(changes.values())))[::-1]
    wins, losses = int((ordered > 0).sum()), int((ordered < 0).sum())

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        places = np.arange(len(ordered))
        for number, part in ((0, ordered > 0), (1, ordered < 0)):
            axes.fill_between(places, np.where(part, ordered, 0), step="mid", color=_colour(number), linewidth=0)
        axes.axhline(0, color=_faint(), linewidth=0.8)
        axes.set_xlabel("queries, the largest gain first")
        axes.set_ylabel(f"{measure}: hybrid - BM25")

    text = f"{wins:,} queries gain, {losses:,} lose, {len(ordered) - wins - losses:,} stay, by {measure}."
    return Picture(name, "evaluations", f"{of}: hybrid against BM25, query by query", text, draw)


def _trials(name: str, of: str, measure: str, done: Sequence[tuple[int, float]]) -> Picture:
    numbers, values = zip(*sorted(done), strict=True)
    best = np.maximum.accumulate(values)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.plot(numbers, values, "o", color=_colour(0), markersize=4)
        axes.step(numbers, best, where="post", color=_colour(1), linewidth=1.2)
        axes.locator_params(axis="x", integer=True)
        axes.set_xlabel("trial")
        axes.set_ylabel(measure)

    text = f"{len(done):,} complete trials; the line is the best so far, {best[-1]:.4f} at the end."
    return Picture(name, "sweeps", f"{of}: trials", text, draw)


def _shares(name: str, title: str, shares: Mapping[str, float]) -> Picture:
    rows = sorted(shares.items(), key=lambda row: -row[1])[:_MOST_ROWS]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.barh(range(len(rows)), [share for _, share in rows], color=_colour(0), height=0.6)
        _named_rows(axes, [setting for setting, _ in rows])
        axes.set_xlabel("share")

    text = "; ".join(f"{plain(setting, 60)} {share:.0%}" for setting, share in rows)
    return Picture(name, "sweeps", title, f"{text}.", draw, _height(len(rows)))


def _latencies(name: str, kind: str, title: str, latencies: Mapping[str, Any]) -> Picture:
    rows = list(latencies.items())[:_MOST_ROWS]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for place, (_, one) in enumerate(rows):
            axes.plot([one.p50, one.p99], [place, place], color=_colour(0), linewidth=2, alpha=0.5)
            for value, marker in ((one.p50, "o"), (one.p95, "|"), (one.p99, "|")):
                axes.plot([value], [place], marker, color=_colour(0), markersize=5)
        _named_rows(axes, [label for label, _ in rows])
        _logarithmic(axes, "x", [time for _, one in rows for time in (one.p50, one.p99)])
        axes.set_xlabel("p50 (dot), p95 and p99, ms")

    text = "; ".join(f"{plain(label, 60)}: p50 {one.p50:.3g} ms, p99 {one.p99:.3g}" for label, one in rows)
    return Picture(name, kind, title, f"{text}.", draw, _height(len(rows)))


def _histogram(name: str, of: str, cosines: Mapping[str, Sequence[int]]) -> Picture:
    edges = np.linspace(-1, 1, BINS + 1)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for number, (what, counts) in enumerate(cosines.items()):
            shares = np.array(counts) / max(sum(counts), 1)
            style = ("-", "--", ":")[number % 3]
            axes.stairs(shares, edges, color=_colour(number), linewidth=1.4, linestyle=style, label=plain(what, 48))
        axes.set_xlabel("cosine")
        axes.set_ylabel("share of the pairs")
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.22))

    text = "Pairs of: " + "; ".join(f"{plain(what, 60)} ({sum(counts):,})" for what, counts in cosines.items())
    return Picture(name, "diagnoses", f"{of}: how alike vectors are", f"{text}.", draw, _HEIGHT + 0.25 * len(cosines))


def _growth(name: str, title: str, size: str, points: Sequence[tuple[float, float]]) -> Picture:
    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.plot([x for x, _ in points], [y for _, y in points], "o-", color=_colour(0), markersize=4)
        _logarithmic(axes, "x", [x for x, _ in points])
        _logarithmic(axes, "y", [y for _, y in points])
        if axes.get_yscale() == "linear":
            axes.set_ylim(min(0.0, *(y for _, y in points)), None)
        axes.set_xlabel(size)

    text = "; ".join(f"{x:,.0f}: {y:.4g}" for x, y in points)
    return Picture(name, "benchmarks", title, f"By {size}. {text}.", draw)


def _height(rows: int) -> float:
    return 0.9 + _ROW * max(rows, 2)


def _named_rows(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), [plain(label) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def _logarithmic(axes: Axes, which: Literal["x", "y"], values: Sequence[float]) -> None:
    """Make an axis logarithmic where that helps, with ticks at 1, 2, 5, 10, written as plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    if min(values) <= 0 or max(values) < _WIDE * min(values):
        return
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if max(values) < _WIDER * min(values) else (1,)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _faint() -> str:
    from matplotlib import rcParams

    colour: str = rcParams["grid.color"]
    return colour


def as_svg(picture: Picture) -> str:
    """Draw a picture as an ``svg`` element that takes the page's colours, and whose ids are its own.

    :raises MissingExtra: if matplotlib is not installed.
    """
    text = _drawn(picture, "svg", _INK, _FAINT).decode()
    text = text[text.index("<svg") :]
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{picture.name}-", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", text)
    return text.replace(_INK, "currentColor").replace(_FAINT, "var(--faint)")


def as_png(picture: Picture) -> bytes:
    """Draw a picture on white, as a PNG.

    :raises MissingExtra: if matplotlib is not installed.
    """
    return _drawn(picture, "png", *_PRINTED)


def _drawn(picture: Picture, form: str, ink: str, faint: str) -> bytes:
    with importing_extra("report"):
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    style: Any = {
        "axes.edgecolor": faint, "axes.grid": True, "axes.labelcolor": ink, "axes.spines.right": False,
        "axes.spines.top": False, "axes.unicode_minus": False, "font.family": "DejaVu Sans", "font.size": 9.5,
        "grid.color": faint, "grid.linewidth": 0.5, "legend.frameon": False, "legend.fontsize": 9,
        "svg.fonttype": "none",
        "svg.hashsalt": picture.name, "text.color": ink, "text.parse_math": False, "xtick.color": faint,
        "xtick.labelcolor": ink, "ytick.color": faint, "ytick.labelcolor": ink,
    }  # fmt: skip
    with rc_context(style):
        figure = Figure(figsize=(_WIDTH, picture.height), layout="constrained")
        picture.draw(figure)
        out = io.BytesIO()
        more: dict[str, Any] = {"metadata": {"Date": None}} if form == "svg" else {"dpi": 160, "facecolor": "white"}
        figure.savefig(out, format=form, transparent=form == "svg", **more)
    return out.getvalue()
