"""How to reach a server: TLS, credentials, time-outs, retries. Used by both clients."""

from __future__ import annotations

import base64
import logging
import re
import ssl
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

import certifi

from hybrid_search.errors import ConfigError, UsageError
from hybrid_search.location import Address, without_password
from hybrid_search.settings.base import check_types

__all__ = ["PREFIX", "Connection"]

PREFIX = "OPENSEARCH_"
"""Prefix of the environment variables."""

_API_KEY = "os_"
"""How the API keys begin that OpenSearch's security plugin makes, since 3.7."""
_HOST = re.compile(r"[^\s/@]+:\d{1,5}")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How to reach a server. Passwords and tokens are left out of the repr.

    :ivar hosts: further nodes of the same cluster, ``host:port``, used when one does not answer.
    :ivar verify: check the server's certificate and name; False accepts any server.
    :ivar ca_certs: PEM file of the authority that signed the server's certificate; empty for those that the system
        and certifi know.
    :ivar client_cert: PEM file with the client's certificate, and its key unless ``client_key`` names another file.
    :ivar token: sent as ``Authorization: Bearer``; an API key of OpenSearch's own (3.7, ``os_…``) as ``ApiKey``.
    :ivar aws_region: sign requests (SigV4) with the credentials that boto3 finds; for a service ``es`` or ``aoss``.
    :ivar connect_timeout: seconds.
    :ivar read_timeout: seconds without a byte from the server.
    :ivar retries: further attempts for repeatable requests.
    :ivar max_connections: connections kept open and reused, for each host.
    """

    hosts: tuple[str, ...] = ()
    verify: bool = True
    ca_certs: str = ""
    client_cert: str = ""
    client_key: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    aws_region: str = ""
    aws_service: Literal["es", "aoss"] = "es"
    aws_profile: str = ""
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    retries: int = 3
    max_connections: int = 16

    def __post_init__(self) -> None:
        self._check_texts()
        check_types(self)
        if bool(self.user) != bool(self.password):
            missing = "password" if self.user else "user"
            whom = f" for user {self.user!r}" if self.user else ""
            raise UsageError(f"no {missing}{whom}; put it into {PREFIX}{missing.upper()}, or a connections file")
        if sum(map(bool, (self.user, self.token, self.aws_region))) > 1:
            raise ConfigError("a connection has user and password, a token, or an AWS region; give one of the three")
        if ":" in self.user:
            raise UsageError(f"user is {self.user.partition(':')[0]!r} and more; there can't be a colon in it")
        if wrong := [host for host in self.hosts if not _HOST.fullmatch(host)]:
            shown = without_password(wrong[0])
            raise ConfigError(f"hosts has {shown!r}; write host:port, as in search-2.example.org:9200")
        if self.client_key and not self.client_cert:
            raise ConfigError("client_key is given without client_cert; give both, or one file with both in it")
        for name in ("connect_timeout", "read_timeout"):
            if not 0 < getattr(self, name) <= 3_600:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it must be from 0 to 3600 seconds, and not 0")
        if not 0 <= self.retries <= 20:
            raise ConfigError(f"retries is {self.retries!r}; it must be from 0 to 20")
        if not 1 <= self.max_connections <= 1_000:
            raise ConfigError(f"max_connections is {self.max_connections!r}; it must be from 1 to 1000")

    def _check_texts(self) -> None:
        for name in ("user", "password", "token"):
            if not isinstance(getattr(self, name), str):
                raise ConfigError(f"{name} is no text but {type(getattr(self, name)).__name__}; give it as text")
        if not self.token.isprintable():
            raise ConfigError("the token has a line break or another character that can't be sent; give it on one line")

    @property
    def token_scheme(self) -> str:
        """The scheme by which the token is sent. No other kind of token begins like the server's own API keys."""
        return "ApiKey" if self.token.startswith(_API_KEY) else "Bearer"

    def arguments(self, address: Address) -> dict[str, Any]:
        """Return the arguments that both clients share: hosts, credentials, TLS.

        Time-outs, pool size and request signing differ between them; the library's own retries are switched off.

        :raises ConfigError: if a certificate can't be read.
        """
        scheme, _, first = address.server.partition("://")
        arguments: dict[str, Any] = {
            "hosts": [f"{scheme}://{host}" for host in dict.fromkeys((first, *self.hosts))],
            "max_retries": 0,
        }
        if address.tls:
            arguments["ssl_context"] = self.tls()
        self._warn(address)
        if self.token:
            arguments["headers"] = {"authorization": f"{self.token_scheme} {self.token}"}
        elif self.user:  # not http_auth, which can't encode all characters of a password
            pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            arguments["headers"] = {"authorization": f"Basic {pair}"}
        return arguments

    def tls(self) -> ssl.SSLContext:
        """Return the TLS context that checks the server's certificate and sends the client's.

        :raises ConfigError: if a file can't be read as PEM.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca_certs:
            _load("ca_certs", self.ca_certs, context.load_verify_locations)
        else:
            context.load_default_certs()
            context.load_verify_locations(certifi.where())
        if self.client_cert:
            _load("client_cert", self.client_cert, lambda path: context.load_cert_chain(path, self.client_key or None))
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _warn(self, address: Address) -> None:
        if address.tls and not self.verify:
            _warn_once(f"{address.server}: its certificate is not checked, so anybody may answer in its place")
        if not address.tls and (self.user or self.token) and not _is_here(address.host):
            _warn_once(f"{address.server}: user and password or token travel unencrypted; use opensearchs://")


@cache
def _warn_once(text: str) -> None:
    _log.warning("%s", text)


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _load(name: str, path: str, load: Any) -> None:
    try:
        load(str(Path(path).expanduser()))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{name} is {path!r}, which can't be read as a PEM file ({error}); check the path") from None
