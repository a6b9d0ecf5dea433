"""Golden files: what is sent to a server, written down. ``UPDATE_GOLDEN=1 pytest tests/golden`` writes them anew."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BODIES = Path(__file__).parent / "bodies"

Compare = Callable[[str, Any], None]


@pytest.fixture
def matches_golden() -> Compare:
    def compare(name: str, body: Any) -> None:
        path = BODIES / f"{name}.json"
        body = json.loads(json.dumps(body))  # as the server sees it: tuples are lists
        if os.environ.get("UPDATE_GOLDEN"):
            path.write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        assert body == json.loads(path.read_text(encoding="utf-8"))

    return compare
