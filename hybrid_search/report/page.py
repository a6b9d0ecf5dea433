"""A report as one HTML file that needs nothing else: no script, no font, no address."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hybrid_search.evaluation.report import with_interval
from hybrid_search.evaluation.wins_and_losses import QueryExample
from hybrid_search.report.inputs import Inputs
from hybrid_search.report.pictures import Picture, as_png, as_svg, pictures, plain
from hybrid_search.storage import atomic_write_bytes

__all__ = ["page", "write_pictures", "write_report"]

_LONGEST = 300
_TRIALS, _MOST_SETTINGS = 10, 12
"""Trials of a sweep in a table, and settings of each."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --faint: #c4c4c4; --soft: #5a5a5a; --paper: #ffffff; --band: #f4f4f2;
  --good: #1d7a46; --look: #9a5b00; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e6; --faint: #4a4a4a; --soft: #a8a8a8; --paper: #17181a;
  --band: #212326; --good: #5fc58c; --look: #e0a24a; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.25rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 2.25rem 0 .5rem;
  border-bottom: 1px solid var(--faint); padding-bottom: .25rem; } h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p, figcaption, .soft { color: var(--soft); margin: .25rem 0; } nav a { margin-right: 1rem; color: inherit; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr));
  gap: 1.25rem; margin: 1rem 0; }
figure { margin: 0; min-width: 0; break-inside: avoid; } figure strong { display: block; margin-bottom: .25rem; }
figcaption { font-size: .8rem; }
svg { width: 100%; height: auto; display: block; }
.wide { overflow-x: auto; margin: .5rem 0; } table { border-collapse: collapse; font-size: .875rem; }
th, td { text-align: left; padding: .3rem .75rem .3rem 0; vertical-align: top; border-bottom: 1px solid var(--faint);
  overflow-wrap: normal; } td.name { min-width: 7rem; } td.text { min-width: 14rem; overflow-wrap: anywhere; }
th.number, td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.good { color: var(--good); } .look { color: var(--look); } .bad { color: var(--bad); } code { font-size: .85em; }
pre { white-space: pre-wrap; }
@media print { :root { --ink: #000; --faint: #bbb; --soft: #444; --paper: #fff; --band: #fff; --good: #060;
  --look: #840; --bad: #a00; }
  body { max-width: none; padding: 0; font-size: 9.5pt; } nav { display: none; }
  table { font-size: 7.5pt; width: 100%; } th, td { padding-right: .35rem; } td.name, td.text { min-width: 0; }
  th.number, td.number { white-space: normal; }
  .wide { overflow: visible; } .pictures { grid-template-columns: 1fr 1fr; } h2, h3 { break-after: avoid; } }
"""

_NAMES = (
    ("comparisons", "Systems compared"),
    ("evaluations", "Evaluation, query by query"),
    ("tunings", "Choice of the fusion"),
    ("diagnoses", "Diagnosis"),
    ("sweeps", "Sweeps over settings"),
    ("trainings", "Training"),
    ("benchmarks", "Latency and growth"),
)


class _Markup(str):
    """HTML; any other text is escaped where it is put into it."""

    __slots__ = ()


def _tag(_name: str, *children: str | Iterable[str], **attributes: str) -> _Markup:
    inside = "".join(
        one if isinstance(one, _Markup) else html.escape(_fit(one))
        for child in children
        for one in ((child,) if isinstance(child, str) else child)
    )
    more = "".join(f' {name.rstrip("_")}="{html.escape(_fit(value))}"' for name, value in attributes.items())
    return _Markup(f"<{_name}{more}>{inside}</{_name}>")


def _fit(text: str) -> str:
    """Replace what HTML has no form for."""
    return "".join(one if one.isprintable() or one in "\n\t" else "\ufffd" for one in text)


def write_report(path: Path, inputs: Inputs, *, title: str, texts: bool = False, commands: Sequence[str] = ()) -> None:
    """Write the page; see :func:`page`.

    :raises StorageError: if it can't be written.
    """
    atomic_write_bytes(path, page(inputs, title=title, texts=texts, commands=commands).encode("utf-8", "replace"))


def write_pictures(folder: Path, inputs: Inputs) -> list[Path]:
    """Write the pictures as PNG; return their paths.

    :raises StorageError: if one can't be written.
    """
    files = []
    for picture in pictures(inputs):
        files.append(folder / f"{picture.name}.png")
        atomic_write_bytes(files[-1], as_png(picture))
    return files


def page(inputs: Inputs, *, title: str, texts: bool = False, commands: Sequence[str] = ()) -> str:
    """Return the report as HTML.

    :param texts: show texts of queries and documents in examples; else ids and figures alone.
    :param commands: that made its inputs, to be shown at its end.
    :raises MissingExtra: if matplotlib is not installed.
    """
    drawn = list(pictures(inputs))
    sections = [(kind, name) for kind, name in _NAMES if getattr(inputs, kind)]
    head = _Markup(
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Whatever got past escaping would still be no script, and could ask nobody for anything.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    )
    body = [
        _tag("h1", title),
        _tag("nav", [_tag("a", name, href=f"#{kind}") for kind, name in sections]),
        *(_section(kind, name, inputs, drawn, texts) for kind, name in sections),
        *_end(inputs, commands),
    ]
    return (
        f"{head}{_tag('title', title)}{_tag('style', _Markup(_STYLE))}</head>\n<body>\n<main>"
        + "\n".join(body)
        + "</main>\n</body>\n</html>\n"
    )


def _section(kind: str, name: str, inputs: Inputs, drawn: Sequence[Picture], texts: bool) -> _Markup:
    tables = {
        "comparisons": _compared, "evaluations": _evaluated, "tunings": _tuned, "diagnoses": _diagnosed,
        "sweeps": _swept, "benchmarks": _benchmarks,
    }  # fmt: skip
    own = [_figure(picture) for picture in drawn if picture.kind == kind]
    shown: list[str] = []
    for of, value in getattr(inputs, kind).items():
        if kind in tables:
            shown += [_tag("h3", plain(of, 80)), *tables[kind](value, texts)]
    pictured = [_tag("div", own, class_="pictures")] if own else []
    return _tag("section", _tag("h2", name), pictured, shown, id=kind)


def _figure(picture: Picture) -> _Markup:
    drawing = _Markup(as_svg(picture).replace("<svg", f'<svg role="img" aria-label="{html.escape(picture.title)}"', 1))
    return _tag("figure", _tag("strong", picture.title), drawing, _tag("figcaption", picture.text))


def _compared(value: Any, texts: bool) -> Iterator[_Markup]:
    first = value.measures[0] if value.measures else ""
    yield _tag("p", f"{value.queries:,} queries of split {plain(value.split)}; against {plain(value.baseline)}.")
    header = (
        "best", "system", f"{first} [95 %]", *value.measures[1:], "difference [95 %]", "p (Holm)", "wins/losses/ties",
        "p50 ms", "p99 ms", "queries/s", "MB", "RAM MB", "encoded/s", "training s",
    )  # fmt: skip
    rows = [_row(row, value) for row in value.rows]
    used = [place for place in range(len(header)) if place < 2 or any(row[place] for row in rows)]
    yield _table([header[place] for place in used], [[row[place] for place in used] for row in rows], numbers_from=2)
    yield _tag("p", f"* none is better in {first}, p50 and size together.")


def _row(row: Any, value: Any) -> list[str]:
    one, is_baseline = row.comparison, row.name == value.baseline
    against = ["", "", ""]
    if not is_baseline:
        against = [
            with_interval(one.difference, one.difference_interval, "+"), f"{max(one.p_holm, 0.0001):.4f}",
            f"{one.wins}/{one.losses}/{one.ties}",
        ]  # fmt: skip
    speed = ["", "", ""]
    if row.latency is not None:
        speed = [f"{row.latency.p50:.2f}", f"{row.latency.p99:.2f}", f"{row.latency.queries_per_second:,.0f}"]
    others = [f"{row.means[name]:.3f}" if name in row.means else "" for name in value.measures[1:]]
    sizes = ["" if size is None else f"{size / 1e6:,.1f}" for size in (row.bytes, row.memory)]
    rates = ["" if value is None else f"{value:,.0f}" for value in (row.encoded, row.training)]
    star = "*" if row.is_optimal else ""
    return [
        star,
        plain(row.name, 60),
        with_interval(one.mean, one.interval, ""),
        *others,
        *against,
        *speed,
        *sizes,
        *rates,
    ]


def _evaluated(value: Any, texts: bool) -> Iterator[_Markup]:
    counts = value.counts
    yield _tag(
        "p",
        f"{counts.get('queries', 0):,} queries of split {plain(value.split)}, "
        f"{counts.get('documents', 0):,} documents.",
    )
    names = list(dict.fromkeys(name for means in value.systems.values() for name in means))
    rows = [
        [plain(system), *(f"{means[name]:.3f}" if name in means else "" for name in names)]
        for system, means in value.systems.items()
    ]
    yield _table(("system", *names), rows, numbers_from=1)
    if (against := value.against_bm25) is not None:
        yield _tag(
            "p", f"The hybrid against BM25: {against.wins:,} wins, {against.ties:,} ties, {against.losses:,} losses."
        )
        sides = (("win", against.examples.wins), ("loss", against.examples.losses))
        examples = [_example(side, one, texts) for side, of_side in sides for one in of_side]
        if examples:
            header = ("change", "query", "BM25", "hybrid", "rank in BM25", "in k-NN", "in hybrid", "relevant document")
            yield _table(header, examples, numbers_from=2, text_at=(1, 7))


def _example(side: str, one: QueryExample, texts: bool) -> list[str]:
    ranks = [str(one.answer.ranks.get(mode) or "none") for mode in ("bm25", "knn", "hybrid")]
    query, answer = one.query_id, one.answer.id
    if texts:
        query, answer = f"[{query}] {one.query}", f"[{answer}] {one.answer.title} {one.answer.snippet}"
    return [side, plain(query, _LONGEST), f"{one.bm25:.3f}", f"{one.hybrid:.3f}", *ranks, plain(answer, _LONGEST)]


def _tuned(value: Any, texts: bool) -> Iterator[_Markup]:
    after = value.after
    yield _tag(
        "p",
        f"{value.settings:,} settings on {value.queries:,} queries of split {plain(value.split)}, checked on "
        f"{value.held_out:,}. The choice: {plain(value.answer)}; {after.method}, BM25 {after.weights[0]:.2f}, "
        f"window {after.window}.",
    )
    rows = [
        [plain(name), with_interval(one.mean, one.interval, ""),
         with_interval(one.difference, one.difference_interval, "+"),
         f"{max(one.p_holm, 0.0001):.4f}"]
        for name, one in value.checked.items()
    ]  # fmt: skip
    yield _table(
        ("setting", f"{plain(value.measure)} [95 %]", "difference to before [95 %]", "p (Holm)"), rows, numbers_from=1
    )


def _diagnosed(value: Any, texts: bool) -> Iterator[_Markup]:
    yield _tag("p", f"{value.documents:,} documents, {value.sampled:,} in the sample, {value.queries:,} queries.")
    rows: list[list[str]] = []
    for one in value.findings:
        examples = [plain(example, _LONGEST) for example in one.examples] if texts else []
        told = [_Markup(html.escape(plain(part, _LONGEST)) + "<br>") for part in (one.advice, *examples) if part]
        rows.append(
            [
                _tag("span", one.state, class_=one.state),
                plain(one.name, 60),
                plain(one.value, _LONGEST),
                _tag("span", told),
            ]
        )
    yield _table(("state", "what", "found", "what to do"), rows, numbers_from=4, text_at=(2, 3))


def _swept(value: Any, texts: bool) -> Iterator[_Markup]:
    names = sorted({name for trial in value.trials for name in trial.settings})[:_MOST_SETTINGS]
    best = sorted(value.trials, key=lambda trial: (trial.measure is None, -(trial.measure or 0.0), trial.number))
    yield _tag(
        "p", f"{len(value.trials):,} trials, {value.queries:,} queries; trial {value.best} is kept. The best {_TRIALS}:"
    )
    rows = [
        ["*" if one.number == value.best else "", str(one.number), "" if one.measure is None else f"{one.measure:.4f}",
         plain(one.state, 20), f"{one.seconds:,.0f}", *(plain(str(one.settings.get(name, "")), 30) for name in names)]
        for one in best[:_TRIALS]
    ]  # fmt: skip
    header = ("kept", "trial", plain(value.measure), "state", "seconds", *(plain(name, 60) for name in names))
    yield _table(header, rows, numbers_from=1)


def _benchmarks(value: Any, texts: bool) -> Iterator[_Markup]:
    machine = ", ".join(
        plain(str(value.machine[name]), 80) for name in ("cpu", "cores", "system") if name in value.machine
    )
    if value.command:
        yield _tag("p", _tag("code", plain(value.command, 200)), f", {plain(value.date)}, {machine}")


def _table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers_from: int, text_at: Sequence[int] = ()
) -> _Markup:
    """Return a table without the columns that are empty in every row."""
    kept = [place for place in range(len(header)) if any(row[place] for row in rows)]

    def kind(place: int) -> Mapping[str, str]:
        if place in text_at:
            return {"class_": "text"}
        return {"class_": "number" if place >= numbers_from else "name" if place == numbers_from - 1 else "mark"}

    top = _tag("tr", [_tag("th", header[place], scope="col", **kind(place)) for place in kept])
    body = [_tag("tr", [_tag("td", row[place], **kind(place)) for place in kept]) for row in rows]
    return _tag("div", _tag("table", _tag("thead", top), _tag("tbody", body)), class_="wide", tabindex="0")


def _end(inputs: Inputs, commands: Sequence[str]) -> Iterator[_Markup]:
    if inputs.missing:
        yield _tag("h2", "Not in this report")
        yield _tag("ul", [_tag("li", f"{what}: ", _tag("code", command)) for what, command in inputs.missing])
    if inputs.unused:
        yield _tag("h2", "Files that could not be used")
        yield _tag("ul", [_tag("li", f"{plain(name, 80)}: {plain(why, 200)}") for name, why in inputs.unused.items()])
    if commands:
        yield _tag("h2", "How it was made")
        yield _tag("pre", _tag("code", "\n".join(commands)), class_="wide")
