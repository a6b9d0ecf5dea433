"""Reads the docstrings of the running interpreter's standard library, in a fixed order.

Python sources are parsed, never imported. Modules written in C have no source, so a fixed list of modules without
side effects is imported and inspected (not ``sys``, whose functions programs may replace).
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Literal, NamedTuple

from hybrid_search.errors import DataError

__all__ = ["Docstring", "Kind", "standard_library", "topics"]

Kind = Literal["module", "class", "function", "topic"]

_SKIPPED = frozenset(
    {"__phello__", "antigravity", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "this", "turtle", "turtledemo"}
)
_SKIPPED_PARTS = frozenset({"test", "tests", "idle_test", "__main__", "__pycache__", "_bundled"})
_COMPILED = (
    "_collections", "_functools", "array", "binascii", "builtins", "cmath", "errno", "faulthandler", "gc", "itertools",
    "marshal", "math", "select", "time", "unicodedata", "zlib",
)  # fmt: skip
_DOCUMENTED = (ast.Module, ast.ClassDef)


class Docstring(NamedTuple):
    """One cleaned docstring with the name, module and kind of its object."""

    name: str
    module: str
    kind: Kind
    text: str


def standard_library() -> Iterator[Docstring]:
    """Stream the docstrings of modules, classes and functions, by module name and then in the order of the source.

    :raises DataError: if this interpreter comes without the sources of its standard library.
    """
    root = Path(sysconfig.get_path("stdlib"))
    if not (root / "ast.py").is_file():
        raise DataError(f"{root} has no sources of the standard library; python_docs needs a Python that ships them")
    for top in sorted(sys.stdlib_module_names - _SKIPPED):
        for path in _sources(root, top):
            yield from _parsed(path, _module_name(path, root))
        if top in _COMPILED and importlib.util.find_spec(top):
            yield from _inspected(importlib.import_module(top))


def topics() -> Iterator[Docstring]:
    """Stream the chapters of the language reference that ``help()`` shows, by name."""
    from pydoc_data.topics import topics as chapters

    for name, text in sorted(chapters.items()):
        yield Docstring(name, "", "topic", inspect.cleandoc(text))


def _sources(root: Path, top: str) -> list[Path]:
    single, package = root / f"{top}.py", root / top
    if single.is_file():
        return [single]
    files = (path.relative_to(package) for path in package.rglob("*.py"))
    return [package / path for path in sorted(files) if _SKIPPED_PARTS.isdisjoint((*path.parts[:-1], path.stem))]


def _module_name(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _parsed(path: Path, module: str) -> Iterator[Docstring]:
    try:
        # If warnings were errors, an invalid escape sequence would drop a file and change the corpus.
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # deliberately invalid files of the distribution, such as lib2to3's
        return
    yield from _of_node(tree, module, module, "module")


def _of_node(node: ast.AST, name: str, module: str, kind: Kind) -> Iterator[Docstring]:
    text = ast.get_docstring(node) if isinstance(node, _DOCUMENTED) else None
    if text:
        yield Docstring(name, module, kind, text)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _of_node(child, f"{name}.{child.name}", module, "class")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not _is_special(child.name):
            # Definitions inside a function can't be reached by name, so they are skipped.
            text = ast.get_docstring(child)
            if text:
                yield Docstring(f"{name}.{child.name}", module, "function", text)
        elif isinstance(child, ast.If | ast.Try):
            yield from _of_node(child, name, module, kind)


def _inspected(module: ModuleType) -> Iterator[Docstring]:
    name = module.__name__
    if module.__doc__:
        yield Docstring(name, name, "module", inspect.cleandoc(module.__doc__))
    for member, value in sorted(vars(module).items()):
        if isinstance(value, type) and value.__module__ in (name, "builtins"):
            yield from _of_class(value, f"{name}.{member}", name)
        elif inspect.isroutine(value) and not _is_special(member):
            yield from _of_object(value, f"{name}.{member}", name, "function")


def _of_class(value: type, name: str, module: str) -> Iterator[Docstring]:
    yield from _of_object(value, name, module, "class")
    for member, attribute in sorted(vars(value).items()):
        if inspect.isroutine(attribute) and not _is_special(member):
            yield from _of_object(attribute, f"{name}.{member}", module, "function")


def _of_object(value: object, name: str, module: str, kind: Kind) -> Iterator[Docstring]:
    text = getattr(value, "__doc__", None)
    if isinstance(text, str) and text.strip():
        yield Docstring(name, module, kind, inspect.cleandoc(text))


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
