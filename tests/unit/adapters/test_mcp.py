"""An assistant's way into an index, asked by the official client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import AXIS_SETTINGS, PETS, AxisEncoder
from mcp.client import Client

import hybrid_search
from hybrid_search.adapters.mcp import mcp_server
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.retrieval.retriever import Retriever


@pytest.fixture(scope="module")
def retriever(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Retriever]:
    engine = EmbeddedEngine.create(tmp_path_factory.mktemp("mcp") / "index", AXIS_SETTINGS)
    with Retriever(AxisEncoder(), engine) as retriever:
        retriever.add(PETS)
        yield retriever


def call(retriever: Retriever, tool: str, **arguments: Any) -> Any:
    async def called() -> Any:
        async with Client(mcp_server(retriever)) as client:
            return await client.call_tool(tool, arguments)

    return asyncio.run(called())


def test_an_assistant_learns_three_tools_that_say_what_they_take(retriever: Retriever) -> None:
    async def listed() -> Any:
        async with Client(mcp_server(retriever)) as client:
            return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in asyncio.run(listed())}
    assert set(tools) == {"search", "get", "describe"}
    assert tools["search"].input_schema["required"] == ["query"]
    assert tools["search"].input_schema["properties"]["k"]["maximum"] == 50
    assert all(tool.description for tool in tools.values())


def test_it_searches_with_a_filter_and_gets_whole_documents(retriever: Retriever) -> None:
    found = call(retriever, "search", query="dog", k=2, filter='lang = "de"').structured_content["result"]
    assert [(hit["id"], hit["title"], hit["rank"], hit["cut"]) for hit in found] == [
        ("d3", "puppy", 1, False),
        ("d4", "", 2, False),
    ]
    got = call(retriever, "get", ids=["d2", "nosuch"]).structured_content["result"]
    assert got == [{"id": "d2", "title": "", "text": "the kitten sleeps", "metadata": {"lang": "en"}}]


def test_it_is_told_what_filters_may_name(retriever: Retriever) -> None:
    assert call(retriever, "describe").structured_content == {
        "documents": 5,
        "modes": ["hybrid", "bm25", "knn"],
        "fields": {"lang": "keyword"},
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"query": "dog", "filter": "year >"}, "expected a value"),
        ({"query": "dog", "filter": "year = 1"}, "lang"),
        ({"query": "dog", "k": 51}, "k is 51; it must be at most 50"),
        ({"query": ["dog"], "k": 0}, "query is ['dog']; it must be a text; k is 0; it must be at least 1"),
        ({"query": "dog", "mode": "bm52"}, "mode is 'bm52'; it must be 'hybrid', 'bm25' or 'knn'"),
        ({}, "query is missing"),
    ],
)
def test_what_it_asks_wrongly_it_is_told_in_words(retriever: Retriever, arguments: Any, words: str) -> None:
    answer = call(retriever, "search", **arguments)
    assert answer.is_error
    assert words in answer.content[0].text
    assert not any(word in answer.content[0].text for word in ("Traceback", "Error executing", "pydantic"))


def test_it_learns_the_version(retriever: Retriever) -> None:
    async def told() -> Any:
        async with Client(mcp_server(retriever)) as client:
            return client.server_info

    assert asyncio.run(told()).version == hybrid_search.__version__


def test_a_long_text_is_cut_in_a_list_of_hits_and_whole_by_its_id(tmp_path: Path) -> None:
    from hybrid_search.types import Document

    with Retriever(AxisEncoder(), EmbeddedEngine.create(tmp_path / "index", AXIS_SETTINGS)) as retriever:
        retriever.add([Document("long", "oak " * 2_000)])
        [hit] = call(retriever, "search", query="oak").structured_content["result"]
        [document] = call(retriever, "get", ids=["long"]).structured_content["result"]
    assert (len(hit["text"]), hit["cut"], len(document["text"])) == (4_000, True, 8_000)
