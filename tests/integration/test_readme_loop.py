"""The README's main job, exactly as it is printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from conftest import ROOT, run


def test_the_main_job_of_the_readme_runs_as_it_is_printed(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    (section,) = re.findall(r"## The main job.*?\n## ", text, flags=re.DOTALL)
    blocks = re.findall(r"```\n(.*?)```", section, flags=re.DOTALL)[:2]
    lines = [re.split(r" {5,}", line)[0] for block in blocks for line in block.splitlines()]
    assert lines[0].startswith("hybrid-search example ./my-data")
    for line in lines:
        words = shlex.split(line)
        done = run(*words[1:], cwd=tmp_path)
        assert (words[0], done.code) == ("hybrid-search", 0), f"{line}\n{done.err}"
