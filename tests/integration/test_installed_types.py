"""A wheel of the project, installed where nothing else is: it has every file it needs, and mypy sees its types.

An editable install is a plain path, which mypy reads; it does not run the import hook that setuptools prefers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("hybrid_search", "loaders", "mappings")

# Each `type: ignore` is needed if the package has types, and an error by itself if it has none.
USER = """
import hybrid_search
from hybrid_search import AsyncRetriever, Document, Hit, Retriever
from hybrid_search.loaders.registry import open_dataset


def found(location: str) -> list[Hit]:
    with hybrid_search.open(location, writable=True) as retriever:
        retriever.add([Document("a", "text", metadata={"year": 2026})])
        retriever.search("a", mode="bm52")  # type: ignore[arg-type]
        wrong: int = retriever.count().bit_length().name  # type: ignore[attr-defined]
        return retriever.search("a", 3, filter="year > 2000")


async def awaited(retriever: Retriever) -> list[Hit]:
    hits: list[str] = await AsyncRetriever(retriever).search("a")  # type: ignore[assignment]
    return await AsyncRetriever(retriever).search("a")


name: int = open_dataset("jsonl", None, reject=print).name  # type: ignore[assignment]
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it from a copy, as building writes beside the sources."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "."]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    [built] = source.glob("*.whl")
    return built


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    ours = {
        str(Path(folder, name).relative_to(ROOT))
        for folder, _, names in os.walk(ROOT / "hybrid_search", followlinks=True)
        for name in names
        if "__pycache__" not in folder
    }
    assert {"hybrid_search/loaders/registry.py", "hybrid_search/mappings/index/passages.json"} <= ours
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == ours


def test_an_editable_install_as_make_install_does_it_is_a_path_that_type_checkers_follow(
    wheel: Path, tmp_path: Path
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    settings = project["tool"]["uv"]["config-settings-package"][project["project"]["name"]]
    script = f"import setuptools.build_meta as build; print(build.build_editable({str(tmp_path)!r}, {settings!r}))"
    subprocess.run([sys.executable, "-c", script], cwd=wheel.parent, check=True, capture_output=True)
    [built] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built) as packed:
        files = {name: packed.read(name) for name in packed.namelist() if ".dist-info/" not in name}
    [(name, path)] = files.items()
    assert name.endswith(".pth")
    assert Path(path.decode().strip()) == wheel.parent


APPLICATION = """
import hybrid_search, loaders, mappings

assert loaders.__file__.endswith("application/loaders/__init__.py"), loaders.__file__
assert mappings.routes == {}
data = hybrid_search.open_dataset("jsonl", "data.jsonl", reject=print)
hybrid_search.load(data, "index", options=hybrid_search.LoadOptions(lexical_only=True))
with hybrid_search.open("index") as retriever:
    print(hybrid_search.__file__, [hit.id for hit in retriever.search("cats", mode="bm25")])
"""


def test_an_application_with_packages_of_its_own_named_mappings_and_loaders_works(wheel: Path, tmp_path: Path) -> None:
    packages, application = installed(wheel, tmp_path), tmp_path / "application"
    # What the wheel depends on, without the .pth of a checkout that is installed there.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    for name, content in (("loaders", ""), ("mappings", "routes = {}")):
        (application / name).mkdir(parents=True)
        (application / name / "__init__.py").write_text(content)
    (application / "data.jsonl").write_text('{"id": "a", "text": "a cat"}\n{"id": "b", "text": "a dog"}\n')
    (application / "main.py").write_text(APPLICATION)
    command = [tmp_path / "environment" / "bin" / "python", "main.py"]
    done = subprocess.run(command, cwd=application, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == (f"{packages}/hybrid_search/__init__.py ['a']\n", 0), done.stderr


def installed(wheel: Path, place: Path) -> Path:
    """Install a wheel into a new environment; return the folder of its packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place / "environment"], check=True)
    [packages] = (place / "environment").glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(packages)
    return packages


def test_mypy_sees_the_types_of_an_installed_copy(wheel: Path, tmp_path: Path) -> None:
    installed(wheel, tmp_path)
    (tmp_path / "user.py").write_text(USER)
    done = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--config-file=",
            "--python-executable", tmp_path / "environment" / "bin" / "python", "user.py",
        ],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "Success: no issues found in 1 source file\n")
