"""Homes of nodes with ml-commons, which runs models: its plugin, and the native libraries that it would download.

Some 600 MB from Maven, unpacked once.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

from node.home import VERSION, add_plugin, assembled_home, built, open_to_all, secured_home, twin
from node.maven import Artifact, fetch

__all__ = ["LIBTORCH", "ML_SETTINGS", "ml_home", "secured_ml_home"]

LIBTORCH = "libtorch"
"""The folder of a home with the native libraries; ml-commons is told of it by the environment."""

ML_SETTINGS = {
    "plugins.ml_commons.only_run_on_ml_node": "false",
    "plugins.ml_commons.allow_registering_model_via_local_file": "true",
    # Of the whole machine's memory and of the heap: on a small one that does other things too, both are always reached.
    "plugins.ml_commons.native_memory_threshold": "100",
    "plugins.ml_commons.jvm_heap_memory_threshold": "100",
}
"""What a node that does everything by itself needs to run models."""

_PLUGIN = Artifact("org.opensearch.plugin", "opensearch-ml-plugin", f"{VERSION}.0")
_ONNX_FOR_GPUS = "onnxruntime_gpu-*.jar"
_ONNX = Artifact("com.microsoft.onnxruntime", "onnxruntime", "1.16.3", "jar")
_NATIVE = (
    (Artifact("ai.djl.pytorch", "pytorch-native-cpu", "2.5.1", "jar", "linux-x86_64"), "pytorch/cpu/linux-x86_64/"),
    (Artifact("ai.djl.pytorch", "pytorch-jni", "2.5.1-0.32.0", "jar"), "jnilib/linux-x86_64/cpu/"),
)
"""Each with the folder of it that is wanted."""


def ml_home() -> Path:
    """Return the folder of a node with ml-commons too.

    :raises Unavailable: if an artifact can't be had.
    """
    return built(f"opensearch-{VERSION}-ml", lambda work: _with_ml(work, assembled_home()))


def secured_ml_home() -> Path:
    """Return the folder of a node with ml-commons and the security plugin.

    :raises Unavailable: as :func:`ml_home`.
    """

    def build(work: Path) -> Path:
        home, other = twin(work, secured_home()), ml_home()
        place = Path("plugins", _PLUGIN.name)
        shutil.copytree(other / place, home / place, copy_function=os.link)
        shutil.copytree(other / LIBTORCH, home / LIBTORCH, copy_function=os.link)
        return home

    return built(f"opensearch-{VERSION}-ml-secured", build)


def _with_ml(work: Path, base: Path) -> Path:
    home, zips = twin(work, base), work / "zips"
    folder = add_plugin(_PLUGIN, home, zips)
    for jar in folder.glob(_ONNX_FOR_GPUS):  # 300 MB that do nothing without a GPU
        jar.unlink()
    shutil.copy(fetch(_ONNX, zips), folder)
    (home / LIBTORCH).mkdir()
    for artifact, wanted in _NATIVE:
        _unpack_folder(fetch(artifact, zips), wanted, home / LIBTORCH)
    open_to_all(folder)
    open_to_all(home / LIBTORCH)
    return home


def _unpack_folder(jar: Path, inside: str, target: Path) -> None:
    with zipfile.ZipFile(jar) as opened:
        for name in opened.namelist():
            if name.startswith(inside) and not name.endswith("/"):
                with opened.open(name) as source, (target / Path(name).name).open("wb") as file:
                    shutil.copyfileobj(source, file)
