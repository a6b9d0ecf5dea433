"""docker-compose.yml is read, not run: pinned images, loopback ports, health checks, no password in the file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from node.home import VERSION

FILE = Path(__file__).parents[2] / "docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_is_pinned_checked_and_on_loopback(name: str) -> None:
    service = SERVICES[name]
    assert service["image"] in {
        f"opensearchproject/opensearch:{VERSION}",
        f"opensearchproject/opensearch-dashboards:{VERSION}",
    }
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert "curl -sf" in service["healthcheck"]["test"][1]


def test_each_profile_has_a_server_and_dashboards_that_wait_for_it() -> None:
    for profile in ("secure", "open"):
        members = {name for name, service in SERVICES.items() if service["profiles"] == [profile]}
        server, dashboards = sorted(members, key=lambda name: "dashboards" in name)
        assert SERVICES[dashboards]["depends_on"] == {server: {"condition": "service_healthy"}}
        assert f"//{server}:9200" in SERVICES[dashboards]["environment"]["OPENSEARCH_HOSTS"]


def test_the_password_comes_from_the_environment() -> None:
    passwords = re.findall(r"PASSWORD: (.*)", FILE.read_text())
    assert passwords
    assert set(passwords) == {"${OPENSEARCH_INITIAL_ADMIN_PASSWORD:-}"}


def test_security_is_off_in_the_open_profile_only() -> None:
    off = [name for name, service in SERVICES.items() if "DISABLE_SECURITY_PLUGIN" in service["environment"]]
    assert off == ["opensearch-open"]
