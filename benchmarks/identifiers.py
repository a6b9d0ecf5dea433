"""What do the parts of words with inner capitals bring BM25 and cost it? ``python -m benchmarks.identifiers``.

Writes ``results/identifiers.json``. Two parts: BM25 on judged sets of prose, with whole words and with parts; and a
search for a name by its parts ("parse http response") in an eighth of the general text, where the right document is
the only one with the name: the share of names found among the first 10.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from benchmarks.asked import MOST_QUERIES, Corpus, judged_sets, listed
from benchmarks.harness import DATA, write_result
from benchmarks.quality.sets import Judged
from hybrid_search import mappings
from hybrid_search.analysis import analyzer
from hybrid_search.analysis.identifiers import has_parts, parts_of
from hybrid_search.evaluation.measures import means, measure, qrels_of
from hybrid_search.evaluation.significance import compare
from hybrid_search.settings.index import Bm25
from hybrid_search.types import Document, Judgement, Query

WHOLE, PARTS = "whole words", "with parts"
ANALYZERS = {WHOLE: analyzer("english_folded"), PARTS: analyzer("english_parts")}
NAMES = 1_000
_LETTERS = 3


def main() -> None:
    """Measure both, and print."""
    figures: dict[str, Any] = {name: _measured(judged) for name, judged in judged_sets()}
    figures["names by their parts"] = _measured(names())
    write_result("identifiers", figures, command="python -m benchmarks.identifiers", show=False)
    for name, of_set in figures.items():
        print(f"{name}: {of_set}")


def names() -> Judged:
    """Return documents of general text, and the parts of names that one document alone has."""
    documents = list(_general_text())
    having: dict[str, list[str]] = {}
    for document in documents:
        text = document.searchable_text
        if has_parts(text):
            for word in set(re.findall(r"[^\W_]+", text)):
                parts = parts_of(word)
                if len(parts) > 1 and min(map(len, parts)) >= _LETTERS and word.isalpha():
                    having.setdefault(word, []).append(document.id)
    found = list(islice(((word, ids[0]) for word, ids in sorted(having.items()) if len(ids) == 1), NAMES))
    queries = [Query(word, " ".join(parts_of(word)).lower()) for word, _ in found]
    return Judged(documents, queries, [Judgement(word, id, 1) for word, id in found])


def _general_text() -> Iterator[Document]:
    with gzip.open(DATA / "general-text" / "passages-00.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            yield Document(row["id"], row["text"], row["title"])


def _measured(judged: Judged) -> dict[str, Any]:
    relevant = qrels_of(judged.judgements).grades.keys()
    queries = [query for query in judged.queries if query.id in relevant][: max(NAMES, MOST_QUERIES)]
    asked = {query.id for query in queries}
    qrels = qrels_of(j for j in judged.judgements if j.query_id in asked)
    left_out = listed(mappings.render("analysis/function_words")["english"], 0.0)
    values, corpora = {}, {kind: Corpus.of(judged, Bm25(), known) for kind, known in ANALYZERS.items()}
    for kind, corpus in corpora.items():
        run = {query.id: corpus.ranked(query.text, left_out) for query in queries}
        values[kind] = measure(run, qrels, names=("nDCG@10", "R@100", "Success@10"))
    against = compare({kind: of["nDCG@10"] for kind, of in values.items()}, baseline=WHOLE)[PARTS]
    return {
        **{kind: {name: round(value, 4) for name, value in means(of).items()} for kind, of in values.items()},
        "queries": len(queries),
        "difference": round(against.difference, 4),
        "interval": [round(end, 4) for end in against.difference_interval or ()],
        "p": round(against.p_value, 4),
    }


if __name__ == "__main__":
    main()
