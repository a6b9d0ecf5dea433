"""The README's main job, exactly as it is printed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_main_job_of_the_readme_runs_as_it_is_printed(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    (section,) = re.findall(r"## The main job.*?\n## ", text, flags=re.DOTALL)
    blocks = re.findall(r"```\n(.*?)```", section, flags=re.DOTALL)[:2]
    lines = [re.split(r" {5,}", line)[0] for block in blocks for line in block.splitlines()]
    assert lines[0].startswith("hybrid-search example ./my-data")
    for line in lines:
        words = shlex.split(line)
        command = [sys.executable, "-m", "hybrid_search", *words[1:]]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (words[0], done.returncode) == ("hybrid-search", 0), f"{line}\n{done.stderr}"
