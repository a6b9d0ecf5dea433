"""The connection to a server: settings, requests and retries, translation of failures."""

from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.connection import Connection
from hybrid_search.engines.opensearch.transport.connection_settings import chosen, connected, resolved
from hybrid_search.engines.opensearch.transport.curl import Commands
from hybrid_search.engines.opensearch.transport.failures import TOKEN_ADVICE, shortened, taken_apart
from hybrid_search.engines.opensearch.transport.plan import Request

__all__ = [
    "TOKEN_ADVICE",
    "Client",
    "Commands",
    "Connection",
    "Request",
    "chosen",
    "connected",
    "resolved",
    "shortened",
    "taken_apart",
]
