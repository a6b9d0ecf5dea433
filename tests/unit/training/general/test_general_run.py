"""The way from a folder of texts to a general model, with a small transformer of random weights as the teacher."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from tokenizers.implementations import BertWordPieceTokenizer

from hybrid_search.errors import DataError, ResumeMismatch
from hybrid_search.models import inspect_model
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.training.general.__main__ import main
from hybrid_search.training.general.lots import read_lot, write_lot
from hybrid_search.training.general.run import GeneralRun, measure_of
from hybrid_search.training.general.start import Start, joint_axes
from hybrid_search.training.start import Start as StartModel

transformers = pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
pytest.importorskip("sentence_transformers", reason="the same extra")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

WORDS = [f"{first}{second}" for first in ("sea", "sun", "hill", "road", "rain") for second in "abcdefghij"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    marks = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"]
    pieces = BertWordPieceTokenizer(vocab={piece: number for number, piece in enumerate([*marks, *WORDS])})
    named = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "cls", "sep", "mask", "unk")}
    transformers.PreTrainedTokenizerFast(tokenizer_object=pieces._tokenizer, **named).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=5 + len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    transformers.BertModel(config).save_pretrained(folder)
    parts = [("", "Transformer"), ("1_Pooling", "Pooling")]
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(parts)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 64}')
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        '{"word_embedding_dimension": 16, "pooling_mode_mean_tokens": true}'
    )
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, teacher: Path) -> Path:
    """A store in which everything is encoded, and a run has begun."""
    folder = tmp_path_factory.mktemp("texts")
    draw = np.random.default_rng(0)
    with gzip.open(folder / "passages-00.jsonl.gz", "wt") as file:
        for number in range(120):
            text = " ".join(draw.choice(WORDS, 30)) + "."
            source = "recipes" if number % 4 == 0 else "free"
            file.write(json.dumps({"id": f"{source}/{number}", "title": f"{WORDS[number % 50]}", "text": text}) + "\n")
    with gzip.open(folder / "queries.txt.gz", "wt") as file:
        file.writelines(" ".join(draw.choice(WORDS, 4)) + "\n" for _ in range(80))
    (folder / "SOURCES.tsv").write_text("id_prefix\tlicence\nfree\tCC BY 4.0\nrecipes\tpublic domain\n")
    store = tmp_path_factory.mktemp("store")
    main(["--store", str(store), "--teacher", str(teacher), "encode", str(folder)])
    (folder / "mine.txt").write_text("seaa sunb\nhillc roadd\n")
    main(["--store", str(store), "--teacher", str(teacher), "watch", "mine", *[str(folder / "mine.txt")] * 2])
    main(["--store", str(store), "--teacher", str(teacher), "train", "--seconds", "0.2"])
    return store


def journal(store: Path) -> list[dict[str, float]]:
    return [msgspec.json.decode(line) for line in (store / "journal.jsonl").read_bytes().splitlines()]


def test_texts_become_a_model_that_is_nearer_to_its_teacher_than_at_the_start(
    store: Path, teacher: Path, tmp_path: Path
) -> None:
    begun = journal(store)[-1]
    main(["--store", str(store), "--teacher", str(teacher), "train", "--seconds", "1"])
    assert journal(store)[-1]["step"] > begun["step"]  # it went on
    main(["--store", str(store), "--teacher", str(teacher), "branch", str(tmp_path / "model"), "--seconds", "0.2"])
    assert -1 <= journal(store)[-1]["mine documents"] <= 1
    assert journal(store)[-1]["held out documents"] > journal(store)[0]["held out documents"]
    encoder = OnnxEncoder.load(tmp_path / "model")
    assert (encoder.card.tower.encoder, encoder.dimension) == ("rec", 16)
    axes = StartModel.read(tmp_path / "model").axes_of(str(teacher))
    assert axes is not None
    assert axes.shape == (16, 16)
    lot = read_lot(store / "lots" / "held.safetensors")
    names = ["[PAD]", "[UNK]", "[SEP]", "[MASK]", "[CLS]", *WORDS]
    rows = lot.rows(passages=True)
    found = encoder.encode_documents([" ".join(names[piece] for piece in lot.text(row)) for row in rows])
    wanted = lot.vectors[rows].astype(np.float32) @ Start.read(store / "start.safetensors").axes
    assert float(np.einsum("nd,nd->n", found, wanted).mean()) > journal(store)[0]["held out documents"]
    assert set(inspect_model(tmp_path / "model")["cosine_to_shuffled"]) == {"queries", "documents"}


def test_an_interrupted_run_goes_on_to_the_weights_of_an_uninterrupted_one(store: Path, tmp_path: Path) -> None:
    start = Start.read(store / "start.safetensors")
    whole, first, second = (GeneralRun(store, start, seed=1) for _ in range(3))
    for _ in range(7):
        whole.advance()
    for _ in range(4):
        first.advance()
    first.save(tmp_path)
    assert second.restore(tmp_path)
    for _ in range(3):
        second.advance()
    weights, others = whole.towers.state_dict(), second.towers.state_dict()
    assert all(torch.equal(weight, others[name]) for name, weight in weights.items())
    assert whole.read == second.read


@pytest.fixture(scope="module")
def store_of_two(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Path:
    """The same texts with the vectors of two teachers, whose second ones all point one way."""
    folder = tmp_path_factory.mktemp("of-two")
    (folder / "lots").mkdir()
    rotated = np.linalg.qr(np.random.default_rng(1).normal(size=(16, 16)))[0]
    for file in (store / "lots").glob("*.safetensors"):
        lot = read_lot(file)
        first = lot.vectors.astype(np.float32)
        second = 0.1 * first @ rotated + np.eye(16)[0]
        of_two = replace(lot, vectors=np.hstack([first, second]).astype(np.float16))
        write_lot(folder / "lots" / file.name, of_two)
    return folder


def test_two_teachers_count_alike_although_the_vectors_of_one_differ_little(store: Path, store_of_two: Path) -> None:
    lots = [read_lot(file) for file in sorted((store_of_two / "lots").glob("*.safetensors"))]
    vectors = np.concatenate([lot.vectors for lot in lots]).astype(np.float32)
    start = Start.read(store / "start.safetensors")
    centre, axes = joint_axes(vectors, [16, 16], 32)
    joint = Start(start.table, start.counts, axes, centre)
    found = joint.targets(vectors) @ joint.targets(vectors).T
    # Both halves are the same up to a rotation once what all have in common is taken off, so each alone gives the same.
    half = Start(start.table, start.counts, axes[:16], centre[:16]).targets(vectors[:, :16])
    assert np.allclose(found, half @ half.T, atol=0.02)


def test_a_run_for_two_teachers_begins_with_what_one_has_taught(store: Path, store_of_two: Path) -> None:
    lots = {file.stem: read_lot(file) for file in sorted((store_of_two / "lots").glob("*.safetensors"))}
    first = Start.read(store / "start.safetensors")
    vectors = np.concatenate([lot.vectors for lot in lots.values()]).astype(np.float32)
    centre, axes = joint_axes(vectors, [16, 16], 16)
    start = Start(first.table, first.counts, axes, centre)
    anew, taken = (GeneralRun(store_of_two, start) for _ in range(2))
    taken.take_over(store / "run", lots["b-0000"])
    measure = measure_of({"held out": lots["held"]}, start, taken.towers.config)
    assert measure(taken.towers)["held out documents"] > measure(anew.towers)["held out documents"]
    assert taken.read  # the lots that were read come last
    taken.advance()
    with pytest.raises(ResumeMismatch, match="can't be read"):
        anew.take_over(store_of_two, lots["b-0000"])


def test_a_lot_that_was_changed_is_found_out(store: Path, tmp_path: Path) -> None:
    content = bytearray((store / "lots" / "held.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "held.safetensors").write_bytes(bytes(content))
    with pytest.raises(DataError, match="is damaged; delete it, and encode again"):
        read_lot(tmp_path / "held.safetensors")


def test_training_before_anything_is_encoded_says_what_to_do_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["--store", str(tmp_path), "train", "--seconds", "1"])
    assert "has no lot of passages; run encode first" in capsys.readouterr().err
