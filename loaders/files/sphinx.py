"""Teaches docutils the directives and roles that Sphinx adds, so that their text is read."""

from __future__ import annotations

from functools import cache
from typing import Any

__all__ = ["know_sphinx"]

_DIRECTIVES = """
    seealso versionadded versionchanged versionremoved deprecated function class method attribute data exception module
    currentmodule staticmethod classmethod decorator property describe object option cmdoption program envvar
    code-block highlight literalinclude only toctree tabularcolumns index glossary productionlist hlist centered acks
    sectionauthor codeauthor py:function py:class py:method py:attribute py:data py:exception py:module c:function
    c:type c:macro c:member c:var c:struct opcode pdbcommand impl-detail availability tab tabs tab-set tab-item grid
    grid-item-card card dropdown automodule autoclass autofunction autosummary automethod
"""
_WITHOUT_CONTENT = frozenset(("toctree", "index", "highlight", "currentmodule", "tabularcolumns", "sectionauthor"))
_ROLES = """
    ref doc term any abbr command dfn file guilabel kbd mailheader makevar manpage menuselection mimetype newsgroup
    program regexp samp envvar option token keyword pep rfc func meth class mod attr data exc const obj issue gh source
    download numref eq c:func c:type c:macro c:member c:data c:struct py:func py:meth py:class py:mod py:attr py:data
    py:exc py:const py:obj
"""


@cache
def know_sphinx() -> None:
    """Register a directive as its content and a role as its text, unless the process knows them (from Sphinx itself).

    Without this, each of them is an error in place of the text.
    """
    from docutils import nodes
    from docutils.parsers.rst import Directive, directives, roles

    class Content(Directive):
        has_content = True
        optional_arguments = 1
        final_argument_whitespace = True

        def run(self) -> list[nodes.Node]:
            if self.name in _WITHOUT_CONTENT:
                return []
            if self.name == "code-block":
                code = "\n".join(self.content)
                return [nodes.literal_block(code, code)]
            inside = nodes.container()
            self.state.nested_parse(self.content, self.content_offset, inside)
            said = [nodes.paragraph("", " ".join(self.arguments))] if self.arguments else []
            return [*said, *inside.children]

    def role(name: str, raw: str, text: str, lineno: int, inliner: Any, options: Any = None, content: Any = ()) -> Any:
        shown, _, target = text.partition(" <")
        return [nodes.inline(raw, shown if target.endswith(">") else text)], []

    known_directives, known_roles = vars(directives)["_directives"], vars(roles)["_roles"]
    for one in _DIRECTIVES.split():
        if one not in known_directives:
            directives.register_directive(one, Content)
    for one in _ROLES.split():
        if one not in known_roles:
            roles.register_local_role(one, role)
