"""Which queries made of documents choose the legs' weight best? Forms of them compared on questions that people asked.

``python -m benchmarks.made_forms CACHE [test|short]``; writes ``results/made_forms.json``, or ``made_forms_test.json``
and so on, which ``docs/studies/fusion_weight.md`` reads. CACHE keeps the vectors of ``en``, the only towers here.
A form takes words out of a document and asks with them; the document without them is the one answer. Each form gives a
curve over the weights, by one or more of which a rule chooses; judged queries tell what the choice is worth. The sets
to choose a rule on are NFCorpus dev, SQuAD's titles to fit on, MS MARCO QA among passages of version 2, headings of
general text and the documentation of Python. ``test`` measures the four sets that the choice is judged by; ``short``
has the first sets' documents cut to one sentence, out of which no sentence can be taken.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import DATA, passages, write_result
from benchmarks.quality.measuring import Run, Vectors, ranked
from benchmarks.quality.sets import NAMES, Judged, test_set
from benchmarks.without_labels import small_sets
from hybrid_search.analysis import analyzer
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.evaluation.measures import qrels_of
from hybrid_search.evaluation.significance import paired_p_value
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.search import Search
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.towers.shipped import located
from hybrid_search.training.fit import made
from hybrid_search.training.fit.table import FusionTable
from hybrid_search.training.fit.weights import plateau_centre
from hybrid_search.training.teacher.vector_store import VectorStore
from hybrid_search.types import Document, Judgement, Query

MOST_QUERIES = 500
MOST_MADE = 600
STEPS = 20
DISTRACTORS = 8_000
ENGLISH = analyzer("english_folded")

Table = NDArray[np.float64]
Encode = Callable[[Sequence[str]], Vectors]
Form = Callable[[Document, random.Random], tuple[str, str] | None]
"""Takes a query out of a document: (what is left of it, the query); None where it is too short."""


def main() -> None:
    """Compare the forms on the sets to choose on, or on those to judge by."""
    which = sys.argv[2] if len(sys.argv) > 2 else ""
    sets = {"": to_choose_on, "test": tests, "short": short}[which]
    encoder = OnnxEncoder.load(located(Path("en")), threads=1)
    leg = Leg(encoder.encode_documents, encoder.encode_queries, Path(sys.argv[1]) / "en")
    figures: dict[str, Any] = {}
    for name, judged in sets():
        figures[name] = _figures(*_tables(judged, leg))
        print(name, figures[name]["rules"], flush=True)
    command = f"python -m benchmarks.made_forms CACHE {which}".strip()
    write_result("_".join(["made_forms", which]).strip("_"), figures, command=command, show=False)


class Leg:
    """Towers, which keep in a folder what they have encoded."""

    def __init__(self, documents: Encode, queries: Encode, kept_in: Path) -> None:
        self._ways = (documents, queries)
        self._stores = [VectorStore(kept_in / name) for name in ("documents", "queries")]

    def __call__(self, way: int, texts: Sequence[str]) -> Vectors:
        """Encode documents (0) or queries (1)."""
        store = self._stores[way]
        if missing := store.missing(texts):
            store.add(missing, self._ways[way](missing))
        found: Vectors = store.get(texts)[0]
        return found

    def run(self, judged: Judged) -> Run:
        """Rank by cosine."""
        texts = [document.searchable_text for document in judged.documents]
        return ranked(judged, self(1, [query.text for query in judged.queries]), self(0, texts))


def _sentence(document: Document, draw: random.Random) -> tuple[str, str] | None:
    """The product's: a sentence of 5 to 30 words."""
    sentences = [part for part in made._SENTENCE_END.split(document.searchable_text) if part.strip()]
    fit = [place for place, one in enumerate(sentences) if 5 <= len(one.split()) <= 30]
    if len(sentences) < 3 or not fit:
        return None
    place = draw.choice(fit)
    return " ".join(sentences[:place] + sentences[place + 1 :]), sentences[place]


def _of_sentence(change: Callable[[str, str, random.Random], str]) -> Form:
    def form(document: Document, draw: random.Random) -> tuple[str, str] | None:
        if (found := _sentence(document, draw)) is None:
            return None
        left, sentence = found
        query = change(left, sentence, draw)
        return (left, query) if len(query.split()) >= 2 else None

    return form


def _keywords(left: str, sentence: str, draw: random.Random) -> str:
    """Three to six of the sentence's words with a meaning, in order."""
    words = [word for word in sentence.split() if len(word) > 3]
    chosen = set(draw.sample(range(len(words)), min(len(words), draw.randint(3, 6))))
    return " ".join(word for place, word in enumerate(words) if place in chosen)


def _unlike(share: float) -> Callable[[str, str, random.Random], str]:
    """Words of the sentence that the rest has, too, are dropped by chance."""

    def change(left: str, sentence: str, draw: random.Random) -> str:
        held = set(_terms(left))
        words = sentence.split()
        return " ".join(w for w in words if not (held & set(_terms(w))) or draw.random() >= share)

    return change


def _terms(text: str) -> list[str]:
    words = ENGLISH.words(text)
    return [str(word) for word in words]


def _span(least: int, most: int) -> Form:
    """A run of words, anywhere."""

    def form(document: Document, draw: random.Random) -> tuple[str, str] | None:
        words = document.searchable_text.split()
        count = draw.randint(least, most)
        if len(words) < 2 * count + 4:
            return None
        place = draw.randrange(len(words) - count)
        return " ".join(words[:place] + words[place + count :]), " ".join(words[place : place + count])

    return form


def _first(document: Document, draw: random.Random) -> tuple[str, str] | None:
    """The first sentence of the text."""
    sentences = [part for part in made._SENTENCE_END.split(document.text) if part.strip()]
    if len(sentences) < 2 or not 3 <= len(sentences[0].split()) <= 30:
        return None
    return " ".join(sentences[1:]), sentences[0]


def _hidden(document: Document, draw: random.Random) -> tuple[str, str] | None:
    """A sentence's words, each of which is hidden in the rest wherever it stands, by chance."""
    if (found := _sentence(document, draw)) is None:
        return None
    left, sentence = found
    gone = {term for word in sentence.split() for term in _terms(word) if draw.random() < 0.5}
    return " ".join(word for word in left.split() if not gone & set(_terms(word))), sentence


FORMS: Mapping[str, Form] = {
    "sentence": _sentence,
    "keywords": _of_sentence(_keywords),
    "half of what is shared dropped": _of_sentence(_unlike(0.5)),
    "half of what is shared hidden": _hidden,
    "run of 3 to 8 words": _span(3, 8),
    "first sentence": _first,
}


def _tables(judged: Judged, leg: Leg) -> tuple[Table, dict[str, Table]]:
    """Return nDCG@10 by (weight, query) of the judged queries, and of those of each form."""
    kept: list[Document] = []
    deque(made.sampling(judged.documents, kept), maxlen=0)
    asked = {form: _asked(kept, take) for form, take in FORMS.items()}
    enough = {form: one for form, one in asked.items() if len(one.queries) >= made.FEWEST_MADE}
    return table_of(judged, leg), {form: table_of(one, leg) for form, one in enough.items()}


def _figures(judged: Table, forms: Mapping[str, Table]) -> dict[str, Any]:
    """Return what each form and each rule chooses, and what that is worth on the judged queries."""
    means = judged.mean(axis=1)
    best = int(means.argmax())
    return {
        "queries": judged.shape[1],
        "knn": round(float(means[0]), 4),
        "bm25": round(float(means[-1]), 4),
        "best": [best / STEPS, round(float(means[best]), 4)],
        "curve": means.round(4).tolist(),
        "forms": {
            form: {
                "queries": table.shape[1],
                "knn": round(float(table[0].mean()), 4),
                "bm25": round(float(table[-1].mean()), 4),
                "curve": table.mean(axis=1).round(4).tolist(),
                **_worth(judged, int(table.mean(axis=1).argmax()), forms),
            }
            for form, table in forms.items()
        },
        "rules": {name: _worth(judged, rule(forms), forms) for name, rule in RULES.items()},
    }


def _worth(judged: Table, place: int, forms: Mapping[str, Table]) -> dict[str, Any]:
    today = judged[_today(forms)]
    less = judged[place] - today
    return {
        "weight": place / STEPS,
        "nDCG@10": round(float(judged[place].mean()), 4),
        "less today's": [
            round(float(less.mean()), 4),
            round(paired_p_value(judged[place].tolist(), today.tolist()), 4),
        ],
    }


def _together(*names: str, choose: Callable[[Table], int]) -> Callable[[Mapping[str, Table]], int]:
    """Choose by the queries of several forms; of those that the corpus is too short for, by the others."""

    def rule(forms: Mapping[str, Table]) -> int:
        known = [forms[name] for name in names if name in forms]
        return choose(np.concatenate(known, axis=1)) if known else STEPS // 2

    return rule


def _today(forms: Mapping[str, Table]) -> int:
    """Choose by sentences; without them the weights stay what they are, .5."""
    return _best(forms["sentence"]) if "sentence" in forms else STEPS // 2


def _filled(forms: Mapping[str, Table], *, drawn: float) -> int:
    """Choose by sentences and, where they are fewer than 600, by runs of words beside them.

    :param drawn: how much of the way to .5 is taken, times the runs' share of these queries.
    """
    sentences = forms.get("sentence", np.zeros((STEPS + 1, 0)))
    runs = forms.get("run of 3 to 8 words", np.zeros((STEPS + 1, 0)))[:, : MOST_MADE - sentences.shape[1]]
    both = np.concatenate([sentences, runs], axis=1)
    if not both.shape[1]:
        return STEPS // 2
    place = _best(both)
    return int(place + drawn * runs.shape[1] / both.shape[1] * (STEPS / 2 - place) + 0.5)


def _best(table: Table) -> int:
    return int(table.mean(axis=1).argmax())


RULES: Mapping[str, Callable[[Mapping[str, Table]], int]] = {
    "today": _today,
    "keywords and runs": _together("keywords", "run of 3 to 8 words", choose=_best),
    "sentences and keywords, middle of the plateau": _together("sentence", "keywords", choose=plateau_centre),
    "half of what is shared dropped": _together("half of what is shared dropped", choose=_best),
    "three quarters of the way to .5": lambda forms: round(0.25 * _today(forms) + 0.75 * STEPS / 2),
    "sentences, runs where these are few": partial(_filled, drawn=0.0),
    "the same, drawn back": partial(_filled, drawn=0.5),
    "always .5": lambda forms: STEPS // 2,
    "always .55": lambda forms: STEPS // 2 + 1,
}


def _asked(documents: Sequence[Document], take: Form) -> Judged:
    draw = random.Random(0)
    left, order = list(documents), list(range(len(documents)))
    draw.shuffle(order)
    queries: list[Query] = []
    for number in order:
        if len(queries) == MOST_MADE:
            break
        if taken := take(documents[number], draw):
            id = documents[number].id
            left[number] = Document(id, taken[0])
            queries.append(Query(id, taken[1]))
    return Judged(left, queries, [Judgement(query.id, query.id, 1) for query in queries])


def table_of(judged: Judged, leg: Leg) -> Table:
    """Return nDCG@10 by (weight of BM25, query)."""
    table: Table = FusionTable(bm25_run(judged), leg.run(judged), qrels_of(judged.judgements)).values(Fusion())
    return table


def bm25_run(judged: Judged) -> Run:
    """Rank by the embedded engine's BM25."""
    with tempfile.TemporaryDirectory() as home, EmbeddedEngine.create(Path(home) / "index", IndexSettings()) as engine:
        engine.add(judged.documents, None)
        engine.commit()
        rankings = engine.rank(Search.of([query.text for query in judged.queries], Fusion().window, "bm25"))
    return dict(zip([query.id for query in judged.queries], rankings, strict=True))


def to_choose_on() -> Iterator[tuple[str, Judged]]:
    """Yield the sets to choose a rule on."""
    yield "nfcorpus", limited(test_set("nfcorpus").fit)
    yield "squad", limited(test_set("squad").fit)
    yield "msmarco-qa", msmarco_qa()
    yield "headings", _headings()
    python = open_dataset("python_docs", None, reject=lambda rejection: None)
    documents, queries = list(python.documents()), list(python.queries("test"))
    yield "python", limited(Judged(documents, queries, list(python.judgements("test"))))


def short() -> Iterator[tuple[str, Judged]]:
    """Yield the sets to choose on, each document cut to its title or, without one, its first sentence.

    SQuAD's titles are those of whole articles and say too little.
    """
    for name, judged in to_choose_on():
        if name == "squad":
            continue
        documents = [Document(one.id, _beginning(one)) for one in judged.documents]
        yield name, Judged(documents, judged.queries, judged.judgements)


def _beginning(document: Document) -> str:
    sentences = [part for part in made._SENTENCE_END.split(document.searchable_text) if part.strip()]
    return document.title or (sentences[0] if sentences else "")


def tests() -> Iterator[tuple[str, Judged]]:
    """Yield the sets to judge a rule by, of each at most 500 queries."""
    for name in NAMES:
        yield name, limited(test_set(name).test)
    yield "wikiqa", small_sets()["wikiqa"]


def limited(judged: Judged) -> Judged:
    """Keep at most 500 judged queries."""
    grades = qrels_of(judged.judgements).grades
    asked = [query for query in judged.queries if query.id in grades]
    if len(asked) > MOST_QUERIES:
        asked = random.Random(0).sample(asked, MOST_QUERIES)
    ids = {query.id for query in asked}
    return Judged(judged.documents, asked, [one for one in judged.judgements if one.query_id in ids])


def msmarco_qa(distractors: int = DISTRACTORS) -> Judged:
    """The questions whose answer somebody selected, among their passages and others."""
    documents: dict[str, Document] = {}
    queries, judgements = [], []
    for line in (DATA / "msmarco-qa" / "sample.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        id = f"q{row['query_id']}"
        found = row["passages"]
        for place, (text, chosen) in enumerate(zip(found["passage_text"], found["is_selected"], strict=True)):
            documents[f"{id}-{place}"] = Document(f"{id}-{place}", text)
            if chosen:
                judgements.append(Judgement(id, f"{id}-{place}", 1))
        queries.append(Query(id, row["query"]))
    others = random.Random(0).sample(passages()[-27_170:], distractors)
    return limited(Judged([*documents.values(), *others], queries, judgements))


def _headings() -> Judged:
    """General text without its headings, some of which ask for it; from the last file, of which ``en`` read least."""
    documents, queries, judgements = [], [], []
    with gzip.open(DATA / "general-text" / "passages-07.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in islice(file, 8_000)]
    rows = [row for row in rows if row["id"].split("/")[0] not in ("novels", "pepys", "gcide", "wordnet", "foldoc")]
    count: dict[str, int] = {}
    for row in rows:
        count[row["title"]] = count.get(row["title"], 0) + 1
    for row in rows[:5_000]:
        documents.append(Document(row["id"], row["text"]))
        if count[row["title"]] == 1 and 2 <= len(row["title"].split()) <= 12:
            queries.append(Query(f"h-{row['id']}", row["title"]))
            judgements.append(Judgement(f"h-{row['id']}", row["id"], 1))
    return limited(Judged(documents, queries, judgements))


if __name__ == "__main__":
    main()
