"""An index whose towers are deployed in the cluster too, and who asks it by plain requests."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hybrid_search.types import Hit

__all__ = ["Answer", "assert_same_ranking", "console_requests", "plain"]

# A request of Dev Tools: the method and the path, then JSON up to the next remark, request or end.
_REQUEST = re.compile(r"^(GET|POST|PUT|DELETE) (\S+)\n((?:(?!#|GET |POST |PUT |DELETE ).*\n?)*)", re.MULTILINE)


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    body: Mapping[str, Any]

    @property
    def ids(self) -> list[str]:
        """Of the hits."""
        assert self.status == 200, self.body
        return [hit["_id"] for hit in self.body["hits"]["hits"]]

    @property
    def scores(self) -> list[float]:
        """Of the hits."""
        return [hit["_score"] for hit in self.body["hits"]["hits"]]


def plain(url: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
    """Send a request as anybody without this package does."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}{path}", data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Answer(answer.status, json.load(answer))
    except urllib.error.HTTPError as error:
        return Answer(error.code, json.load(error))


def console_requests(text: str) -> list[tuple[str, str, Mapping[str, Any] | None]]:
    """Read requests as Dev Tools do: (method, path, body)."""
    found = [(method, path, body.strip()) for method, path, body in _REQUEST.findall(text)]
    return [(method, path, json.loads(body) if body else None) for method, path, body in found]


def assert_same_ranking(one: Sequence[Hit], other: Sequence[Hit]) -> None:
    """Compare two rankings: the same documents in the same places, save where scores are equal to single precision.

    Two ONNX runtimes' vectors differ in the seventh digit.
    """
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert abs(left.score - right.score) < 1e-5, (left, right)
    places = {hit.id: hit for hit in one}
    for hit in other:
        assert hit.id in places or abs(hit.score - other[-1].score) < 1e-5, hit.id
        if hit.id in places:
            assert abs(places[hit.id].score - hit.score) < 1e-5
