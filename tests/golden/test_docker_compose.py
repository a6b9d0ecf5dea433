"""docker-compose.yml and Dockerfile are read, not run: pinned images, loopback ports, health checks, no password."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from node.home import VERSION

from hybrid_search.cli.serve import command as serve
from hybrid_search.location import Address

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name for name, service in SERVICES.items() if "build" in service}
STEPS = [line.split(maxsplit=1) for line in (ROOT / "Dockerfile").read_text().replace("\\\n", "").splitlines()]
STEPS = [step for step in STEPS if step and step[0] != "#"]


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - OURS))
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
        members = {name for name, service in SERVICES.items() if profile in service["profiles"]}
        server, dashboards = sorted(members, key=lambda name: "dashboards" in name)
        assert SERVICES[dashboards]["depends_on"] == {server: {"condition": "service_healthy"}}
        assert f"//{server}:9200" in SERVICES[dashboards]["environment"]["OPENSEARCH_HOSTS"]


@pytest.mark.parametrize(("profile", "scheme"), [("open", "opensearch"), ("secure", "opensearchs")])
def test_the_service_joins_a_server_and_dashboards_and_is_started_as_the_command_line_takes_it(
    profile: str, scheme: str
) -> None:
    members = {name for name, one in SERVICES.items() if f"search-{profile}" in one["profiles"]}
    others = {name for name, one in SERVICES.items() if profile in one["profiles"]}
    [ours] = members - others
    assert members == {ours, *others}
    assert ours in OURS
    service = SERVICES[ours]
    assert service["ports"] == ["127.0.0.1:8000:8000"]
    [server] = service["depends_on"]
    verb, location, *options = service["command"]
    assert verb == "serve"
    context = serve.make_context("serve", [location.replace("${HYBRID_SEARCH_INDEX:-passages}", "passages"), *options])
    assert context.params["host"] == "0.0.0.0"
    address = Address.parse(context.params["location"])
    assert (address.host, address.index) == (server, "passages")
    assert location.startswith(f"{scheme}://")


def test_the_password_comes_from_the_environment() -> None:
    passwords = re.findall(r"PASSWORD: (.*)", FILE.read_text())
    assert passwords
    assert set(passwords) == {"${OPENSEARCH_INITIAL_ADMIN_PASSWORD:-}"}


def test_security_is_off_in_the_open_profile_only() -> None:
    off = [name for name, one in SERVICES.items() if "DISABLE_SECURITY_PLUGIN" in one.get("environment", {})]
    assert off == ["opensearch-open"]


def test_the_container_has_what_it_copies_installs_extras_that_exist_and_starts_a_command_that_does() -> None:
    copied = [word for kind, rest in STEPS if kind == "COPY" and "--from" not in rest for word in rest.split()[:-1]]
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied) == let_in
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [extras] = re.findall(r"\.\[([\w,]+)\]", (ROOT / "Dockerfile").read_text())
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    steps = dict(STEPS)
    assert yaml.safe_load(steps["ENTRYPOINT"]) == ["hybrid-search"]
    verb, *arguments = yaml.safe_load(steps["CMD"])
    assert verb == "serve"
    assert isinstance(serve.make_context(verb, arguments), click.Context)
    assert steps["USER"] != "root"
    compile(yaml.safe_load(steps["HEALTHCHECK"].partition("CMD ")[2])[-1], "the check", "exec")
    assert shlex.split(steps["EXPOSE"]) == ["8000"]
