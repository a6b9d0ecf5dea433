"""The import layers of docs/architecture.md, held by parsing every import, those inside functions too."""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hybrid_search

ROOT = Path(__file__).parents[1]
# The folders of packages; the last two lie at the top of the repository, and are linked to from the first.
PACKAGES = {"hybrid_search": "", "loaders": "hybrid_search.", "mappings": "hybrid_search."}

# The first prefix that fits decides.
LAYERS: tuple[tuple[str, int], ...] = (
    ("hybrid_search.types", 0),
    ("hybrid_search.errors", 0),
    ("hybrid_search.streams", 0),
    ("hybrid_search.telemetry", 0),
    ("hybrid_search.tracing", 0),
    ("hybrid_search.location", 0),
    ("hybrid_search.passages", 0),
    ("hybrid_search.settings", 1),
    ("hybrid_search.filters", 1),
    ("hybrid_search.protocols", 1),
    ("hybrid_search.search", 1),
    ("hybrid_search.second_stage", 1),
    ("hybrid_search.analysis", 1),
    ("hybrid_search.highlights", 1),
    ("hybrid_search.facets", 1),
    ("hybrid_search.fusion", 1),
    ("hybrid_search.storage", 1),
    ("hybrid_search.towers", 2),
    ("hybrid_search.engines", 2),
    ("hybrid_search.training.teacher.vectors", 5),
    ("hybrid_search.training.data", 3),
    ("hybrid_search.training.negatives", 3),
    ("hybrid_search.training.teacher", 3),
    ("hybrid_search.training.loop", 3),
    ("hybrid_search.training.recipes", 3),
    ("hybrid_search.training.request", 3),
    ("hybrid_search.training.tracking", 3),
    ("hybrid_search.indexing", 2),
    ("hybrid_search.retrieval", 3),
    ("hybrid_search.opening", 4),
    ("hybrid_search.evaluation.evaluate", 5),
    ("hybrid_search.evaluation.compare", 5),
    ("hybrid_search.evaluation.diagnose", 5),
    ("hybrid_search.evaluation.result_index", 5),
    ("hybrid_search.evaluation", 4),
    ("hybrid_search.in_cluster", 5),
    ("hybrid_search.doctor", 5),
    ("hybrid_search.dashboards", 5),
    ("hybrid_search.training", 5),
    ("hybrid_search.report", 5),
    ("hybrid_search.loading", 5),
    ("hybrid_search.indexes", 5),
    ("hybrid_search.models", 5),
    ("hybrid_search.api", 6),
    ("hybrid_search.service", 7),
    ("hybrid_search.adapters", 7),
    ("hybrid_search.cli", 7),
    ("hybrid_search.__main__", 7),
    ("hybrid_search.loaders", 1),
    ("hybrid_search.mappings", 1),
)

HOMES = {
    "torch": ("hybrid_search.adapters.sentence_transformers", "hybrid_search.towers", "hybrid_search.training"),
    "click": ("hybrid_search.cli",),
    "opensearchpy": ("hybrid_search.engines.opensearch",),
    "faiss": ("hybrid_search.engines.embedded",),
    "sqlite3": ("hybrid_search.engines.embedded",),
    "tantivy": ("hybrid_search.engines.embedded", "hybrid_search.analysis"),
    "onnxruntime": ("hybrid_search.towers.onnx.runtime",),
    "gensim": ("hybrid_search.towers",),
    "datasets": ("hybrid_search.loaders",),
    "fastapi": ("hybrid_search.service",),
    "matplotlib": ("hybrid_search.report",),
    "mcp": ("hybrid_search.adapters.mcp",),
    "haystack": ("hybrid_search.adapters.haystack",),
    "langchain_core": ("hybrid_search.adapters.langchain",),
    "llama_index": ("hybrid_search.adapters.llama_index",),
    "opentelemetry": ("hybrid_search.tracing",),
    "optuna": ("hybrid_search.training.sweep",),
    "uvicorn": ("hybrid_search.service.server",),
}
MAX_LINES = 400


def module_files() -> dict[str, Path]:
    files = {}
    for package, above in PACKAGES.items():
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            files[above + ".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


FILES = module_files()


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports, at the top or inside a function; names for typing only are left out."""
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= named if node.module == "hybrid_search" and named <= FILES.keys() else {node.module, *named}
        pending.extend(ast.iter_child_nodes(node))
    return found


IMPORTS = {name: imports_of(path) for name, path in FILES.items()}


def layer(module: str) -> int | None:
    for prefix, number in LAYERS:
        if module == prefix or module.startswith(prefix + "."):
            return number
    return None


def own_imports(module: str) -> set[str]:
    return {name for name in IMPORTS[module] if name in FILES and name != module}


@pytest.mark.parametrize("module", sorted(FILES))
def test_every_module_has_a_layer(module: str) -> None:
    assert module == "hybrid_search" or layer(module) is not None


@pytest.mark.parametrize("module", sorted(m for m in FILES if m != "hybrid_search"))
def test_a_module_imports_only_from_its_own_layer_or_below(module: str) -> None:
    own = layer(module)
    upward = {name for name in own_imports(module) if name != "hybrid_search" and (layer(name) or 0) > (own or 0)}
    assert not upward


def test_no_module_imports_the_package_root_except_for_the_version() -> None:
    users = {module for module in FILES if "hybrid_search" in IMPORTS[module] and module != "hybrid_search"}
    assert users <= {"hybrid_search.adapters.mcp", "hybrid_search.cli"}


def test_there_are_no_import_cycles() -> None:
    graph = {module: own_imports(module) for module in FILES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"cycle: {' -> '.join((*path, module))}"
        if module not in done:
            for target in graph[module]:
                # A package and its own modules count as one: importing a module runs its package first.
                if not (target.startswith(module + ".") or module.startswith(target + ".")):
                    visit(target, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("library", sorted(HOMES))
def test_a_heavy_library_is_imported_only_at_home(library: str) -> None:
    users = {m for m, names in IMPORTS.items() if any(n == library or n.startswith(library + ".") for n in names)}
    assert all(any(user == home or user.startswith(home + ".") for home in HOMES[library]) for user in users), users


def test_nothing_is_imported_from_a_top_level_package_that_a_user_may_have_too() -> None:
    pattern = re.compile(r"^\s*(from|import) (loaders|mappings)\b", re.MULTILINE)
    tracked = subprocess.run(["git", "ls-files", "*.py", "*.md"], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not [name for name in tracked.stdout.split() if pattern.search((ROOT / name).read_text())]


def test_engines_do_not_import_one_another_and_the_training_loop_sees_no_engine() -> None:
    for module in FILES:
        if module.startswith("hybrid_search.training") and layer(module) == 3:
            assert not any(name.startswith("hybrid_search.engines") for name in IMPORTS[module]), module
        if module.startswith("hybrid_search.engines.embedded"):
            assert not any(name.startswith("hybrid_search.engines.opensearch") for name in IMPORTS[module]), module


@pytest.mark.parametrize(
    ("home", "names"),
    [
        ("hybrid_search.engines.embedded", ("store", "search")),
        ("hybrid_search.engines.opensearch", ("transport", "index", "search", "writing")),
    ],
)
def test_a_room_of_an_engine_sees_only_those_before_it(home: str, names: tuple[str, ...]) -> None:
    rooms = [f"{home}.{room}" for room in names]
    for number, room in enumerate(rooms):
        for module in (m for m in FILES if m.startswith(room + ".")):
            allowed = tuple(f"{name}." for name in rooms[: number + 1])
            inside = {name for name in own_imports(module) if name.startswith(home + ".") and name not in rooms}
            assert all(name.startswith(allowed) for name in inside), (module, inside)


def test_nobody_outside_of_the_opensearch_engine_imports_from_a_file_of_its_rooms() -> None:
    home = "hybrid_search.engines.opensearch"
    files = {name for name, path in FILES.items() if name.startswith(home + ".") and path.name != "__init__.py"}
    allowed = {f"{home}.engine", f"{home}.async_engine", f"{home}.search.bodies"}
    for module in (m for m in FILES if not m.startswith(home)):
        rooms = {name.rpartition(".")[0] for name in IMPORTS[module] if name.rpartition(".")[0] in files}
        assert not rooms - allowed, (module, rooms)


WAYS = re.findall(r"^- \*\*(A .*?)\*\*.*?: (`.*`)$", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("way", [pytest.param(re.findall(r"`([\w.]+)`", way), id=name) for name, way in WAYS])
def test_the_ways_through_the_rooms_are_those_of_the_imports(way: list[str]) -> None:
    rooms = [f"hybrid_search.{name}" for name in way]
    assert len(rooms) == len(set(rooms))
    for number, room in enumerate(rooms[1:], 1):
        assert any(room in behind(earlier) for earlier in rooms[:number]), f"{room} is imported by none before it"
    layers = [layer(room) or 0 for room in rooms]
    assert sum(below < above for below, above in itertools.pairwise(layers)) <= 6, "it climbs back up too often"


def test_the_ways_of_a_query_a_document_and_a_training_example_are_written_down() -> None:
    assert {name for name, _ in WAYS} == {"A query", "A document", "A training example"}


def behind(module: str) -> set[str]:
    """What a module imports, packages with what their own ``__init__`` imports."""
    direct = own_imports(module)
    packages = {name for name in direct if FILES[name].name == "__init__.py"}
    return direct.union(*(own_imports(name) for name in packages))


def test_only_the_command_line_imports_loaders_and_the_package_root_names_three_of_their_functions() -> None:
    lazily = {name for name, module in hybrid_search._HOMES.items() if module == "hybrid_search.loaders"}
    assert lazily == {"Allowance", "open_dataset", "rejecting"}
    home = "hybrid_search.loaders"
    users = {m for m in FILES if not m.startswith(home) and any(name.startswith(home) for name in IMPORTS[m])}
    assert all(user.startswith("hybrid_search.cli") for user in users), users


def test_loaders_import_nothing_of_the_library_but_its_records_and_errors() -> None:
    for module in (m for m in FILES if m.startswith("hybrid_search.loaders")):
        ours = {name for name in own_imports(module) if not name.startswith("hybrid_search.loaders")}
        assert ours <= {"hybrid_search.types", "hybrid_search.errors", "hybrid_search.passages"}, module


@pytest.mark.parametrize("module", sorted(FILES))
def test_no_file_is_longer_than_four_hundred_lines(module: str) -> None:
    assert len(FILES[module].read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize(
    "statement",
    [
        "import hybrid_search",
        "from hybrid_search.cli import cli; cli(['--help'], standalone_mode=False)",
        "import hybrid_search.cli.serve, hybrid_search.service.workers",
    ],
)
def test_importing_the_package_or_asking_for_help_or_starting_others_that_serve_loads_nothing_heavy(
    statement: str,
) -> None:
    code = f"import sys; {statement}; print(sorted(sys.modules), file=sys.stderr)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(ast.literal_eval(result.stderr.strip().splitlines()[-1]))
    heavy = {
        "torch",
        "gensim",
        "datasets",
        "opensearchpy",
        "fastapi",
        "faiss",
        "tantivy",
        "onnxruntime",
        "scipy",
        "pandas",
        "matplotlib",
    }
    assert not loaded & heavy


def test_the_training_stack_is_not_needed_to_search() -> None:
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    refused = {'torch', 'gensim', 'datasets', 'ir_measures', 'scipy', 'onnx', 'rank_bm25'}\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in self.refused:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "import hybrid_search.opening, hybrid_search.loading.load, hybrid_search.retrieval.retriever\n"
        "import hybrid_search.engines.embedded, hybrid_search.towers.onnx.encoder, hybrid_search.towers.untrained\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_onnx_runtime_is_imported_nowhere_in_the_repository_but_where_its_telemetry_is_switched_off() -> None:
    folders = (*PACKAGES, "tests", "benchmarks", "examples", "docs")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    users = {path for path in files if any(name.split(".")[0] == "onnxruntime" for name in imports_of(path))}
    assert users == {ROOT / "hybrid_search" / "towers" / "onnx" / "runtime.py"}
