"""JSON lines in the log: one for each request, and whatever the library warns of."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec

__all__ = ["JsonLines", "log_as_json"]


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON; texts of queries and documents are in none of ours."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if not record.name.startswith("hybrid_search.service"):
            line["logger"] = record.name
        line |= getattr(record, "facts", {})
        if request_id := getattr(record, "request_id", ""):
            line["request_id"] = request_id
        if record.exc_info and not isinstance(record.exc_info, bool):
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode("utf-8", "replace")


def log_as_json(level: str = "info") -> None:
    """Send the whole process' log to stderr, as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("hybrid_search.service").setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
