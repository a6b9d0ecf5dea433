"""Requests that schemathesis draws from the service's own description: valid ones, and ones that are wrong somewhere.

``make drawn`` draws 5,000 of them.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from service_app import served

CASES = int(os.environ.get("DRAWN", "100"))
MOST_TURNS = 20
NAMES = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
    "response_headers_conformance", "unsupported_method",
)  # fmt: skip


def test_no_drawn_request_has_a_5xx_or_an_answer_that_is_not_as_described(own_index: Path) -> None:
    load_all_checks()
    checks = CHECKS.get_by_names(NAMES)
    counted: Counter[int] = Counter()
    with served(own_index, writable=True, max_body=64 << 10) as client:
        schema = schemathesis.openapi.from_asgi("/openapi.json", client.app)
        operations = [found.ok() for found in schema.get_all_operations()]
        pairs = [(operation, mode) for operation in operations for mode in GenerationMode]
        for turn in range(MOST_TURNS):  # what takes nothing has one request only, so one turn is not enough
            if (missing := CASES - sum(counted.values())) <= 0:
                break
            for operation, mode in pairs:
                with suppress(Unsatisfiable):  # what takes nothing, or any text, can't be asked wrongly
                    _ask(operation, mode, turn, -(-missing // len(pairs)), checks, counted)
    sys.stdout.write(f"\n{sum(counted.values())} requests: {json.dumps(dict(sorted(counted.items())))}\n")
    assert sum(counted.values()) >= CASES
    assert max(counted) < 500


def _ask(operation, mode, turn, number, checks, counted) -> None:  # type: ignore[no-untyped-def]
    @seed(turn)
    @settings(
        max_examples=number, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case) -> None:  # type: ignore[no-untyped-def]
        answer = case.call()
        counted[answer.status_code] += 1
        case.validate_response(answer, checks=checks)

    ask()
