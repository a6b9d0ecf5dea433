"""Nothing leaves the machine that nobody asked for: telemetry of libraries is off, and a real process is watched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from watching import can_watch_the_network, watched

from hybrid_search.telemetry import OFF, is_off, switch_off

ROOT = Path(__file__).parents[2]
RUN_A_NETWORK = (
    "import sys, numpy, pathlib; from hybrid_search.towers.onnx.runtime import open_session; "
    "session = open_session(pathlib.Path(sys.argv[1])); "
    "print(session.run(None, {'x': numpy.ones(2, numpy.float32)})[0].tolist())"
)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubled", [x], [y])
    file = tmp_path / "doubled.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, file)
    return file


def test_what_the_user_did_not_set_is_switched_off_and_what_they_set_stays() -> None:
    environment = {"ORT_DISABLE_TELEMETRY": "0", "HF_HUB_DISABLE_TELEMETRY": "", "HOME": "/nowhere"}
    switch_off(environment)
    assert environment == {
        "ORT_DISABLE_TELEMETRY": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "WANDB_ERROR_REPORTING": "false",
        "HAYSTACK_TELEMETRY_ENABLED": "False",
        "HOME": "/nowhere",
    }
    assert not is_off("ORT_DISABLE_TELEMETRY", environment)
    assert is_off("HF_HUB_DISABLE_TELEMETRY", environment)


def test_importing_the_package_switches_it_off_for_this_process_and_those_it_starts() -> None:
    code = (
        "import os, subprocess, sys, hybrid_search\n"
        f"for name in {sorted(OFF)!r}: print(os.environ[name])\n"
        "sys.stdout.flush(); subprocess.run(['env'], check=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[: len(OFF)] == [OFF[name] for name in sorted(OFF)]
    assert {f"{name}={value}" for name, value in OFF.items()} <= set(done.stdout.splitlines())


def test_a_process_that_runs_a_network_writes_nothing_at_home_and_asks_nobody(network: Path, tmp_path: Path) -> None:
    seen = watched([sys.executable, "-c", RUN_A_NETWORK, str(network)], tmp_path / "home", cwd=ROOT)
    assert (seen.code, seen.out) == (0, "[2.0, 2.0]\n"), seen.err
    assert seen.files == ()
    assert seen.asked == ()


def test_the_watch_sees_a_file_at_home_and_a_word_to_another_machine(tmp_path: Path) -> None:
    # To connect with UDP sends nothing; the address is one for examples (RFC 5737).
    code = (
        "import pathlib, socket; pathlib.Path.home().joinpath('deviceid').write_text('x'); "
        "socket.getaddrinfo('localhost', 80); "
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 53))"
    )
    seen = watched([sys.executable, "-c", code], tmp_path / "home", cwd=ROOT)
    assert seen.code == 0, seen.err
    assert seen.files == ("deviceid",)
    if can_watch_the_network():
        assert any("/etc/hosts" in line for line in seen.asked)
        assert any("192.0.2.1" in line for line in seen.asked)
        assert not any("127.0.0.1" in line for line in seen.asked)
