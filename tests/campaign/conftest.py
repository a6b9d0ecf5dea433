"""Where nothing can be traced, as on macOS, what needs it is skipped; on Linux with CI set it fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator

import pytest

from campaign.seam.forge import Impossible


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    try:
        return (yield)
    except Impossible as error:
        if sys.platform == "linux" and os.environ.get("CI"):
            raise
        pytest.skip(str(error))
