import numpy as np
import pytest
from safetensors.numpy import save_file

from hybrid_search.errors import DataError
from hybrid_search.training.teacher.vector_store import VectorStore, write_vectors

TEXTS = ["sea", "sea ice", "Sea"]
VECTORS = np.array([[1, 0], [0, 1], [0.5, -0.5]], dtype=np.float32)


def test_what_was_added_is_there_for_the_next_run_and_nothing_else_is(tmp_path):
    VectorStore(tmp_path / "teacher").add(TEXTS, VECTORS)
    store = VectorStore(tmp_path / "teacher")
    vectors, known = store.get(["Sea", "salt", "sea"])
    assert vectors.tolist() == [[0.5, -0.5], [0, 0], [1, 0]]
    assert known.tolist() == [True, False, True]
    assert (len(store), store.dimension) == (3, 2)


def test_missing_texts_come_once_and_in_their_order(tmp_path):
    store = VectorStore(tmp_path)
    store.add(["a"], VECTORS[:1])
    assert store.missing(["c", "a", "b", "c"]) == ["c", "b"]


def test_vectors_of_several_additions_are_found_together(tmp_path):
    store = VectorStore(tmp_path)
    for text, vector in zip(TEXTS, VECTORS, strict=True):
        store.add([text], vector[None])
    assert store.get(TEXTS)[0].tolist() == VECTORS.tolist()


def test_a_single_file_is_a_store(tmp_path):
    write_vectors(tmp_path / "made.safetensors", TEXTS, VECTORS)
    assert VectorStore(tmp_path / "made.safetensors").missing(["sea", "tide"]) == ["tide"]


def test_an_empty_store_knows_nothing(tmp_path):
    vectors, known = VectorStore(tmp_path / "none").get(["sea"])
    assert vectors.shape == (1, 0)
    assert not known.any()


def test_vectors_of_two_lengths_are_refused(tmp_path):
    VectorStore(tmp_path).add(["a"], VECTORS[:1])
    with pytest.raises(DataError, match=r"of 3 numbers, the others have 2"):
        VectorStore(tmp_path).add(["b"], np.ones((1, 3), dtype=np.float32))


def test_a_file_of_another_kind_is_named(tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"not one")
    with pytest.raises(DataError, match=r"bad\.safetensors is not a file of vectors"):
        VectorStore(tmp_path)


def test_a_file_whose_keys_do_not_fit_its_vectors_is_refused(tmp_path):
    save_file(
        {"keys": np.zeros((2, 16), np.uint8), "vectors": np.zeros((3, 4), np.float16)}, tmp_path / "a.safetensors"
    )
    with pytest.raises(DataError, match=r"keys \(2, 16\) and vectors \(3, 4\)"):
        VectorStore(tmp_path)
