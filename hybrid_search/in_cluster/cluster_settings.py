"""Checks the plugin and the cluster settings that deploying towers needs, and changes the settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from hybrid_search.engines.opensearch.index import ML, ServerCapabilities
from hybrid_search.engines.opensearch.transport import Client
from hybrid_search.errors import AccessDenied, ConfigError, UnsupportedCapability

__all__ = ["CHANGED", "check_allowed", "check_plugin", "held_settings", "missing_settings", "set_settings"]

_PREFIX = "plugins.ml_commons."
_LOCAL = "allow_registering_model_via_local_file"
_ONLY_ML = "only_run_on_ml_node"
_TRUSTED = "trusted_connector_endpoints_regex"
_PRIVATE = "connector.private_ip_enabled"
CHANGED = frozenset(_PREFIX + name for name in (_LOCAL, _ONLY_ML, _TRUSTED, _PRIVATE))
"""All cluster settings that ``deploy`` may change and ``undeploy`` resets."""

_PRIVATE_HOSTS = r"https?://(localhost|127\.|10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|\[)"


def check_plugin(server: ServerCapabilities, where: object) -> None:
    """Check that the server can run models.

    :param where: for the message.
    :raises UnsupportedCapability: if ml-commons is missing.
    """
    if not server.has_plugin(ML):
        raise UnsupportedCapability(
            f"{where}: the server has no plugin {ML} (ml-commons) on every node, so it can't run towers; install it "
            f"with opensearch-plugin install, use the official distribution, which has it, or let clients encode "
            f"(query without `in_cluster`)"
        )


def missing_settings(client: Client, endpoint: str = "") -> dict[str, Any]:
    """Return the cluster settings that must be changed, with the required values.

    :param endpoint: the URL of towers served from elsewhere; empty for towers in the cluster.
    """
    try:
        answer = client.call("GET", "/_cluster/settings", include_defaults="true", filter_path="*.plugins.ml_commons")
    except AccessDenied:  # the user may not read them; the server will refuse what they forbid
        return {}
    effective = _Effective(answer)
    required: dict[str, Any] = {}
    if effective.get(_ONLY_ML) == "true" and not endpoint and not _has_ml_node(client):
        required[_PREFIX + _ONLY_ML] = False
    if not endpoint:
        if effective.get(_LOCAL) != "true":
            required[_PREFIX + _LOCAL] = True
        return required
    trusted = effective.of(_TRUSTED) or []
    if not any(re.match(pattern, endpoint) for pattern in _compiled(trusted)):
        required[_PREFIX + _TRUSTED] = [*trusted, f"^{re.escape(endpoint.rstrip('/'))}/.*$"]
    if re.match(_PRIVATE_HOSTS, endpoint) and effective.get(_PRIVATE) != "true":
        required[_PREFIX + _PRIVATE] = True
    return required


def check_allowed(required: Mapping[str, Any], *, allowed: bool) -> None:
    """Raise if cluster settings must be changed and may not be.

    :raises ConfigError: naming them with the required values.
    """
    if required and not allowed:
        # Lists contain dozens of patterns before the added one.
        shown = {name: ["...", value[-1]] if _is_long(value) else value for name, value in required.items()}
        legend = ', where "..." stands for what the list holds' if any(map(_is_long, required.values())) else ""
        raise ConfigError(
            f"the cluster's settings do not let towers in; give allow_settings=True (hybrid-search undeploy sets them "
            f"back), or set them by PUT /_cluster/settings{legend}; needed: {msgspec.json.encode(shown).decode()}"
        )


def held_settings(client: Client, names: Iterable[str]) -> dict[str, Any]:
    """Return the persistent values of cluster settings, None for those that are not set persistently."""
    persistent = client.call("GET", "/_cluster/settings", flat_settings="true")["persistent"]
    return {name: persistent.get(name) for name in names}


def set_settings(client: Client, values: Mapping[str, Any]) -> None:
    """Set persistent cluster settings; None removes one."""
    if values:
        client.call("PUT", "/_cluster/settings", {"persistent": dict(values)})


def _is_long(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 1


class _Effective:
    """The effective settings of ml-commons: transient before persistent before default."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self._levels = [
            answer.get(level, {}).get("plugins", {}).get("ml_commons", {})
            for level in ("transient", "persistent", "defaults")
        ]

    def of(self, name: str) -> Any:
        for level in self._levels:
            found: Any = level
            for part in name.split("."):
                found = found.get(part) if isinstance(found, Mapping) else None
            if found is not None:
                return found
        return None

    def get(self, name: str) -> str:
        return str(self.of(name)).lower()


def _compiled(patterns: Iterable[str]) -> Iterable[re.Pattern[str]]:
    for pattern in patterns:
        try:
            yield re.compile(pattern)
        except re.error:  # some patterns of Java are invalid in Python
            continue


def _has_ml_node(client: Client) -> bool:
    nodes = client.call("GET", "/_nodes", filter_path="nodes.*.roles").get("nodes", {})
    return any("ml" in node.get("roles", ()) for node in nodes.values())
