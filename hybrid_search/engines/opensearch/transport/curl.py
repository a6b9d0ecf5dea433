"""Commands to copy: this package's requests as curl commands. They never contain a secret."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from hybrid_search.engines.opensearch.transport.connection import Connection
from hybrid_search.location import Address

__all__ = ["Commands", "curl_arguments", "shell_line"]

_VARIABLE = re.compile(r"\$(OPENSEARCH_TOKEN|AWS_ACCESS_KEY_ID)\b")


def curl_arguments(address: Address, connection: Connection) -> tuple[str, ...]:
    """Return curl's arguments for a connection, without its secrets.

    curl asks for a password; a token and Amazon's keys are referred to as environment variables.
    """
    arguments: list[str] = []
    if connection.user:
        arguments += ["--user", connection.user]
    if connection.token:
        arguments += ["-H", f"authorization: {connection.token_scheme} $OPENSEARCH_TOKEN"]
    if connection.aws_region:
        arguments += ["--aws-sigv4", f"aws:amz:{connection.aws_region}:{connection.aws_service}"]
        arguments += ["--user", "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"]
    if address.tls:
        files = {
            "--cacert": connection.ca_certs,
            "--cert": connection.client_cert,
            "--key": connection.client_key,
        }
        arguments += [word for option, path in files.items() if path for word in (option, path)]
        arguments += [] if connection.verify else ["--insecure"]
    return tuple(arguments)


def shell_line(words: Iterable[str]) -> str:
    """Quote words for a shell, except for environment variables."""
    return " ".join(f'"{word}"' if _VARIABLE.search(word) else shlex.quote(word) for word in words)


@dataclass(frozen=True, slots=True)
class Commands:
    """Writes commands for one server."""

    address: Address
    connection: Connection

    def curl(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> str:
        """Return a request as a curl command."""
        words = ["curl", "-X", method, *curl_arguments(self.address, self.connection), f"{self.address.server}{path}"]
        if body is not None:
            words += ["-H", "content-type: application/json", "-d", msgspec.json.encode(body).decode()]
        return shell_line(words)

    def location(self, index: str) -> str:
        """Return an index's location in the form that the command line takes."""
        return str(self.address.at(index))

    def reindex(self, index: str, aliases: Collection[str], model: str = "MODEL") -> str:
        """Return the command that rebuilds an index: behind its alias if it has one, else under another name."""
        if len(aliases) == 1:
            (alias,) = aliases
            server = replace(self.address, index="")
            return shell_line(["hybrid-search", "reindex", "--model", model, "--alias", alias, "--to", str(server)])
        places = ["--from", self.location(index), "--to", self.location(f"{index}-2")]
        return shell_line(["hybrid-search", "reindex", "--model", model, *places])
