"""The towers' files on a server, in a separate index, and their cache on this machine.

There is one such index for each model, named after its fingerprint and shared by all indexes that the model encoded.
The files are cut into chunks, whose ids contain the files' hashes. A record lists the files; its id is a digest of the
list, and it is written last, so that readers see all files of a model or none. The digest is recorded in the index of
passages when that is made, so files that others write into the towers' index are not used for searching.

All files read here may come from others: only known names and limited sizes are accepted, and the hashes are compared
with the digest in the index of passages.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import filelock
import msgspec

from hybrid_search import mappings
from hybrid_search.engines.opensearch.index import meta
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.engines.opensearch.transport.failures import failure, taken_apart
from hybrid_search.errors import CorruptIndex, CorruptModel, IndexExists, IndexNotFound, UsageError
from hybrid_search.storage import cache_folder, disk_errors, replace_folder, sha256_of
from hybrid_search.towers.model_card import SERVING_FILES

__all__ = ["NOTE", "companion_of", "digest_of", "fetch_towers", "record_of", "store_towers"]

_CHUNK = 4 << 20
_LARGEST = 4 << 30
"""Limit of the total size of a model's files, in bytes."""

NOTE = "towers"
"""The key of the digest of the towers' files in ``_meta``."""

_FETCHING = ".part"
_SHOWN = 32
_RECORD = "towers"
_ADVICE = "load once more with model=PATH, and look who may write into the index {}"

_FINGERPRINT = re.compile(r"[0-9A-Za-z]{1,128}")


class _File(msgspec.Struct, frozen=True):
    """A file: its hash, and its number of chunks."""

    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    chunks: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST // _CHUNK)]


Files = Mapping[str, _File]


class _Record(msgspec.Struct, frozen=True):
    fingerprint: str
    files: dict[str, _File]


def companion_of(fingerprint: str) -> str:
    """Return the name of the index of a model's towers.

    :raises CorruptIndex: if the fingerprint is invalid; it was read from an index, and becomes part of paths.
    """
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise CorruptIndex(f"the fingerprint {fingerprint[:80]!r} is none; the index's _meta was changed by somebody")
    return f"towers-{fingerprint[:_SHOWN]}".lower()


def digest_of(files: Sequence[Path]) -> str:
    """Return a digest of a model's files, 64 hexadecimal digits.

    :raises StorageError: if a file can't be read.
    """
    return _digest({file.name: sha256_of(file) for file in files})


def _digest(hashes: Mapping[str, str]) -> str:
    return hashlib.sha256(repr(sorted(hashes.items())).encode()).hexdigest()


def record_of(digest: str) -> str:
    """Return the id of a digest's record; for an empty digest, that of the files stored last."""
    if digest and not _FINGERPRINT.fullmatch(digest):
        raise CorruptIndex(f"the digest {digest[:80]!r} is none; the index's _meta was changed by somebody")
    return f"{_RECORD}-{digest[:_SHOWN]}" if digest else _RECORD


def store_towers(client: Client, index: str, fingerprint: str, files: Sequence[Path]) -> None:
    """Copy a model's files to the server, and record their digest in the index of passages if it has another.

    Files stored before stay, as another index may have recorded their digest; they go with the model's last index.

    :raises UsageError: if a file is not needed for encoding.
    :raises StorageError: if a file can't be read.
    """
    companion = companion_of(fingerprint)
    if strangers := [file.name for file in files if file.name not in SERVING_FILES]:
        raise UsageError(f"{strangers[0]} is no file that encoding needs; store {', '.join(SERVING_FILES)}")
    with contextlib.suppress(IndexExists):
        client.call("PUT", f"/{companion}", mappings.render("index/towers"))
    listed: dict[str, dict[str, Any]] = {}
    for file in files:
        with disk_errors(f"reading {file}"):
            data = file.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        chunks = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
        for id, chunk in zip(_chunk_ids(digest, len(chunks)), chunks, strict=True):
            client.call("PUT", f"/{companion}/_doc/{id}", {"chunk": base64.b64encode(chunk).decode()})
        listed[file.name] = {"sha256": digest, "chunks": len(chunks)}
    record = {"fingerprint": fingerprint, "files": listed}
    digest = _digest({name: file["sha256"] for name, file in listed.items()})
    for id in (record_of(digest), _RECORD):
        client.call("PUT", f"/{companion}/_doc/{id}", record, refresh="true")
    if meta.read(client, index).get(NOTE) != digest:
        meta.update(client, index, NOTE, lambda _: digest)


def fetch_towers(client: Client, index: str, fingerprint: str) -> Path | None:
    """Return a local folder with a model's towers, downloaded if they are not in the cache; None if none are stored.

    An index of an earlier version, without a digest, gets the files that were stored last.

    :raises CorruptModel: if the server's files differ from those stored.
    :raises CorruptIndex: if the fingerprint is invalid.
    :raises StorageError: if the cache can't be written.
    """
    if not fingerprint:
        return None
    companion, digest = companion_of(fingerprint), str(meta.read(client, index).get(NOTE, ""))
    files = _read(client, companion, record_of(digest))
    if not files:
        return None
    found = _digest({name: file.sha256 for name, file in files.items()})
    if digest and found != digest:
        raise CorruptModel(f"{companion}: the towers there are not those of the index; {_ADVICE.format(companion)}")
    folder = cache_folder("towers") / f"{companion.removeprefix('towers-')}-{found[:_SHOWN]}"
    if not _is_whole(folder, files):
        with disk_errors(f"caching the towers in {folder}"):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(folder.parent / ".lock"):  # one process downloads, others wait for its files
                if not _is_whole(folder, files):
                    _fetch(client, companion, files, folder)
    return folder


def _fetch(client: Client, companion: str, files: Files, folder: Path) -> None:
    """Download files into a folder of the cache, atomically. Requires the cache's lock."""
    for left in folder.parent.glob(f".*{_FETCHING}"):  # left by a killed process, as no other one has the lock
        shutil.rmtree(left, ignore_errors=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=_FETCHING, dir=folder.parent))
    try:
        for name in SERVING_FILES:
            if name in files:
                _download(client, companion, files[name], new / name)
        replace_folder(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


@taken_apart("the index's towers")
def _read(client: Client, companion: str, id: str) -> Files:
    """Read and check a record; empty if there is none."""
    try:
        answer = client.call("POST", f"/{companion}/_mget", {"ids": [id]})["docs"][0]
    except IndexNotFound:
        return {}
    if "error" in answer:
        error = failure(404, answer, companion)
        if isinstance(error, IndexNotFound):
            return {}
        raise error
    if not answer.get("found"):
        return {}
    advice = _ADVICE.format(companion)
    try:
        files = msgspec.convert(answer["_source"], _Record).files
    except msgspec.ValidationError as error:
        raise CorruptModel(f"{companion}: the list of files is not what was stored ({error}); {advice}") from error
    if strangers := sorted(files.keys() - set(SERVING_FILES)):
        raise CorruptModel(f"{companion}: it lists {strangers[0][:80]!r}, which is no file of a model; {advice}")
    if sum(file.chunks for file in files.values()) > _LARGEST // _CHUNK:
        raise CorruptModel(f"{companion}: the files have more than {_LARGEST >> 30} GB together; {advice}")
    return files


def _chunk_ids(digest: str, count: int) -> Iterator[str]:
    return (f"{digest}-{number}" for number in range(count))


@taken_apart("the index's towers")
def _download(client: Client, companion: str, file: _File, target: Path) -> None:
    """Download a file, chunk by chunk."""
    digest = hashlib.sha256()
    with target.open("xb") as out:
        for id in _chunk_ids(file.sha256, file.chunks):
            answer = client.call("POST", f"/{companion}/_mget", {"ids": [id]})["docs"][0]
            data = _decoded(answer["_source"].get("chunk")) if answer.get("found") else b""
            digest.update(data)
            out.write(data)
    if digest.hexdigest() != file.sha256:
        raise CorruptModel(f"{companion}: {target.name} is not what was stored (SHA-256); {_ADVICE.format(companion)}")


def _decoded(chunk: object) -> bytes:
    """Decode a chunk; empty if it is invalid, or larger than the chunks that are stored."""
    if not isinstance(chunk, str) or len(chunk) > 2 * _CHUNK:
        return b""
    try:
        return base64.b64decode(chunk, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _is_whole(folder: Path, files: Files) -> bool:
    """Return whether a folder of the cache contains the files, and not links."""
    paths = {folder / name: file.sha256 for name, file in files.items()}
    return all(path.is_file() and not path.is_symlink() and sha256_of(path) == sha for path, sha in paths.items())
