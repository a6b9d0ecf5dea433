"""``hybrid-search query``: search an index for one query, for many from stdin, or interactively."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click
import msgspec

from hybrid_search.cli.options import (
    format_option,
    from_option,
    fusion_of,
    fusion_options,
    model_option,
    rerank_depth_of,
    rerank_options,
    reranker_of,
)
from hybrid_search.cli.output import Marked, print_json, print_jsonl, print_table, say
from hybrid_search.cli.server_options import search_options, search_options_of
from hybrid_search.errors import UsageError
from hybrid_search.passages import HEADING
from hybrid_search.types import Highlights, Hit, Matches

if TYPE_CHECKING:
    from hybrid_search.retrieval.retriever import Retriever
    from hybrid_search.search import Mode
    from hybrid_search.settings.index import Fusion

__all__ = ["command", "print_hits"]

_HEADING = 100  # most characters of a query above its hits


@click.command("query")
@click.argument("text", required=False)
@from_option
@model_option
@click.option("-k", default=5, show_default=True, help="How many hits.")
@click.option("--offset", default=0, help="Skip so many hits (paging).")
@click.option(
    "--mode",
    type=click.Choice(["hybrid", "bm25", "knn"]),
    help="Which legs search.  [default: hybrid, or bm25 where the index has no vectors]",
)
@click.option(
    "--filter",
    "filter_",
    metavar="EXPR",
    help="Only documents whose metadata fit: field = value, != < <= > >=, field in (a, b), exists(field), joined by "
    'and, or, not and parentheses. For example: year >= 2020 and lang in (en, "pt-BR").',
)
@click.option(
    "--group",
    type=int,
    metavar="N",
    help="In an index of passages: a hit for each document, with at most so many of its passages; 0 for a hit for each "
    "passage.  [default: 3]",
)
@click.option(
    "--total",
    is_flag=True,
    help="Count the documents that match; in modes hybrid and knn the nearest ones of the window are among them, so "
    "it is nearly all of a small index.",
)
@click.option(
    "--facet",
    "facets",
    multiple=True,
    metavar="FIELD",
    help="Count the matching documents with each value of this metadata field; for several fields several times.",
)
@click.option("--min-score", type=float, help="Leave out hits that score less, on the mode's scale.")
@click.option("--min-bm25", type=float, help="In mode hybrid, what scores less by BM25 counts as not found by it.")
@click.option("--min-knn", type=float, help="In mode hybrid, what scores less by k-NN counts as not found by it.")
@rerank_options
@click.option(
    "--diversity",
    type=click.FloatRange(0, 1),
    help="Choose hits that differ from those before them (maximal marginal relevance): 0 for relevance alone, 1 for "
    "difference alone.",
)
@click.option("--explain", is_flag=True, help="Show what each leg contributed, and the rank before reranking.")
@click.option("--full-text", is_flag=True, help="Show whole texts in the table.")
@click.option(
    "--show-request",
    is_flag=True,
    help="Print the search as plain JSON, for curl and for Dev Tools, instead of answering it; a server's index only.",
)
@fusion_options
@search_options
@format_option
def command(text: str | None, location: str, model: Path | None, form: str, **given: Any) -> None:
    """Search an index.

    Without TEXT an interactive prompt reads queries; with - they are read from stdin, one a line. A query is plain
    words: there are no operators (AND, NOT, quotes, title:, * are words or nothing); conditions are for --filter.

    \b
    Examples:
      hybrid-search query "how do I reset the password" --from ./index --explain
      hybrid-search query - --from ./index --format jsonl < queries.txt
      hybrid-search query "flea" --from ./index --total --facet lang --facet year
      hybrid-search query "flea" --from ./index --rerank ./cross-encoder --rerank-depth 100 --explain
      hybrid-search query "flea" --from opensearch://localhost:9200/passages --show-request
      hybrid-search query "flea" --from opensearch://localhost:9200/passages --in-cluster
    """  # noqa: D301
    from hybrid_search.opening import open_retriever
    from hybrid_search.retrieval.retriever import modes_of

    retriever = open_retriever(location, model=model, search=search_options_of(given))
    try:
        fusion = fusion_of(retriever.fusion, given)
        mode: Mode = given.pop("mode") or modes_of(retriever)[0]
        explain, full_text = given.pop("explain"), given.pop("full_text")
        least = [
            f"--{name.replace('_', '-')} {given[name]:g}"
            for name in ("min_score", "min_bm25", "min_knn")
            if given[name] is not None
        ]
        again = _second_stage(given)
        for query in _queries(text):
            if given["show_request"]:
                _show_request(retriever, query, form, mode=mode, fusion=fusion, given=given)
                continue
            asked = {
                "k": given["k"], "mode": mode, "filter": given["filter_"], "offset": given["offset"], "fusion": fusion,
                **{name: given[name] for name in ("group", "min_score", "min_bm25", "min_knn")},
            }  # fmt: skip
            started = perf_counter()
            hits = retriever.search(query, **asked, **again, highlight=True)
            took_ms = (perf_counter() - started) * 1_000
            matches = None
            if given["total"] or given["facets"]:
                matches = retriever.matches(query, facets=given["facets"], **asked)
            _print(
                query, mode, took_ms, hits, form, matches,
                explain=explain, full_text=full_text, least=least, offset=given["offset"],
            )  # fmt: skip
    finally:
        retriever.close()


def _second_stage(given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of reranking; none if nothing is to be ranked again."""
    diversity, model = given["diversity"], given["rerank"]
    depth = rerank_depth_of(given["rerank_depth"], reranks=bool(model) or diversity is not None)
    if model is None and diversity is None:
        return {}
    if given["show_request"]:
        raise UsageError("a request is of the first stage alone; leave --rerank and --diversity out")
    return {"rerank": reranker_of(model), "rerank_depth": depth, "diversity": diversity}


def _show_request(
    retriever: Retriever, query: str, form: str, *, mode: Mode, fusion: Fusion, given: dict[str, Any]
) -> None:
    from hybrid_search.engines.opensearch import OpenSearchEngine
    from hybrid_search.search import Search

    if not isinstance(retriever.engine, OpenSearchEngine):
        raise UsageError("an index in a folder is not asked by requests; give one on a server, opensearch://host/index")
    if given["min_score"] is not None and mode == "hybrid":
        raise UsageError("no request leaves out by the fused score; leave --min-score out and cut the answer's hits")
    search = Search.of(
        [query], given["k"], mode, filter=given["filter_"], offset=given["offset"], fusion=fusion,
        **{name: given[name] for name in ("min_score", "min_bm25", "min_knn")},
    )  # fmt: skip
    shown = retriever.engine.shown(retriever.source.current.ready(search))
    if form == "table":
        click.echo(f"{shown.curl}\n\n{shown.console}")
    else:
        request = {"method": "POST", "url": shown.server + shown.path, "body": shown.body}
        (print_json if form == "json" else _print_line)(request)


def _queries(text: str | None) -> Iterator[str]:
    if text is not None and text != "-":
        yield _decodable(text)
    elif text == "-" or not sys.stdin.isatty():
        yield from (_decodable(line.rstrip("\r\n")) for line in sys.stdin if line.strip())
    else:
        say("Type a query and press Enter; an empty line or Ctrl-D ends.")
        while query := _ask():
            yield query


def _decodable(text: str) -> str:
    """Replace bytes that are invalid in UTF-8, so that the answer can quote the query."""
    return text.encode("utf-8", "replace").decode()


def _ask() -> str:
    try:
        answer: str = click.prompt("query", default="", show_default=False, err=True)
    except click.Abort:  # Ctrl-D
        return ""
    return answer.strip()


def _print(
    query: str,
    mode: str,
    took_ms: float,
    hits: list[Hit],
    form: str,
    matches: Matches | None,
    *,
    explain: bool,
    full_text: bool,
    least: Sequence[str],
    offset: int,
) -> None:
    if form == "table":
        print_hits(query, mode, took_ms, hits, explain=explain, full_text=full_text, least=least, offset=offset)
        if matches is not None:
            _print_matches(matches)
        return
    shown = msgspec.to_builtins([_plain(hit) for hit in hits])
    answer = {"query": query, "mode": mode, "took_ms": round(took_ms, 3), "hits": shown}
    if matches is not None:
        answer |= matches.shown()
    (print_json if form == "json" else _print_line)(answer)


def _plain(hit: Hit) -> Hit:
    return replace(hit, legs=dict(hit.legs), passages=tuple(map(_plain, hit.passages)))


def _print_matches(matches: Matches) -> None:
    say(f"{'' if matches.is_exact else 'at least '}{matches.total:,} documents match.")
    for field, counts in matches.facets.items():
        rows = [[str(value), f"{count:,}"] for value, count in counts.items()]
        print_table([field, "documents"], rows, right=("documents",))


def _print_line(answer: Any) -> None:
    print_jsonl([answer])


def print_hits(
    query: str,
    mode: str,
    took_ms: float,
    hits: list[Hit],
    *,
    explain: bool = False,
    full_text: bool = False,
    least: Sequence[str] = (),
    offset: int = 0,
) -> None:
    """Print the hits of a query as a table, with what each leg contributed if requested.

    :param least: the least scores that were asked for, as options, to name where nothing was found.
    :param offset: how many hits were skipped, to name where there are no more.
    """
    asked = " ".join(query[: 2 * _HEADING].split())
    asked = asked if len(asked) <= _HEADING else f"{asked[:_HEADING]}…"
    title = f"{asked}   ({mode}, {len(hits)} {'hit' if len(hits) == 1 else 'hits'}, {took_ms:.1f} ms)"
    columns, rows = ["#", "score", "id", "text"], []
    for hit in hits:
        shown = [_shown(hit.title, hit, full_text=full_text)]
        for passage in hit.passages[1:]:  # without the title, which the first has shown
            part = _shown(str(passage.metadata.get(HEADING, "")), passage, full_text=full_text)
            shown.append(Marked.joined(["›", part], " "))
        rows.append([str(hit.rank), f"{hit.score:.4f}", hit.id, Marked.joined(shown, "\n")])
    if explain:
        columns[3:3] = ["bm25", "knn"]
        for row, hit in zip(rows, hits, strict=True):
            row[3:3] = [_leg(hit, "bm25"), _leg(hit, "knn")]
        if any(hit.first_rank for hit in hits):
            columns[3:3] = ["before"]
            for row, hit in zip(rows, hits, strict=True):
                row[3:3] = [f"{hit.first_score:.4f}, #{hit.first_rank}"]
    print_table(columns, rows, title=title, right=("#", "score"))
    if not hits:
        say(f"Nothing was found: {_why_nothing(query, least, offset)}.")
    if explain:
        whose = "the score before" if any(hit.first_rank for hit in hits) else "the hit's score"
        say(f"Each leg: raw score, rank -> normalised x weight = share of {whose}.")


def _why_nothing(query: str, least: Sequence[str], offset: int) -> str:
    if not query.strip():
        return "an empty query asks for nothing"
    why = "no word of the query is known, or a filter leaves nothing"
    if least:
        why = f"nothing scores as much as {' and '.join(least)} asks, {why}"
    if offset:
        why = f"there are no more than {offset:,} hits (a hybrid search has at most 2 x --window), or {why}"
    return why


def _leg(hit: Hit, name: str) -> str:
    leg = hit.legs.get(name)
    if leg is None:
        return "not found"
    return f"{leg.score:.4f}, #{leg.rank} -> {leg.normalised:.4f} x {leg.weight:.2f} = {leg.share:.0%}"


def _shown(title: str, hit: Hit, *, full_text: bool) -> Marked:
    """Return a title and the part of a text that matches, or all of it."""
    found = hit.highlights or Highlights(snippet=" ".join(hit.text.split()))
    body = Marked.of(hit.text, found.text) if full_text else Marked.of(found.snippet, found.in_snippet).without_gaps()
    title = " ".join(title.split())
    return Marked.joined([title, body] if title and body else [title or body], ": ")
