"""A wheel of the project, installed where nothing else is: it has every file it needs, and mypy sees its types."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("hybrid_search", "loaders", "mappings")

# Each `type: ignore` is needed if the package has types, and an error by itself if it has none.
USER = """
import hybrid_search
from hybrid_search import AsyncRetriever, Document, Hit, Retriever
from loaders.registry import open_dataset


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
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "."]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    [built] = source.glob("*.whl")
    return built


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    ours = {
        str(path.relative_to(ROOT))
        for name in PACKAGES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == ours


def test_mypy_sees_the_types_of_an_installed_copy(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    [packages] = environment.glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(packages)
    (tmp_path / "user.py").write_text(USER)
    done = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--config-file=",
            "--python-executable", environment / "bin" / "python", "user.py",
        ],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "Success: no issues found in 1 source file\n")
