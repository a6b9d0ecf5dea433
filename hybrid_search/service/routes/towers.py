"""Routes below ``/towers``: the other end of a connector, for clusters that may not run models.

The protocol is that of :mod:`hybrid_search.in_cluster.connectors`. The path names the model, as an alias that the
service follows may move to an index of another one, whose vectors would be taken for those of the first.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Response

from hybrid_search.protocols import Encoder
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.service.core import Service
from hybrid_search.service.problems import Unknown
from hybrid_search.service.routes.answers import json_answer
from hybrid_search.service.routes.schema import TextsToEncode, Towers
from hybrid_search.service.routes.searching import check_number, current_towers, encoded_by

__all__ = ["PATH", "tower_routes"]

PATH = "/towers"
_SHOWN = 12

Model = Annotated[str, Path(description="The model's fingerprint, or its first 12 letters or more.")]


def tower_routes(service: Service) -> APIRouter:
    """Return the routes of ``/towers``."""
    routes = APIRouter(tags=["towers"])

    @routes.get(PATH, summary="The model, and the address of its towers", responses={200: {"model": Towers}})
    async def current() -> Response:
        return json_answer(await service.read(lambda retriever: _described(current_towers(retriever))))

    @routes.get(f"{PATH}/{{model}}/", summary="The same, of this model alone", responses={200: {"model": Towers}})
    async def named(model: Model) -> Response:
        return json_answer(await service.read(lambda retriever: _described(_towers(retriever, model))))

    @routes.post(
        f"{PATH}/{{model}}/{{tower}}", summary="Encode texts for a connector",
        responses={200: {"model": list[list[float]]}},
    )  # fmt: skip
    async def encode(model: Model, tower: Literal["query", "document"], asked: TextsToEncode) -> Response:
        check_number(len(asked.texts), "texts", service.options)

        def encoded(retriever: Retriever) -> list[list[float]]:
            return encoded_by(_towers(retriever, model), tower, asked.texts)

        return json_answer(await service.read(encoded))

    return routes


def _towers(retriever: Retriever, model: str) -> Encoder:
    towers = current_towers(retriever)
    if not towers.fingerprint.startswith(model) or len(model) < min(_SHOWN, len(towers.fingerprint)):
        raise Unknown(
            f"the towers here are of model {towers.fingerprint} and not of {model!r}; deploy the index anew with the "
            f"address that GET {PATH} names, or have its own model served"
        )
    return towers


def _described(towers: Encoder) -> dict[str, Any]:
    path = f"{PATH}/{towers.fingerprint[:_SHOWN]}"
    return {"fingerprint": towers.fingerprint, "dimension": towers.dimension, "path": path}
