"""Telemetry of the libraries that this one is made of: off, unless the user's environment asks for it.

Importing the package does this first, before any of these libraries can be imported by it; what is set stays in the
environment, so the processes that this one starts have it too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping

__all__ = ["OFF", "is_off", "switch_off"]

OFF: Mapping[str, str] = {
    # ONNX Runtime, from 1.29: a device id and a database of events in the user's cache folder, sent to a collector.
    "ORT_DISABLE_TELEMETRY": "1",
    # huggingface_hub, and with it transformers and datasets: what is used, with every request to the hub.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # wandb reports its own crashes to its makers, offline too; a run's numbers go where WANDB_MODE says.
    "WANDB_ERROR_REPORTING": "false",
}
"""Variable -> the value that turns a library's telemetry off."""


def switch_off(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set each variable that the user has not set; an empty one counts as not set, as the libraries take it."""
    for name, value in OFF.items():
        if not environment.get(name):
            environment[name] = value


def is_off(name: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether a variable of :data:`OFF` turns its telemetry off, rather than the user asking for it."""
    return environment.get(name) == OFF[name]
