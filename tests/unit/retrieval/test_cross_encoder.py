"""A cross-encoder of sentence-transformers as a reranker: random and tiny, made on the spot; verbs that take one."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner

import hybrid_search
from hybrid_search.cli import cli
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import ModelNotFound, UsageError
from hybrid_search.evaluation.compare import Contender
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.second_stage import SecondStage
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document

pytest.importorskip("sentence_transformers", reason="the extra 'rerank' is not installed")

from made_models import make_cross_encoder

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.xdist_group("cross-encoder")]

TEXTS = {"a": "bees make honey", "b": "bees sting", "c": "clocks tick", "d": "clocks and bees", "e": "bees"}
QUERIES = {"q1": "bees", "q2": "clocks"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cross_encoder(tmp_path_factory.mktemp("cross-encoder"))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds no vectors."""
    folder = tmp_path_factory.mktemp("bees") / "index"
    with Retriever(None, EmbeddedEngine.create(folder, IndexSettings())) as retriever:
        retriever.add(Document(id, text) for id, text in TEXTS.items())
    return folder


def test_it_scores_like_itself_from_any_number_of_threads(index: Path, model: Path) -> None:
    rerank = hybrid_search.CrossEncoderReranker(model, device="cpu")
    with hybrid_search.open(index, rerank=rerank) as retriever:
        alone = {hit.id: rerank("bees", [hit])[0] for hit in retriever.search("bees", rerank=False)}
        assert len(set(alone.values())) == 4
        hits = retriever.search("bees")
        assert [hit.score for hit in hits] == pytest.approx(sorted(alone.values(), reverse=True), abs=1e-5)
        assert [alone[hit.id] for hit in hits] == pytest.approx([hit.score for hit in hits], abs=1e-5)
        start = threading.Barrier(4)

        def ask(_: int) -> tuple[str, ...]:
            start.wait()
            return tuple(hit.id for hit in retriever.search("bees"))

        with ThreadPoolExecutor(4) as threads:
            assert set(threads.map(ask, range(4))) == {tuple(hit.id for hit in hits)}


def test_what_is_no_cross_encoder_of_one_score_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"there is no cross-encoder; give the folder that has its config\.json"):
        hybrid_search.CrossEncoderReranker(tmp_path)
    with pytest.raises(ModelNotFound, match="gives 3 numbers for a pair of texts"):
        hybrid_search.CrossEncoderReranker(make_cross_encoder(tmp_path / "three", labels=3))
    with pytest.raises(ModelNotFound, match=r"is no cross-encoder \(BertModel\)"):  # its scores would be random
        hybrid_search.CrossEncoderReranker(make_cross_encoder(tmp_path / "bare", labels=0))
    damaged = make_cross_encoder(tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes((damaged / "model.safetensors").read_bytes()[:-1_000])
    with pytest.raises(ModelNotFound, match="can't be loaded"):
        hybrid_search.CrossEncoderReranker(damaged)
    (damaged / "model.safetensors").rename(damaged / "pytorch_model.bin")  # no pickle is read
    with pytest.raises(ModelNotFound, match="can't be loaded"):
        hybrid_search.CrossEncoderReranker(damaged)


def asked(*words: object) -> str:
    done = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_query_explains_where_a_hit_was_before(index: Path, model: Path) -> None:
    found = json.loads(asked("query", "bees", "--from", index, "--rerank", model, "--format", "json"))["hits"]
    assert [hit["rank"] for hit in found] == [1, 2, 3, 4]
    assert sorted(hit["first_rank"] for hit in found) == [1, 2, 3, 4]
    assert found[0]["score"] != found[0]["first_score"]
    table = asked("query", "bees", "--from", index, "--rerank", model, "--rerank-depth", 2, "--explain")
    assert "before" in table
    assert {"#1", "#2"} <= set(table.replace("│", " ").split())
    with pytest.raises(UsageError, match="a request is of the first stage alone"):
        asked("query", "bees", "--from", index, "--rerank", model, "--show-request")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("documents", TEXTS), ("queries", QUERIES)):
        lines = [json.dumps({"id": id, "text": text}) for id, text in texts.items()]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\te\t1\nq2\tc\t1\nq2\td\t1\n")
    return folder


def test_what_reranking_gains_and_costs_stands_beside_the_rest(index: Path, model: Path, data: Path) -> None:
    systems = (f"bm25={index}", f"reranked={index}?rerank={model}&rerank_depth=1", f"deep={index}?rerank={model}")
    of_data = ("jsonl", "--path", data, "--dead-letter", data.parent / "rejected")
    result = json.loads(asked("compare", *of_data, *systems, "--measures", "R@2,nDCG@1", "--format", "json"))
    bm25, reranked, deep = result["rows"]
    assert bm25["means"] == {"R@2": 1.0, "nDCG@1": 1.0}  # "bees" alone is the shortest, so the first
    assert reranked["means"] == {"R@2": 0.75, "nDCG@1": 1.0}  # one hit of a query, which was the first before
    assert deep["latency"]["p50"] > bm25["latency"]["p50"]
    report = json.loads(
        asked("evaluate", *of_data, "--from", index, "--rerank", model, "--rerank-depth", 1, "--format", "json")
    )
    assert list(report["systems"]) == ["random", "bm25", "reranked"]
    assert report["systems"]["reranked"]["R@10"] == 0.75
    assert set(report["latency_ms"]) == {"bm25", "reranked"}


def test_settings_of_a_second_stage_are_checked() -> None:
    assert Contender.parse("x=./index?diversity=0.3&rerank_depth=20").second() == SecondStage(20, None, 0.3)
    assert Contender.parse("x=./index").second() is None
    for settings, why in (
        ("diversity=much", "diversity is 'much'; it must be a number"),
        ("rerank_depth=5", "nothing is reranked"),
    ):
        with pytest.raises(UsageError, match=why):
            Contender.parse(f"x=./index?{settings}").second()


def test_a_hub_that_is_not_there_is_said_at_once_and_one_that_is_forbidden_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, index: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    started = time.monotonic()
    asked = CliRunner().invoke(cli, ["query", "bees", "--from", str(index), "--rerank", "no-one/no-model"])
    assert time.monotonic() - started < 20
    assert "no-one/no-model is no folder here: fetching it from the hub." in asked.output
    assert isinstance(asked.exception, ModelNotFound)
    told = str(asked.exception)
    assert told.startswith("cross-encoder no-one/no-model can't be fetched from the hub (")
    assert told.endswith("; give a folder that has a cross-encoder, such as ./cross-encoder")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFound, match=r"not in the hub's cache, and HF_HUB_OFFLINE is set; give a folder"):
        hybrid_search.CrossEncoderReranker("no-one/no-model")
    with pytest.raises(ModelNotFound, match="neither a folder nor a name on the hub"):
        hybrid_search.CrossEncoderReranker("a/b/c")
