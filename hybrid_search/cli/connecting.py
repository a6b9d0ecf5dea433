"""The options that say how to reach a server; they stand before the verb and hold for every verb."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["CONNECTION_SETTINGS", "connect", "connection_options"]

F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.Path(dir_okay=False, exists=True)
_OPTIONS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (("--connections",), {"type": _FILE, "help": "A TOML file with a section for each server."}),
    (("--host", "hosts"), {"multiple": True, "metavar": "HOST:PORT", "help": "A further node of the same cluster."}),
    (("--user",), {"metavar": "NAME", "help": "The password is in OPENSEARCH_PASSWORD, or:"}),
    (("--password-file",), {"type": _FILE, "help": "A file with the password."}),
    (("--token-file",), {"type": _FILE, "help": "A file with a bearer token."}),
    (("--ca-certs",), {"type": _FILE, "help": "The certificate (PEM) of the server's own authority."}),
    (("--client-cert",), {"type": _FILE, "help": "Our own certificate (PEM), with its key unless:"}),
    (("--client-key",), {"type": _FILE, "help": "The key of it."}),
    (("--insecure",), {"is_flag": True, "help": "Take any certificate; anybody may answer then."}),
    (("--aws-region",), {"metavar": "REGION", "help": "Sign requests (SigV4); needs the extra aws."}),
    (("--aws-service",), {"type": click.Choice(["es", "aoss"]), "help": "A domain; Serverless is refused by name."}),
    (("--aws-profile",), {"metavar": "NAME", "help": "Whose credentials sign."}),
    (("--connect-timeout",), {"type": float, "metavar": "SECONDS", "help": "[default: 10]"}),
    (("--read-timeout",), {"type": float, "metavar": "SECONDS", "help": "[default: 60]"}),
    (("--retries",), {"type": int, "help": "Further tries of a request that may be repeated.  [default: 3]"}),
)

CONNECTION_SETTINGS = frozenset(names[-1].lstrip("-").replace("-", "_") for names, _ in _OPTIONS)
"""The names that the options' values go by."""


def connection_options(function: F) -> F:
    """Add the options of a connection."""
    for names, arguments in reversed(_OPTIONS):
        function = click.option(*names, **arguments)(function)
    return function


def connect(context: click.Context, given: dict[str, Any]) -> None:
    """Use a connection as the options say for as long as the command runs."""
    settings = {name: value for name, value in given.items() if value not in (None, (), False)}
    if settings.pop("insecure", False):
        settings["verify"] = False
    if not settings:
        return
    from hybrid_search.engines.opensearch.transport.connection_settings import connected

    context.with_resource(connected(settings))
