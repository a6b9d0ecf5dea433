import json
from pathlib import Path

import pytest

from hybrid_search.errors import ResumeMismatch
from hybrid_search.settings.training import TowerConfig, TrainConfig
from hybrid_search.training.resume import WorkFolder


def claim(out: Path, *, seed: int = 0, restart: bool = False) -> bool:
    return WorkFolder(out).claim("train", TowerConfig(), TrainConfig(seed=seed), restart=restart)


def test_a_fresh_folder_is_a_new_run(tmp_path: Path) -> None:
    assert claim(tmp_path / "model") is False
    assert (tmp_path / "model.work" / "run.json").exists()


def test_the_same_arguments_take_an_unfinished_run_up(tmp_path: Path) -> None:
    claim(tmp_path / "model")
    assert claim(tmp_path / "model") is True


def test_other_arguments_are_refused_with_the_way_out(tmp_path: Path) -> None:
    claim(tmp_path / "model")
    with pytest.raises(ResumeMismatch, match="restart=True"):
        claim(tmp_path / "model", seed=1)


def test_a_run_that_an_older_version_began_with_a_setting_that_is_gone_is_refused_with_the_way_out(
    tmp_path: Path,
) -> None:
    claim(tmp_path / "model")
    mark = tmp_path / "model.work" / "run.json"
    identity = json.loads(mark.read_bytes())
    identity["training"]["matryoshka"] = [64, 128]
    mark.write_text(json.dumps(identity))
    with pytest.raises(ResumeMismatch, match=r"or of another version; .*restart=True"):
        claim(tmp_path / "model")
    assert claim(tmp_path / "model", restart=True) is False


def test_restart_throws_the_unfinished_run_away(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "model")
    claim(tmp_path / "model")
    work.mark_done("corpus")
    assert claim(tmp_path / "model", seed=1, restart=True) is False
    assert not work.is_done("corpus")


def test_a_stage_is_done_once_it_is_marked(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "model")
    claim(tmp_path / "model")
    assert not work.is_done("corpus")
    work.mark_done("corpus")
    assert work.is_done("corpus")
