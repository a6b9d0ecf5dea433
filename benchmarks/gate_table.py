"""Would a table of each word's gate inputs make encoding faster? A prototype, which the product does not have.

A GRU multiplies each word's vector with its input weights, so the products could be looked up: 3 * hidden numbers a
word and direction in the place of the vector. ``python -m benchmarks.gate_table`` times the default query tower in ONNX
Runtime, one thread, on real queries one at a time and on 32 passages of 80 tokens at a time:

- *now*: as exported, the operator GRU on word vectors;
- *product for nothing*: the same operator on one number a word, more than it could gain from any table;
- *table*: the products looked up. The operator takes none, so a Scan takes the steps;
- *forwards alone*: as exported with ``--no-bidirectional-queries``, half of the products and of the steps.

Writes ``results/gate_table.json`` and the table in ``docs/studies/architecture.md``.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ModelProto

from benchmarks.gate_table_graph import looked_up, one_number
from benchmarks.harness import ROOT, milliseconds, passages, real_queries, write_result
from hybrid_search.towers.onnx_export import export_tower
from hybrid_search.towers.onnx_runtime import open_session
from hybrid_search.towers.padding import pad_ids
from hybrid_search.towers.tokenizer import train_tokenizer
from hybrid_search.towers.two_tower import TwoTower
from hybrid_search.training.recipes import DEFAULT, RECIPES

TOKENS, ROWS, BATCHES, REPEATS = 80, 32, 30, 7
RATE = f"passages/s ({TOKENS} tokens)"
PAGE = ROOT / "docs" / "studies" / "architecture.md"
_PLACE = re.compile(r"(<!-- gates -->\n).*?(<!-- end gates -->)", re.DOTALL)

Ids = NDArray[np.int64]
Run = Callable[[Ids], NDArray[np.float32]]


def main() -> None:
    """Build the graphs, check that the table's computes what the tower does, and time them."""
    texts = [document.text for document in passages()]
    settings = RECIPES[DEFAULT].settings()
    training, config = settings.training, settings.towers
    tokenizer = train_tokenizer(texts, vocabulary=training.vocabulary, min_frequency=training.min_frequency)
    words = tokenizer.vocabulary_size
    asked = tokenizer.encode(real_queries(3_000), config.max_query_tokens)
    queries = [pad_ids([ids]) for ids in asked]
    tokens = np.concatenate(tokenizer.encode(texts[:3_000], config.max_document_tokens)).astype(np.int64)
    batches = list(tokens[: BATCHES * ROWS * TOKENS].reshape(BATCHES, ROWS, TOKENS))
    exported = _exported(words)
    graphs = {
        "now": exported,
        "product for nothing": one_number(exported),
        "table": looked_up(exported),
        "forwards alone": _exported(words, bidirectional_queries=False),
    }
    runs = {name: _runner(graph) for name, graph in graphs.items()}
    mixed = pad_ids(asked[:500])
    figures: dict[str, Any] = {
        "words": words,
        "largest difference of the table": float(f"{np.abs(runs['now'](mixed) - runs['table'](mixed)).max():.1e}"),
        "MB of word vectors (float16)": round(words * config.embedding_dimension * 2 / 1e6, 1),
        "MB of one tower's table (float16)": round(words * 6 * config.hidden * 2 / 1e6, 1),
        **_timed(runs, queries, batches),
    }
    write_result("gate_table", figures, command="python -m benchmarks.gate_table")
    _write(figures)


def _exported(words: int, *, bidirectional_queries: bool = True) -> ModelProto:
    """Export the default recipe's query tower with random weights; speed does not depend on what they have learnt."""
    torch.manual_seed(0)
    config = RECIPES[DEFAULT].settings().towers.replace(bidirectional_queries=bidirectional_queries)
    towers = TwoTower(config, words)
    with torch.no_grad():
        towers.query_tower.head[-1].weight.normal_(std=0.1)  # starts at zero, and would hide the GRU from the check
    with tempfile.TemporaryDirectory() as folder:
        export_tower(towers.query_tower, Path(folder) / "query.onnx")
        return onnx.load(str(Path(folder) / "query.onnx"))


def _timed(runs: Mapping[str, Run], queries: Sequence[Ids], batches: Sequence[Ids]) -> dict[str, dict[str, Any]]:
    figures = {name: {"one query ms": milliseconds(run, list(queries))} for name, run in runs.items()}
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(REPEATS):  # in turn, and by the processor's time, as other work on the machine comes and goes
        for name, run in runs.items():
            started = time.thread_time()
            for batch in batches:
                run(batch)
            rates[name].append(len(batches) * ROWS / (time.thread_time() - started))
    return {name: {**timed, RATE: round(float(np.median(rates[name])))} for name, timed in figures.items()}


def _runner(graph: ModelProto) -> Run:
    session = open_session(graph.SerializeToString())

    def run(ids: Ids) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = session.run(
            None, {"input_ids": ids, "attention_mask": (ids != 0).astype(np.int64)}
        )[0]
        return vectors

    return run


def _write(figures: Mapping[str, Any]) -> None:
    """Put the figures into the study."""
    lines = ["| query tower, one thread | one query, p50 | passages of 80 tokens, processor's time |", "|---|---|---|"]
    for name in ("now", "product for nothing", "table", "forwards alone"):
        query = figures[name]["one query ms"]["p50"]
        lines.append(f"| {name} | {query * 1_000:.0f} µs | {figures[name][RATE]:,}/s |")
    vectors, table = figures["MB of word vectors (float16)"], figures["MB of one tower's table (float16)"]
    text = f"{figures['words']:,} words: the word vectors {vectors} MB, one tower's table {table} MB, as float16."
    content = "\n".join([*lines, "", text, ""])
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_PLACE.sub(lambda found: f"{found[1]}{content}{found[2]}", page), encoding="utf-8")


if __name__ == "__main__":
    main()
