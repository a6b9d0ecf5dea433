"""An index without vectors: made when it is asked for, searched by BM25, and given vectors by reindexing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import hybrid_search
from hybrid_search import Document, LoadOptions
from hybrid_search.cli.output import in_options
from hybrid_search.errors import IndexExists, IndexNotFound, ModelMismatch, UsageError
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.loading.reindex import reindex
from hybrid_search.loading.sources import Corpus
from hybrid_search.models import inspect_index
from hybrid_search.opening import model_of_new
from hybrid_search.settings.training import TowerConfig, TrainConfig, WordVectorConfig
from hybrid_search.towers import shipped
from hybrid_search.training.fit.tune import tune

LEXICAL = LoadOptions(lexical_only=True)
TEXTS = ("the bees make honey", "honey from the comb", "the tide is out")
DATA = Corpus("pages", lambda: iter([Document(f"d{n}", text) for n, text in enumerate(TEXTS)]))


@pytest.fixture
def index(tmp_path: Path) -> Path:
    hybrid_search.load(DATA, tmp_path / "index", options=LEXICAL)
    return tmp_path / "index"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    lines = [json.dumps({"id": text, "text": f"{text} " * 6}) for text in TEXTS]
    (folder / "documents.jsonl").write_text("\n".join(lines) + "\n")
    request = hybrid_search.TrainRequest(
        towers=TowerConfig(encoder="mean", dimension=8, embedding_dimension=8, hidden=8, head_hidden=8),
        config=TrainConfig(
            batch_size=2, max_steps=2, min_frequency=1, vocabulary=64, word_vectors=WordVectorConfig(algorithm="random")
        ),
        split="none",
    )
    hybrid_search.train(open_dataset("jsonl", folder / "documents.jsonl", reject=print), folder / "model", request)
    return folder / "model"


def test_where_no_model_comes_with_the_package_an_index_without_one_is_made_only_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "_FOLDER", tmp_path / "none")
    with pytest.raises(UsageError) as refused:
        hybrid_search.load(DATA, tmp_path / "index")
    assert in_options(str(refused.value)) == (
        f"{tmp_path / 'index'}: a new index needs a model, whose towers make the vectors: train one on your documents "
        "(hybrid-search train) and give it as --model PATH; or say --lexical-only for an index that BM25 alone searches"
    )
    assert not (tmp_path / "index").exists()


def test_bm25_alone_searches_it_and_everything_else_says_why_not(index: Path) -> None:
    with hybrid_search.open(index, writable=True) as retriever:
        assert [hit.id for hit in retriever.search("honey", mode="bm25")] == ["d0", "d1"]
        for mode in ("knn", "hybrid"):
            with pytest.raises(UsageError, match=r"holds no vectors; search with mode 'bm25', or make an"):
                retriever.search("honey", mode=mode)  # type: ignore[arg-type]
        retriever.add([Document("d9", "honey")])
        assert retriever.search("honey", mode="bm25")[0].id == "d9"
    described = inspect_index(str(index), verify=True)
    assert (described["documents"], described["dimension"], described["fingerprint"]) == (4, 0, "")
    assert described["towers"] == "none: an index of texts, which BM25 alone searches"


def test_loading_again_adds_to_it_and_recreating_leaves_it_without_vectors(index: Path) -> None:
    assert hybrid_search.load(DATA, index).unchanged == 3
    assert hybrid_search.load(DATA, index, options=LEXICAL).unchanged == 3
    assert hybrid_search.load(DATA, index, options=LoadOptions(recreate=True)).fingerprint == ""


def test_a_model_is_refused_and_reindexing_gives_it_vectors(index: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelMismatch, match=r"the index holds no vectors, the model given is .*recreate=True"):
        hybrid_search.load(DATA, index, model=model)
    with pytest.raises(UsageError, match=r"lexical_only=True makes an index without vectors, and .*model would make"):
        hybrid_search.load(DATA, tmp_path / "both", model=model, options=LEXICAL)
    (tmp_path / "qrels").mkdir()
    (tmp_path / "documents.jsonl").write_text('{"id": "d0", "text": "honey"}\n')
    (tmp_path / "queries.jsonl").write_text('{"id": "q", "text": "honey"}\n')
    (tmp_path / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq\td0\t1\n")
    with pytest.raises(UsageError, match="the index holds no vectors, so there is no second leg to weigh"):
        tune(index, open_dataset("jsonl", tmp_path, reject=print))
    assert reindex(index, tmp_path / "dense", model).added == 3
    with hybrid_search.open(tmp_path / "dense") as retriever:
        assert {hit.id for hit in retriever.search("honey", mode="knn")} >= {"d0", "d1"}


def test_an_index_with_vectors_is_made_lexical_only_by_recreating_it(model: Path, tmp_path: Path) -> None:
    hybrid_search.load(DATA, tmp_path / "index", model=model)
    with pytest.raises(IndexExists, match=r"the index holds vectors of model .*, asked for one without"):
        hybrid_search.load(DATA, tmp_path / "index", options=LEXICAL)
    options = LoadOptions(lexical_only=True, recreate=True)
    assert hybrid_search.load(DATA, tmp_path / "index", options=options).fingerprint == ""
    assert not (tmp_path / "index" / "model").exists()


def test_a_model_that_comes_with_the_package_is_found_by_its_name_and_is_the_default_if_it_is_en(
    monkeypatch: pytest.MonkeyPatch, model: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(shipped, "_FOLDER", tmp_path / "shipped")
    assert (shipped.shipped_models(), shipped.default_model()) == ((), None)
    (tmp_path / "shipped" / "half").mkdir(parents=True)
    (tmp_path / "shipped" / "en").symlink_to(model)
    assert shipped.shipped_models() == ("en",)
    assert shipped.located(Path("en")) == tmp_path / "shipped" / "en"
    assert shipped.located(Path("./model")) == Path("model")
    assert shipped.default_model() == model_of_new("index", None, lexical_only=False) == tmp_path / "shipped" / "en"
    assert model_of_new("index", None, lexical_only=True) is None
    report = hybrid_search.load(DATA, tmp_path / "index")
    assert report.fingerprint
    with hybrid_search.open(tmp_path / "index", model="en") as retriever:
        assert retriever.search("honey", mode="knn")


def test_there_is_nothing_to_open_where_no_index_was_made(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFound):
        hybrid_search.open(tmp_path / "nothing")
