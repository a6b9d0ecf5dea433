"""The public interface: what it is, that it loads lazily, and that README, docs and examples use nothing else."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import hybrid_search
from hybrid_search import errors

ROOT = Path(__file__).parents[2]
PUBLIC = """
    open load load_in_sync train sweep create backup restore create_app open_dataset pieces_of
    rejecting write_vectors __version__
    Retriever AsyncRetriever AddReport Mode Connection SearchOptions ServerOptions ServiceOptions
    Reranker CrossEncoderReranker
    Document Hit Highlights Leg Matches Ranking Rejection Query Judgement Example Dataset Allowance
    Fusion Bm25 Filter Term Terms Range Exists And Or Not
    LoadOptions LoadReport ServerLoad Synced DataSource TrainRequest TrainSummary SweepRequest SweepReport
    TowerConfig TrainConfig WordVectorConfig
    HybridSearchError UsageError ConfigError FilterError PartialAlias DataError DatasetNotFound RecordsRejected
    SearchIndexError IndexNotFound IndexExists IndexLocked AccessDenied Unreachable Overloaded UnfitIndex CorruptIndex
    ModelError ModelNotFound CorruptModel ModelMismatch TrainingError CollapsedTowers ResumeMismatch
    StorageError MissingExtra UnsupportedCapability RerankingFailed
"""

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL))
]
EXAMPLES = [pytest.param(path.read_text(), id=path.name) for path in sorted((ROOT / "examples").glob("*.py"))]

# An entry-point group, two packages, the name of a logger, a module in a list of trusted ones, one for timeit, and an
# attribute of a span: texts and no attributes of the package.
NO_ATTRIBUTES = {"loaders", "mappings", "engines", "adapters", "tracing", "mode"}


def test_the_public_interface_is_this_list() -> None:
    assert sorted(hybrid_search.__all__) == sorted(PUBLIC.split())


def test_every_error_is_public() -> None:
    assert set(errors.__all__) <= set(hybrid_search.__all__)


def test_the_public_names_are_sorted_and_all_resolve() -> None:
    assert hybrid_search.__all__ == sorted(hybrid_search.__all__, key=lambda name: (not name[0].isupper(), name))
    for name in hybrid_search.__all__:
        assert getattr(hybrid_search, name) is not None


def test_type_checkers_see_the_same_names_from_the_same_modules() -> None:
    tree = ast.parse((ROOT / "hybrid_search" / "__init__.py").read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    seen = {name.name: node.module for node in block.body for name in node.names}
    assert seen == hybrid_search._HOMES


def test_every_installed_package_is_marked_as_typed_or_its_names_would_be_any() -> None:
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert "py.typed" in shipped["hybrid_search"]
    assert (ROOT / "hybrid_search" / "py.typed").is_file()


def test_the_package_loads_none_of_its_parts_before_they_are_used() -> None:
    code = "import sys, hybrid_search; print(*sorted(m for m in sys.modules if m.startswith('hybrid_')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "hybrid_search hybrid_search.telemetry"


def test_an_unknown_name_is_an_attribute_error() -> None:
    code = "import hybrid_search; hybrid_search.nosuch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "module 'hybrid_search' has no attribute 'nosuch'" in done.stderr


@pytest.mark.parametrize("code", [*BLOCKS, *EXAMPLES])
def test_code_that_is_shown_uses_public_names_only(code: str) -> None:
    used: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            modules = {alias.name for alias in node.names if alias.name.split(".")[0] == "hybrid_search"}
            assert modules <= {"hybrid_search"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hybrid_search":
            assert node.module == "hybrid_search"
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "hybrid_search":
            used.add(node.attr)
    assert used <= set(hybrid_search.__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_public_names_only(page: Path) -> None:
    named = set(re.findall(r"(?<!python -m )\bhybrid_search\.(\w+)", page.read_text()))
    assert named <= {*hybrid_search.__all__, *NO_ATTRIBUTES}


def test_the_version_is_the_distribution_s() -> None:
    from importlib.metadata import version

    assert version("hybrid-search-towers") == hybrid_search.__version__
