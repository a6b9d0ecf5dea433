import pytest
import torch

from hybrid_search.errors import ResumeMismatch
from hybrid_search.training.loop.state import (
    Progressed,
    load_state,
    optimiser_tensors,
    restore_optimiser,
    save_state,
)


def test_what_is_saved_is_loaded_bit_for_bit(tmp_path):
    tensors = {"a": torch.tensor([1.0, 1e-30]), "b": torch.get_rng_state(), "step": torch.tensor(3)}
    save_state(tmp_path / "work", Progressed(run="r", step=7, curve=[(0, 0.1)], seconds=1.5), tensors)
    state = load_state(tmp_path / "work", "r")
    assert state.progressed == Progressed(run="r", step=7, curve=[(0, 0.1)], seconds=1.5)
    assert state.tensors.keys() == tensors.keys()
    assert all(torch.equal(state.tensors[name], tensors[name]) for name in tensors)


def test_a_folder_without_a_state_has_none(tmp_path):
    assert load_state(tmp_path, "r") is None


def test_tensors_that_share_memory_are_saved(tmp_path):
    shared = torch.ones(4)
    save_state(tmp_path, Progressed(run="r"), {"a": shared, "b": shared})
    assert load_state(tmp_path, "r").tensors["b"].tolist() == [1, 1, 1, 1]


def test_another_runs_state_is_refused(tmp_path):
    save_state(tmp_path, Progressed(run="one", step=7), {"a": torch.ones(1)})
    with pytest.raises(ResumeMismatch, match=r"unfinished run \(step 7\).*delete .* to start over"):
        load_state(tmp_path, "two")


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_a_damaged_state_is_refused_and_says_how_to_start_over(tmp_path, content):
    (tmp_path / "state.safetensors").write_bytes(content)
    with pytest.raises(ResumeMismatch, match=r"can't be read .*; delete it to start over"):
        load_state(tmp_path, "r")


def test_a_left_over_part_of_a_crashed_write_is_ignored(tmp_path):
    save_state(tmp_path, Progressed(run="r", step=1), {"a": torch.ones(1)})
    (tmp_path / "state.part").write_bytes(b"half")
    assert load_state(tmp_path, "r").progressed.step == 1
    (tmp_path / "state.safetensors").unlink()
    assert load_state(tmp_path, "r") is None


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SparseAdam])
def test_a_restored_optimiser_takes_the_step_that_the_first_would_have_taken(kind):
    def two_steps(restored):
        embedding = torch.nn.Embedding.from_pretrained(
            torch.ones(4, 2), freeze=False, sparse=kind is torch.optim.SparseAdam
        )
        optimiser = kind(embedding.parameters(), lr=0.1)
        for step in range(3):
            if restored and step == 2:
                tensors = {name: tensor.clone() for name, tensor in optimiser_tensors(optimiser, "o.").items()}
                optimiser = kind(embedding.parameters(), lr=0.1)
                restore_optimiser(optimiser, tensors, "o.")
            optimiser.zero_grad()
            embedding(torch.tensor([step, 1])).square().sum().backward()
            optimiser.step()
        return embedding.weight.detach()

    assert torch.equal(two_steps(restored=True), two_steps(restored=False))
