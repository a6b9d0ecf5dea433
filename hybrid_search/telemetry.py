"""Switches the telemetry of libraries off, unless the user's environment asks for it.

Importing the package does this first, before it imports any of these libraries. The variables stay in the environment,
so child processes inherit them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping

__all__ = ["OFF", "is_off", "switch_off"]

OFF: Mapping[str, str] = {
    # ONNX Runtime, from 1.29: a device id and an event database in the user's cache folder, sent to a collector.
    "ORT_DISABLE_TELEMETRY": "1",
    # huggingface_hub, and with it transformers and datasets: usage data in every request to the hub.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # wandb reports its own crashes, even offline; where a run's numbers go is set by WANDB_MODE.
    "WANDB_ERROR_REPORTING": "false",
    # Haystack: which components a pipeline has, with an id kept in the home folder.
    "HAYSTACK_TELEMETRY_ENABLED": "False",
}
"""Variable -> the value that turns a library's telemetry off."""


def switch_off(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set each variable that the user has not set; an empty one counts as not set, as for the libraries."""
    for name, value in OFF.items():
        if not environment.get(name):
            environment[name] = value


def is_off(name: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether a variable of :data:`OFF` switches telemetry off, rather than on by the user's choice."""
    return environment.get(name) == OFF[name]
