"""What is on a server and belongs to a story: asked with plain requests, none of the product's."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Any

__all__ = ["OnServer"]

_KEPT = ("refresh_interval", "default_pipeline", "final_pipeline", "search")


class OnServer:
    """A node, and the names on it that begin with a story's.

    :param url: as in ``http://127.0.0.1:9200``.
    :param fingerprints: of the models that only the campaign uses.
    """

    def __init__(self, url: str, name: str, fingerprints: Sequence[str] = ()) -> None:
        self._url, self.name = url, name
        self._towers = [f"towers-{fingerprint[:32]}" for fingerprint in fingerprints]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return the answer to a request, None where there is nothing of that name."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data else {}
        request = urllib.request.Request(f"{self._url}/{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise RuntimeError(f"{method} {path}: {error.code} {error.read()[:500]!r}") from error

    def refresh(self) -> None:
        """Show what was written; so that one search sees what another does."""
        self.ask("POST", f"{self.name}*/_refresh?ignore_unavailable=true")

    def indexes(self) -> dict[str, Any]:
        """Return the indexes of the story, those of its towers too, with aliases and settings."""
        names = ",".join([f"{self.name}*", *self._towers])
        return self.ask("GET", f"{names}?expand_wildcards=all&ignore_unavailable=true") or {}

    def shape(self) -> dict[str, Any]:
        """Return everything that the story has on the server, without what differs from one run to the next."""
        found: dict[str, Any] = {}
        for name, told in self.indexes().items():
            settings = told["settings"]["index"]
            kept = {key: settings[key] for key in _KEPT if key in settings}
            meta = told["mappings"].get("_meta", {})
            found[f"index {self.plain(name)}"] = {
                "aliases": sorted(map(self.plain, told["aliases"])),
                "settings": json.loads(self.plain(json.dumps(kept))),
                "auto_expand": settings.get("auto_expand_replicas"),
                "notes": sorted(meta),
            }
        for kind in ("_search/pipeline", "_ingest/pipeline"):
            for name in self.ask("GET", kind) or {}:
                if self.name in name:
                    found[f"{kind} {self.plain(name)}"] = {}
        return found

    def clear(self) -> None:
        """Remove all of it."""
        for name in self.indexes():
            self.ask("DELETE", urllib.parse.quote(name))
        for kind in ("_search/pipeline", "_ingest/pipeline"):
            for name in self.ask("GET", kind) or {}:
                if self.name in name:
                    self.ask("DELETE", f"{kind}/{urllib.parse.quote(name)}")

    def plain(self, name: str) -> str:
        """Return a name without what is the trial's own."""
        return re.sub(r"[0-9a-f]{12,}", "#", name.replace(self.name, "NAME"))
