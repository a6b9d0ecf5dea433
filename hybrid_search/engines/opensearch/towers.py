"""The towers' files in an index of their own beside the passages, and on this machine in a cache.

There is one such index a model, named after its fingerprint and shared by all passages that it encoded. The files are
cut into chunks whose names are the files' hashes; the record that lists them is written last, so that another reader
sees the old files or the new, never a mixture.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import mappings
from hybrid_search.engines.opensearch.bulk import delete
from hybrid_search.engines.opensearch.client import Client
from hybrid_search.engines.opensearch.failures import failure
from hybrid_search.errors import CorruptModel, IndexExists, IndexNotFound
from hybrid_search.storage import cache_folder, disk_errors, replace_folder, sha256_of

__all__ = ["companion_of", "fetch_towers", "store_towers"]

_CHUNK = 4 << 20
_SHOWN = 32
_RECORD = "towers"

Files = Mapping[str, Mapping[str, Any]]
"""File name -> {"sha256": hexadecimal, "chunks": how many}."""


def companion_of(fingerprint: str) -> str:
    """Return the name of the index that holds the towers of a model."""
    return f"towers-{fingerprint[:_SHOWN]}".lower()


def store_towers(client: Client, fingerprint: str, files: Sequence[Path]) -> None:
    """Copy a model's files to the server, in the place of those stored before.

    :raises StorageError: if a file can't be read.
    """
    companion = companion_of(fingerprint)
    with contextlib.suppress(IndexExists):
        client.call("PUT", f"/{companion}", mappings.render("index/towers"))
    old = _record(client, companion)
    listed: dict[str, dict[str, Any]] = {}
    for file in files:
        with disk_errors(f"reading {file}"):
            data = file.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        chunks = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
        for id, chunk in zip(_chunk_ids(digest, len(chunks)), chunks, strict=True):
            client.call("PUT", f"/{companion}/_doc/{id}", {"chunk": base64.b64encode(chunk).decode()})
        listed[file.name] = {"sha256": digest, "chunks": len(chunks)}
    client.call("PUT", f"/{companion}/_doc/{_RECORD}", {"fingerprint": fingerprint, "files": listed}, refresh="true")
    if gone := sorted(set(_all_chunks(old)) - set(_all_chunks(listed))):
        delete(client, companion, gone)


def fetch_towers(client: Client, fingerprint: str) -> Path | None:
    """Return a local folder with a model's towers, downloaded if the cache does not have them; None without towers.

    :raises CorruptModel: if a file on the server is not what was stored.
    :raises StorageError: if the cache can't be written.
    """
    companion = companion_of(fingerprint)
    files = _record(client, companion)
    if not files:
        return None
    names = repr(sorted((name, file["sha256"]) for name, file in files.items()))
    digest = hashlib.sha256(names.encode()).hexdigest()
    folder = cache_folder("towers") / f"{companion.removeprefix('towers-')}-{digest[:_SHOWN]}"
    if not _is_whole(folder, files):
        with disk_errors(f"caching the towers in {folder}"):
            folder.parent.mkdir(parents=True, exist_ok=True)
            new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            try:
                for name, file in files.items():
                    (new / name).write_bytes(_download(client, companion, name, file))
                replace_folder(new, folder)
            finally:
                shutil.rmtree(new, ignore_errors=True)
    return folder


def _record(client: Client, companion: str) -> Files:
    try:
        answer = client.call("POST", f"/{companion}/_mget", {"ids": [_RECORD]})["docs"][0]
    except IndexNotFound:
        return {}
    if "error" in answer:
        error = failure(404, answer, companion)
        if isinstance(error, IndexNotFound):
            return {}
        raise error
    found: Files = answer["_source"]["files"] if answer.get("found") else {}
    return found


def _chunk_ids(digest: str, count: int) -> list[str]:
    return [f"{digest}-{number}" for number in range(count)]


def _all_chunks(files: Files) -> Iterator[str]:
    for file in files.values():
        yield from _chunk_ids(file["sha256"], file["chunks"])


def _download(client: Client, companion: str, name: str, file: Mapping[str, Any]) -> bytes:
    parts = []
    for id in _chunk_ids(file["sha256"], file["chunks"]):
        answer = client.call("POST", f"/{companion}/_mget", {"ids": [id]})["docs"][0]
        parts.append(base64.b64decode(answer["_source"]["chunk"]) if answer.get("found") else b"")
    data = b"".join(parts)
    if hashlib.sha256(data).hexdigest() != file["sha256"]:
        raise CorruptModel(f"{companion}: {name} is not what was stored (SHA-256); load once more with --model")
    return data


def _is_whole(folder: Path, files: Files) -> bool:
    paths = {name: folder / name for name in files}
    return all(path.is_file() and sha256_of(path) == files[name]["sha256"] for name, path in paths.items())
