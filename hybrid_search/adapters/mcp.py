"""An index for assistants that speak the Model Context Protocol: search, get, describe.

``hybrid-search mcp LOCATION`` runs it over standard input and output.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from hybrid_search import __version__
from hybrid_search.errors import HybridSearchError, MissingExtra, UsageError, shown
from hybrid_search.retrieval.retriever import Retriever, modes_of
from hybrid_search.service.faults import fault_of
from hybrid_search.types import Document, Hit

try:
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp.types import CallToolResult, InputRequiredResult
except ImportError as error:
    raise MissingExtra(error.name or "mcp", "mcp") from None

__all__ = ["Description", "Found", "Passage", "mcp_server"]

T = TypeVar("T")

_MOST = 50
_LONGEST = 4_000
"""Characters of a text in a list of hits; ``get`` gives all of it."""


class Passage(BaseModel):
    """A document."""

    id: str
    title: str
    text: str
    metadata: dict[str, str | int | float | bool | list[str]]


class Found(Passage):
    """A document that was found; ``cut`` says that its text goes on, which ``get`` gives."""

    rank: int
    score: float
    cut: bool = False


class Description(BaseModel):
    """What there is to search, and what filters may name."""

    documents: int
    modes: list[str]
    fields: dict[str, str]


def mcp_server(retriever: Retriever, *, name: str = "hybrid-search") -> MCPServer[Any]:
    """Return a server with the tools ``search``, ``get`` and ``describe``, which all only read.

    :param retriever: of the index; the caller closes it.
    :raises MissingExtra: if the extra ``mcp`` is not installed.
    """
    server: MCPServer[Any] = _Server(
        name,
        version=__version__,
        instructions="Search a collection of documents. Call describe once to learn which fields filters may name.",
    )

    @server.tool()
    async def search(
        query: Annotated[str, Field(description="What to look for, in plain words.")],
        k: Annotated[int, Field(ge=1, le=_MOST, description="How many documents.")] = 5,
        mode: Annotated[
            Literal["hybrid", "bm25", "knn"] | None,
            Field(description="Words and meaning (hybrid, the default), words alone (bm25), or meaning alone (knn)."),
        ] = None,
        filter: Annotated[
            str | None, Field(description='Only documents whose metadata fit: year >= 2020 and lang in (en, "pt-BR").')
        ] = None,
    ) -> list[Found]:
        """Find the documents that best answer a query, best first."""

        def found() -> list[Hit]:
            return retriever.search(query, k, mode=mode or modes_of(retriever)[0], filter=filter)

        return [_found(hit) for hit in await _called(found)]

    @server.tool()
    async def get(
        ids: Annotated[list[str], Field(min_length=1, max_length=_MOST, description="Ids that search gave.")],
    ) -> list[Passage]:
        """Fetch whole documents by their ids; ids that are not there are left out."""
        documents = await _called(lambda: retriever.get(ids))
        return [_passage(document) for document in documents if document is not None]

    @server.tool()
    async def describe() -> Description:
        """Say how many documents there are, and which metadata fields of which types filters may name."""

        def described() -> Description:
            fields = {name: str(kind) for name, kind in retriever.engine.settings.fields.items()}
            return Description(documents=retriever.count(), modes=list(modes_of(retriever)), fields=fields)

        return await _called(described)

    return server


class _Server(MCPServer[Any]):
    """The SDK's server, whose errors are in words of our own."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Any = None
    ) -> CallToolResult | InputRequiredResult:
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            cause = error.__cause__
            if isinstance(cause, ValidationError):
                raise ToolError("; ".join(map(_in_words, cause.errors(include_url=False)))) from cause
            if isinstance(cause, ToolError):
                raise ToolError(str(cause)) from cause
            raise


def _in_words(error: Mapping[str, Any]) -> str:
    place = ".".join(map(str, error["loc"])) or "the arguments"
    given = "" if error["type"] == "missing" else f" is {shown(error['input'])}; it"
    return f"{place}{given} {fault_of(error)}"


async def _called(ask: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(ask)
    except UsageError as error:
        raise ToolError(str(error)) from error
    except HybridSearchError as error:  # not the assistant's fault, but it can say so
        raise ToolError(f"the index can't answer: {error}") from error


def _passage(document: Document) -> Passage:
    return Passage(id=document.id, title=document.title, text=document.text, metadata=_plain(document))


def _found(hit: Hit) -> Found:
    cut = len(hit.text) > _LONGEST
    return Found(
        id=hit.id, title=hit.title, text=hit.text[:_LONGEST], metadata=_plain(hit), rank=hit.rank, score=hit.score,
        cut=cut,
    )  # fmt: skip


def _plain(record: Document | Hit) -> dict[str, str | int | float | bool | list[str]]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in record.metadata.items()}
