"""The state from which a run can be resumed: one file, replaced atomically, without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hybrid_search.errors import ResumeMismatch
from hybrid_search.storage import disk_errors, sync_file, sync_folder

__all__ = [
    "Progressed",
    "State",
    "has_state",
    "load_state",
    "optimiser_tensors",
    "restore_optimiser",
    "save_state",
    "whole_state",
]

_NAME = "state.safetensors"
_META = "run"


class Progressed(msgspec.Struct, kw_only=True):
    """The progress of a run.

    :ivar run: hash of settings and data; only the same run may resume from the state.
    :ivar step: number of steps done.
    :ivar seconds: of training so far, including before interruptions.
    """

    run: str
    step: int = 0
    narrow_steps: int = 0
    seconds: float = 0.0
    curve: list[tuple[int, float]] = []


class State(msgspec.Struct):
    """The result of :func:`load_state`."""

    progressed: Progressed
    tensors: dict[str, Tensor]


def save_state(folder: Path, progressed: Progressed, tensors: Mapping[str, Tensor]) -> None:
    """Write the state atomically.

    :raises StorageError: if the disk is full; the old state is unchanged.
    """
    path = folder / _NAME
    part = path.with_suffix(".part")
    # Clones, because safetensors refuses tensors that share memory.
    content = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    with disk_errors(f"writing {path}"):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            save_file(content, part, {_META: msgspec.json.encode(progressed).decode()})
        except SafetensorError as error:
            part.unlink(missing_ok=True)
            raise OSError(str(error)) from error
        sync_file(part)
        part.replace(path)
        sync_folder(folder)


def load_state(folder: Path, run: str) -> State | None:
    """Read the state of an unfinished run; None if there is none.

    :param run: hash of the settings and data of the run that is to be resumed.
    :raises ResumeMismatch: if the state belongs to another run, or can't be read; the message says how to start over.
    """
    path = folder / _NAME
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            progressed = msgspec.json.decode((file.metadata() or {}).get(_META, ""), type=Progressed)
            if progressed.run != run:
                raise ResumeMismatch(
                    f"{folder} holds an unfinished run (step {progressed.step}) with other settings or other data; "
                    f"repeat its command to finish it, or delete {path} to start over"
                )
            return State(progressed, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - no mapping
    except (SafetensorError, msgspec.MsgspecError) as error:
        raise ResumeMismatch(f"{path} can't be read ({error}); delete it to start over") from error


def whole_state(folder: Path) -> dict[str, Tensor]:
    """Read the tensors of any run's state.

    :raises ResumeMismatch: if there is none, or it can't be read.
    """
    path = folder / _NAME
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        raise ResumeMismatch(f"{path} can't be read ({error})") from error


def has_state(folder: Path) -> bool:
    """Return whether there is a state in the folder, or in a round's folder inside it."""
    return (folder / _NAME).exists() or any(folder.glob(f"*/{_NAME}"))


def optimiser_tensors(optimiser: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """Convert an optimiser's state to named tensors (SparseAdam's step count is a plain number)."""
    return {
        f"{prefix}{number}.{name}": torch.as_tensor(value)
        for number, values in optimiser.state_dict()["state"].items()
        for name, value in values.items()
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor], prefix: str) -> None:
    """Restore what :func:`optimiser_tensors` returned."""
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        if key.startswith(prefix):
            number, _, name = key.removeprefix(prefix).partition(".")
            counted = name == "step" and isinstance(optimiser, torch.optim.SparseAdam)
            state.setdefault(int(number), {})[name] = int(tensor) if counted else tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
