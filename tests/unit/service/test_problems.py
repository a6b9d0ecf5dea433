"""Every error of the library has a status, and a title that is a sentence."""

import pytest
from starlette.testclient import TestClient

from hybrid_search import errors
from hybrid_search.errors import HybridSearchError
from hybrid_search.service.problems import problem_of

STATUS = {
    "UsageError": 400, "ConfigError": 400, "FilterError": 400, "DataError": 422, "DatasetNotFound": 422,
    "RecordsRejected": 422, "AccessDenied": 502, "StorageError": 507, "UnsupportedCapability": 501,
    **dict.fromkeys(("PartialAlias", "IndexNotFound", "IndexLocked", "Overloaded", "Unreachable"), 503),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name != "MissingExtra"])
def test_each_error_is_a_problem_with_its_class_and_message(name: str) -> None:
    kind: type[HybridSearchError] = getattr(errors, name)
    problem = problem_of(kind("what is wrong; what to do"), "r1")
    assert problem.status == STATUS.get(name, 500)
    assert (problem.type, problem.detail) == (f"urn:hybrid-search:{name}", "what is wrong; what to do")
    assert problem.title.endswith(".")
    assert ("retry-after" in problem.headers()) == (problem.status == 503)


def test_a_path_or_a_method_that_is_not_there_is_answered_with_what_to_do(client: TestClient) -> None:
    nowhere, other = client.get("/nowhere").json(), client.put("/documents/d1")
    assert nowhere["detail"] == "there is nothing at this path; /docs lists the paths that there are"
    assert (nowhere["type"], nowhere["status"]) == ("urn:hybrid-search:UnknownPath", 404)
    assert (other.status_code, other.headers["allow"]) == (405, "GET")
    assert other.json()["type"] == "urn:hybrid-search:WrongMethod"
    assert other.json()["detail"] == "this path does not take the request's method; the header Allow names one"
