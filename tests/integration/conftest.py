"""One small model and index, made by the command line as a user would, shared by all tests of this folder."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from asked_by_text import pages, prepared  # noqa: F401 - fixtures
from commands import Ran, run_command
from filelock import FileLock
from served import index, towers  # noqa: F401 - fixtures

from hybrid_search.towers.model_card import read_model_card, write_model_card

ROOT = Path(__file__).parents[2]
TOPICS = {
    "tides": ("the moon pulls the sea", "high water", "low water", "the harbour at ebb", "spring tides at full moon"),
    "bread": ("flour and yeast rise", "knead the dough", "bake a loaf", "crust and crumb", "sour starter overnight"),
    "bees": ("a hive of workers", "the queen lays eggs", "honey in the comb", "pollen from clover", "a swarm in May"),
    "clocks": (
        "a pendulum swings",
        "wind the spring",
        "gears drive the hands",
        "the escapement ticks",
        "chime at noon",
    ),
    "glaciers": (
        "ice flows downhill",
        "a moraine of rubble",
        "crevasses open",
        "snow packs into firn",
        "calving bergs",
    ),
    "violins": ("rosin on the bow", "strings tuned in fifths", "a spruce soundboard", "bridge and post", "vibrato"),
}
YEARS = {"tides": 2001, "bread": 2005, "bees": 2010, "clocks": 2015, "glaciers": 2018, "violins": 2020}


def run(*arguments: object, cwd: Path, stdin: str = "", timeout: float = 300) -> Ran:
    """Run the command line in a process of its own."""
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(cwd), "OMP_NUM_THREADS": "1"}
    return run_command(*arguments, cwd=cwd, environment=environment, stdin=stdin, timeout=timeout)


def write_data(folder: Path) -> Path:
    """Write 150 documents on six topics with a question each, in the jsonl loader's form; a third is for testing."""
    folder.mkdir()
    documents, queries, train, test = [], [], [], []
    for topic, phrases in TOPICS.items():
        for number in range(25):
            first, second = phrases[number % 5], phrases[(number * 2 + 1) % 5]
            identity = f"{topic}-{number:02}"
            text = f"About {topic}, note {number}: {first}, and then {second}. Observed on day {number * 7}."
            documents.append(
                {
                    "id": identity,
                    "title": topic,
                    "text": text,
                    "metadata": {"topic": topic, "year": YEARS[topic] + number},
                }
            )
            queries.append({"id": f"q-{identity}", "text": f"{second} day {number * 7}"})
            (test if number % 3 == 0 else train).append(f"q-{identity}\t{identity}\t1")
    (folder / "documents.jsonl").write_text("".join(json.dumps(d) + "\n" for d in documents))
    (folder / "queries.jsonl").write_text("".join(json.dumps(q) + "\n" for q in queries))
    header = "query-id\tcorpus-id\tscore\n"
    (folder / "qrels").mkdir()
    (folder / "qrels" / "train.tsv").write_text(header + "\n".join(train) + "\n")
    (folder / "qrels" / "test.tsv").write_text(header + "\n".join(test) + "\n")
    return folder


def as_options(settings: dict[str, object]) -> tuple[str, ...]:
    """Write settings as `train` takes them."""
    return tuple(word for name, value in settings.items() for word in ("--set", f"{name}={value}"))


TINY = as_options(
    {
        "towers.hidden": 16, "towers.dimension": 32, "towers.embedding_dimension": 32, "towers.head_hidden": 32,
        "training.vocabulary": 400, "training.epochs": 4, "training.batch_size": 16, "training.evaluate_every": 5,
        "training.checkpoint_every": 5, "training.threads": 1,
    }
)  # fmt: skip


@dataclass(frozen=True)
class Home:
    path: Path

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def index(self) -> Path:
        return self.path / "index"

    def run(self, *arguments: object, stdin: str = "") -> Ran:
        return run(*arguments, cwd=self.path, stdin=stdin)


def fuse_both_legs(model: Path) -> None:
    """Give both legs a weight: from so few labels the fit finds BM25 alone, and then no test would see a fusion."""
    card = read_model_card(model)
    fusion = card.defaults.fusion.replace(weights=(0.7, 0.3))
    write_model_card(model, card.replace(defaults=card.defaults.replace(fusion=fusion)))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Each worker of pytest-xdist has a copy of its own of what the first one trained and loaded."""
    own = tmp_path_factory.getbasetemp()
    common = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "home-of-all"
    with FileLock(f"{common}.lock"):
        if not (common / "made").exists():
            _make_home(common)
            (common / "made").touch()
    return Home(Path(shutil.copytree(common, own / "home")))


def _make_home(path: Path) -> None:
    path.mkdir()
    made = Home(path)
    write_data(made.data)
    trained = made.run("train", "jsonl", "--path", made.data, "--out", made.model, *TINY)
    assert trained.code == 0, trained.err
    fuse_both_legs(made.model)
    loaded = made.run("load", "jsonl", "--path", made.data, "--model", made.model, "--to", made.index)
    assert loaded.code == 0, loaded.err
