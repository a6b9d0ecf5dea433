"""A small model for the trials, made once a process (``python -m campaign.seam.models FOLDER``): it needs torch."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

__all__ = ["WORDS", "small_model"]

WORDS = (
    "river", "stone", "light", "paper", "green", "table", "winter", "music", "bread", "horse", "cloud", "garden",
    "window", "silver", "forest", "harbour", "candle", "valley", "mirror", "thunder", "ocean", "feather", "ladder",
    "copper", "meadow", "lantern", "orchard", "bridge", "shadow", "planet", "basket", "ribbon",
)  # fmt: skip
"""Those that the model knows."""

_ROOT = Path(__file__).resolve().parents[3]


@lru_cache(maxsize=1)
def _models() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="campaign-model-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    environment = {**os.environ, "PYTHONPATH": f"{_ROOT / 'tests'}{os.pathsep}{_ROOT}"}
    subprocess.run([sys.executable, "-m", __name__, str(folder)], check=True, env=environment, cwd=_ROOT)
    return folder


def small_model() -> Path:
    """Return the folder of a checkpoint with random towers of 16 dimensions, gone when this process ends."""
    return _models() / "model"


def other_model() -> Path:
    """Return that of another one, whose vectors are others."""
    return _models() / "other"


def main() -> None:
    from made_models import make_model

    for number, name in enumerate(("model", "other")):
        make_model(Path(sys.argv[1]) / name, [" ".join(WORDS), *WORDS], seed=number + 1)


if __name__ == "__main__":
    main()
