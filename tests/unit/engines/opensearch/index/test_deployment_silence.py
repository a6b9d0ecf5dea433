"""Whether a deployed tower encodes, and who may ask."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from hybrid_search.engines.opensearch.index.deployment import Deployment
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.errors import AccessDenied, SearchIndexError, Unreachable
from hybrid_search.in_cluster import faults as inspecting
from hybrid_search.in_cluster.faults import silence
from hybrid_search.location import Address

INSIDE = Deployment(index="a", family="a", fingerprint="f" * 64, state="ready", query_model="q", document_model="d")
OUTSIDE = INSIDE.but(endpoint="http://t:8080")
NOT_ALLOWED = AccessDenied("no permissions for [cluster:admin/opensearch/ml/predict]", status=403)


def asked(monkeypatch: pytest.MonkeyPatch, deployment: Deployment, error: Exception | None) -> tuple[str, list[Any]]:
    calls: list[Any] = []

    def predict(client: Client, model: str, texts: list[str], *, remote: bool) -> None:
        calls.append((model, len(texts), remote))
        if error is not None:
            raise error

    monkeypatch.setattr(inspecting, "predict", predict)
    with closing(Client(Address("h", 9200, "a"))) as client:
        return silence(client, deployment), calls


def test_one_text_is_encoded_by_the_query_tower(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(monkeypatch, INSIDE, None) == ("", [("q", 1, False)])
    assert asked(monkeypatch, OUTSIDE, None) == ("", [("q", 1, True)])


@pytest.mark.parametrize(
    "error",
    [
        SearchIndexError("connection refused", status=400),
        Unreachable("no answer in time"),
        AccessDenied("the towers want another token", status=401),
    ],
)
def test_towers_outside_that_do_not_answer_are_told(monkeypatch: pytest.MonkeyPatch, error: SearchIndexError) -> None:
    assert asked(monkeypatch, OUTSIDE, error)[0] == str(error)


@pytest.mark.parametrize("deployment", [INSIDE, OUTSIDE])
def test_a_user_who_may_not_ask_is_told_apart(monkeypatch: pytest.MonkeyPatch, deployment: Deployment) -> None:
    with pytest.raises(AccessDenied, match="no permissions"):
        asked(monkeypatch, deployment, NOT_ALLOWED)
