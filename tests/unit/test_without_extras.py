"""Without the extra ``train`` everything but training works, and training says what to install."""

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import MissingExtra, importing_extra
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document

# As on a machine without the extra: none of its packages can be imported.
WITHOUT = """
import sys
from pathlib import Path

ABSENT = "torch", "gensim", "datasets", "ir_measures", "onnx", "rank_bm25", "scipy", "optuna"

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""
LIBRARY = """
import hybrid_search
from hybrid_search import TowerConfig, TrainRequest, train

request = TrainRequest(towers=TowerConfig(encoder="lstm"))
data = hybrid_search.open_dataset("jsonl", Path(sys.argv[1]), reject=print)
try:
    train(data, "model", request)
except hybrid_search.MissingExtra as error:
    print(error)
"""
COMMAND = "from hybrid_search.cli import main; main()"
TOLD = "torch is not installed; it comes with the extra 'train': pip install 'hybrid-search-towers[train]'"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "documents.jsonl"
    file.write_text(json.dumps({"id": "a", "text": "some words"}) + "\n")
    return file


def run(code: str, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def test_a_request_is_made_without_torch_and_training_says_what_to_install(data: Path) -> None:
    done = run(LIBRARY, data.parent, data)
    assert (done.stdout.strip(), done.stderr) == (TOLD, "")


@pytest.mark.parametrize(
    ("verb", "told"),
    [
        (("train", "jsonl", "--path", "documents.jsonl", "--out", "model"), TOLD),
        (("quickstart",), TOLD),
        (
            ("sweep", "jsonl", "--path", "documents.jsonl", "--out", "study"),
            "optuna is not installed; it comes with the extra 'sweep': pip install 'hybrid-search-towers[sweep]'",
        ),
    ],
)
def test_a_verb_that_needs_the_extra_ends_with_what_to_install(data: Path, verb: tuple[str, ...], told: str) -> None:
    done = run(COMMAND, data.parent, *verb)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (MissingExtra.exit_code, f"Error: {told}")


def test_negatives_are_mined_without_the_extra(data: Path) -> None:
    with closing(EmbeddedEngine.create(data.parent / "index", IndexSettings())) as engine:
        engine.add([Document("a", "some words")], None)
        engine.commit()
    (data.parent / "queries.jsonl").write_text('{"id": "q", "text": "words"}\n')
    (data.parent / "qrels").mkdir()
    (data.parent / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq\ta\t1\n")
    verb = ("mine", "jsonl", "--path", ".", "--from", "index", "--out", "negatives.jsonl", "--dead-letter", "/dev/null")
    done = run(COMMAND, data.parent, *verb)
    assert (done.returncode, (data.parent / "negatives.jsonl").exists()) == (0, True), done.stderr


def test_a_module_of_the_package_itself_that_is_missing_is_no_missing_extra() -> None:
    with pytest.raises(ModuleNotFoundError, match="nosuch"), importing_extra("train"):
        import hybrid_search.nosuch  # noqa: F401
