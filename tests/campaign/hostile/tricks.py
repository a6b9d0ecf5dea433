"""What somebody hostile does to an index in a folder, or to a checkpoint."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import sqlite3
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from campaign.hostile.sandbox import Sandbox

__all__ = ["FOLDER_TRICKS", "MODEL_TRICKS"]

_DEEP = 100_000
_HUGE = 1 << 40


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _chosen(sandbox: Sandbox, rng: random.Random) -> Path:
    return rng.choice(_files(sandbox.place))


def _twin(sandbox: Sandbox, path: Path) -> Path:
    """The same file of the user's own."""
    return sandbox.outside / path.relative_to(sandbox.place)


def linked_file(sandbox: Sandbox, rng: random.Random) -> str:
    """A file is a link to one with the same content, so that no checksum differs."""
    path = _chosen(sandbox, rng)
    path.unlink()
    path.symlink_to(_twin(sandbox, path))
    return f"{path.relative_to(sandbox.place)} is a link to the user's own"


def linked_secret(sandbox: Sandbox, rng: random.Random) -> str:
    path = _chosen(sandbox, rng)
    path.unlink()
    path.symlink_to(os.path.relpath(sandbox.outside / "secret.txt", path.parent))
    return f"{path.relative_to(sandbox.place)} is a link to secret.txt"


def linked_folder(sandbox: Sandbox, rng: random.Random) -> str:
    folders = sorted(path for path in sandbox.place.rglob("*") if path.is_dir())
    if not folders:
        return linked_file(sandbox, rng)
    path = rng.choice(folders)
    shutil.rmtree(path)
    path.symlink_to(_twin(sandbox, path), target_is_directory=True)
    return f"{path.relative_to(sandbox.place)} is a link to the user's own folder"


def new_link(sandbox: Sandbox, rng: random.Random) -> str:
    """A name that the product would make is a link already."""
    names = ["documents.sqlite-wal", "documents.sqlite-shm", "documents.sqlite-journal", "writer.json", "writer.lock"]
    names += ["manifest.json", "lexical/.tantivy-writer.lock", "lexical/.tantivy-meta.lock", "dense/manifest.json"]
    path = sandbox.place / rng.choice(names)
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(sandbox.outside / rng.choice(["secret.txt", "made-by-a-link"]))
    return f"{path.relative_to(sandbox.place)} is a link out"


def pipe(sandbox: Sandbox, rng: random.Random) -> str:
    path = _chosen(sandbox, rng)
    path.unlink()
    os.mkfifo(path)
    return f"{path.relative_to(sandbox.place)} is a pipe"


def folder_for_file(sandbox: Sandbox, rng: random.Random) -> str:
    path = _chosen(sandbox, rng)
    path.unlink()
    path.mkdir()
    return f"{path.relative_to(sandbox.place)} is a folder"


def enormous(sandbox: Sandbox, rng: random.Random) -> str:
    """A file that claims a terabyte, of which nothing is on the disk."""
    path = _chosen(sandbox, rng)
    os.truncate(path, _HUGE)
    _own_hash(sandbox, path, "0" * 64)
    return f"{path.relative_to(sandbox.place)} has a terabyte of zeros at its end"


def deep_json(sandbox: Sandbox, rng: random.Random) -> str:
    path = rng.choice([path for path in _files(sandbox.place) if path.suffix == ".json"])
    path.write_text(
        rng.choice(["[" * _DEEP, '{"a":' * _DEEP, "[" * _DEEP + "]" * _DEEP, '{"body": "' + "[" * _DEEP + '"}'])
    )
    _own_hash(sandbox, path)
    return f"{path.relative_to(sandbox.place)} is nested {_DEEP:,} deep"


def lying_manifest(sandbox: Sandbox, rng: random.Random) -> str:
    """A manifest that matches its own checksum names other files, or sizes that nothing has."""
    path = sandbox.place / rng.choice(["lexical", "forward", "dense", "."]) / "manifest.json"
    if not path.exists():
        return lying_manifest(sandbox, rng)
    body = json.loads(json.loads(path.read_text())["body"])
    name = rng.choice(sorted(body["files"]) or ["x"])
    lie: tuple[str, Callable[[], Any]] = rng.choice(
        [
            ("names ../../outside/secret.txt", lambda: body["files"].update({"../../../outside/secret.txt": [45, 0]})),
            ("names an absolute path", lambda: body["files"].update({str(sandbox.outside / "secret.txt"): [45, 0]})),
            ("has a size of 2^62", lambda: body["files"].update({name: [1 << 62, 0]})),
            ("has a negative size", lambda: body["files"].update({name: [-8, 0]})),
            ("has a text for a size", lambda: body["files"].update({name: ["8", None]})),
            ("is of generation 2^62", lambda: body.update(generation=1 << 62)),
            ("ends at row 2^62", lambda: body.update(last_row=1 << 62)),
            ("ends before the first row", lambda: body.update(last_row=-5)),
            ("has no extra", lambda: body.update(extra={})),
            ("has extra of other types", lambda: body.update(extra={"documents": "x", "terms": [], "name": 5})),
            ("names vectors outside", lambda: body["extra"].update(name="../../../outside/secret")),
            ("has 2^62 terms", lambda: body["extra"].update(documents=1, terms=1 << 62)),
        ]
    )  # fmt: skip
    lie[1]()
    text = json.dumps(body)
    path.write_text(json.dumps({"body": text, "checksum": zlib.crc32(text.encode())}))
    return f"{path.relative_to(sandbox.place)} {lie[0]}"


def lying_database(sandbox: Sandbox, rng: random.Random) -> str:
    """Rows that the product would never write."""
    (sandbox.place / "manifest.json").unlink(missing_ok=True)
    if rng.random() < 0.5:  # so that the caches are made of it
        for name in ("lexical", "forward", "dense"):
            shutil.rmtree(sandbox.place / name)
    deep = "[" * _DEEP + "]" * _DEEP
    statement, values = rng.choice(
        [
            ("UPDATE meta SET value = ? WHERE key = 'settings'", (deep,)),
            ("UPDATE meta SET value = ? WHERE key = 'settings'", (b"\xff\xfe",)),
            ("UPDATE meta SET value = ? WHERE key = 'next_row'", (1 << 60,)),
            ("UPDATE meta SET value = ? WHERE key = 'next_row'", (-3,)),
            ("UPDATE meta SET value = ? WHERE key = 'documents'", (1 << 62,)),
            ("UPDATE meta SET value = ? WHERE key = 'generation'", ("x'; DROP TABLE documents; --",)),
            ("UPDATE documents SET metadata = ?", (deep,)),
            ("UPDATE documents SET text = zeroblob(?) WHERE row = 1", (300_000_000,)),
            ("UPDATE documents SET row = row + ?", (1 << 50,)),
            ("UPDATE documents SET first = -first", ()),
            ("UPDATE documents SET id = ? || row", ("../../outside/secret.txt\0",)),
            ("UPDATE vectors SET vector = zeroblob(?)", (3,)),
            ("UPDATE vectors SET vector = zeroblob(?)", (200_000_000,)),
            ("UPDATE vectors SET row = row + ?", (1 << 50,)),
            ("UPDATE fields SET field = ?", ('"; DROP TABLE documents; --',)),
            ("UPDATE fields SET row = ?", (1 << 60,)),
            ("INSERT INTO tombstones SELECT 9, row FROM documents", ()),
            ("UPDATE meta SET value = json_set(value, '$.dimension', ?) WHERE key = 'settings'", (1 << 31,)),
            ("UPDATE meta SET value = json_set(value, '$.faiss', ?) WHERE key = 'settings'", ("IVF1000000,Flat",)),
            ("UPDATE meta SET value = json_set(value, '$.fusion.window', ?) WHERE key = 'settings'", (1 << 40,)),
            ("UPDATE meta SET value = json_set(value, '$.fields.year', ?) WHERE key = 'settings'", ("keyword'; --",)),
            ("DROP TABLE fields", ()),
            ("CREATE TRIGGER t AFTER INSERT ON documents BEGIN DELETE FROM vectors; END", ()),
        ]
    )  # fmt: skip
    with sqlite3.connect(sandbox.place / "documents.sqlite") as connection:
        connection.execute(statement, values)
    connection.close()
    shown = [f"{str(value)[:30]}" for value in values]
    return f"documents.sqlite after {statement!r} with {shown}"


def lying_vectors(sandbox: Sandbox, rng: random.Random) -> str:
    """The arrays beside FAISS, or FAISS's own header, claim more than there is, and the manifest matches them."""
    folder = sandbox.place / "dense"
    path = rng.choice(sorted(folder.glob("vectors-*")))
    if path.suffix == ".npz":
        header = {"descr": rng.choice(["<i8", "|O"]), "fortran_order": False, "shape": (rng.choice([1 << 40, 5, -1]),)}
        text = f"{header!r}".ljust(117).encode() + b"\n"
        array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(rng.choice([0, 64, 1 << 29]))
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in ("rows.npy", "alive.npy"):
                archive.writestr(rng.choice([name, name, f"../../{name}"]), array)
        path.write_bytes(held.getvalue())
    else:
        data = bytearray(path.read_bytes())
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(0, 60, 4)
            data[at : at + 8] = struct.pack("<q", rng.choice([1 << 40, 1 << 31, -1, 1 << 62, 0]))
        path.write_bytes(data)
    _in_manifest(folder, path)
    return f"{path.relative_to(sandbox.place)} claims what it has not"


def lying_terms(sandbox: Sandbox, rng: random.Random) -> str:
    """The forward index's ends of rows lie outside its postings."""
    path = sandbox.place / "forward" / rng.choice(["rows.bin", "postings.u64"])
    data = bytearray(path.read_bytes())
    for _ in range(4):
        at = rng.randrange(0, max(1, len(data) - 12), 12)
        data[at : at + 8] = struct.pack("<Q", rng.choice([1 << 63, 1 << 40, 0, len(data)]))
    path.write_bytes(data)
    _in_manifest(path.parent, path)
    return f"{path.relative_to(sandbox.place)} points outside"


def lying_segments(sandbox: Sandbox, rng: random.Random) -> str:
    """tantivy's list of segments names other files, or counts more documents than there are."""
    path = sandbox.place / "lexical" / "meta.json"
    meta = json.loads(path.read_text())
    lies = [
        lambda: meta.update(opstamp=-1),
        lambda: meta.update(schema=[]),
        lambda: meta.update(segments=meta["segments"] * 1000),
    ]
    for segment in meta["segments"]:
        lies += [
            lambda segment=segment: segment.update(max_doc=1 << 31),
            lambda segment=segment: segment.update(segment_id="../../outside/secret"),
            lambda segment=segment: segment.update(deletes={"num_deleted_docs": 1 << 30, "opstamp": 3}),
        ]
    rng.choice(lies)()
    path.write_text(json.dumps(meta))
    _in_manifest(path.parent, path)
    return "lexical/meta.json lists what is not there"


def random_bytes(sandbox: Sandbox, rng: random.Random) -> str:
    """Bytes changed at random, and every record of them made to match."""
    path = _chosen(sandbox, rng)
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 3, 30])):
        if data:
            data[rng.randrange(min(len(data), rng.choice([64, 1 << 20])))] = rng.choice(
                [0, 255, 127, 128, rng.randrange(256)]
            )
    path.write_bytes(data)
    _in_manifest(path.parent, path)
    _own_hash(sandbox, path)
    return f"bytes of {path.relative_to(sandbox.place)} were changed, and its records with them"


def _in_manifest(folder: Path, path: Path) -> None:
    """Make the manifest of a folder match a file."""
    manifest = folder / "manifest.json"
    if path == manifest or not manifest.is_file():
        return
    try:
        body = json.loads(json.loads(manifest.read_text())["body"])
    except (ValueError, KeyError):
        return
    if path.name in body["files"]:
        data = path.read_bytes()
        body["files"][path.name] = [len(data), zlib.crc32(data)]
        text = json.dumps(body)
        manifest.write_text(json.dumps({"body": text, "checksum": zlib.crc32(text.encode())}))


def _own_hash(sandbox: Sandbox, path: Path, digest: str = "") -> None:
    """Make a model's own record match a file of it."""
    card = path.parent / "model.json"
    if path == card or not card.is_file() or not path.is_file():
        return
    values = json.loads(card.read_text())
    if path.name not in values.get("files", {}):
        return
    values["files"][path.name] = digest or hashlib.sha256(path.read_bytes()).hexdigest()
    _rewritten(card, values)


def _rewritten(card: Path, values: dict[str, Any]) -> None:
    from hybrid_search.towers.model_card import _checksum

    values.pop("checksum", None)
    card.write_text(json.dumps({**values, "checksum": _checksum(values)}))


def _model_of(sandbox: Sandbox) -> Path:
    return sandbox.place if (sandbox.place / "model.json").is_file() else sandbox.place / "model"


def lying_card(sandbox: Sandbox, rng: random.Random) -> str:
    """A model's own description, matching itself, names other files or sizes that nothing has."""
    card = _model_of(sandbox) / "model.json"
    values = json.loads(card.read_text())
    lie: tuple[str, Callable[[], Any]] = rng.choice(
        [
            ("a file outside", lambda: values["files"].update({"../../outside/secret.txt": "0" * 64})),
            ("only files outside", lambda: values.update(files={"../../outside/secret.txt": "0" * 64})),
            ("a dimension of 2^31", lambda: values["tower"].update(dimension=1 << 31)),
            ("2^40 tokens a query", lambda: values["tower"].update(max_query_tokens=1 << 40)),
            ("a vocabulary of 2^40", lambda: values.update(vocabulary_size=1 << 40)),
            ("an enormous fingerprint", lambda: values.update(fingerprint="f" * 1_000_000)),
            ("a fingerprint that is a path", lambda: values.update(fingerprint="../../outside/secret.txt")),
            ("files of other types", lambda: values.update(files=[1, 2])),
        ]
    )  # fmt: skip
    lie[1]()
    _rewritten(card, values)
    return f"model.json has {lie[0]}"


def lying_weights(sandbox: Sandbox, rng: random.Random) -> str:
    """The header of the weights claims more bytes than there are, or than fit anywhere."""
    path = _model_of(sandbox) / "weights.safetensors"
    size = rng.choice([1 << 62, 1 << 33, 100_000_000, 0])
    tensor = {"dtype": "F32", "shape": [1 << 40, 1 << 10], "data_offsets": [0, 1 << 52]}
    header = rng.choice([json.dumps({"embedding": tensor}).encode(), b"[" * _DEEP, b"{" * 50, b" " * 90_000_000])
    path.write_bytes(struct.pack("<Q", size or len(header)) + header)
    _own_hash(sandbox, path)
    return f"{path.relative_to(sandbox.place)} has a header of {size or len(header)} bytes"


def lying_tokenizer(sandbox: Sandbox, rng: random.Random) -> str:
    path = _model_of(sandbox) / "tokenizer.json"
    values = json.loads(path.read_text())
    split = {"type": "Split", "pattern": {"Regex": "(a+)+$|(([a-z])+.)+x"}, "behavior": "Removed", "invert": False}
    twice = {"type": "Replace", "pattern": {"Regex": "."}, "content": "xx"}
    growing = {"type": "Sequence", "normalizers": [twice] * 40}
    lie: tuple[str, Callable[[], Any]] = rng.choice(
        [
            ("ids of 2^31", lambda: values["model"]["vocab"].update({"river": (1 << 31) - 1})),
            ("negative ids", lambda: values["model"]["vocab"].update({"river": -7})),
            ("ids beyond the weights", lambda: values["model"]["vocab"].update({"river": 1_000_000})),
            ("a pattern that takes for ever", lambda: values.update(pre_tokenizer=split)),
            ("words of any length", lambda: values["model"].update(max_input_chars_per_word=1 << 40)),
            ("a normaliser that grows", lambda: values.update(normalizer=growing)),
        ]
    )  # fmt: skip
    lie[1]()
    path.write_text(json.dumps(values))
    _own_hash(sandbox, path)
    return f"{path.relative_to(sandbox.place)} has {lie[0]}"


def lying_network(sandbox: Sandbox, rng: random.Random) -> str:
    """The network's file takes its numbers out of another file."""
    path = _model_of(sandbox) / rng.choice(["query.onnx", "document.onnx"])
    data = path.read_bytes()
    name = b"weights.safetensors"
    if name in data and rng.random() < 0.7:
        data = data.replace(name, b"../../outs/../x.json"[: len(name)].ljust(len(name), b"s"))
    else:
        data = data[: len(data) // 2] + bytes(rng.randrange(256) for _ in range(64)) + data[len(data) // 2 :]
    path.write_bytes(data)
    _own_hash(sandbox, path)
    return f"{path.relative_to(sandbox.place)} was changed"


_ANY = (linked_file, linked_secret, linked_folder, pipe, folder_for_file, enormous, deep_json, random_bytes)
FOLDER_TRICKS: tuple[Callable[[Sandbox, random.Random], str], ...] = (
    *_ANY, new_link, lying_manifest, lying_database, lying_database, lying_vectors, lying_terms, lying_segments,
    lying_card, lying_weights, lying_tokenizer, lying_network,
)  # fmt: skip
MODEL_TRICKS: tuple[Callable[[Sandbox, random.Random], str], ...] = (
    *_ANY, lying_card, lying_weights, lying_tokenizer, lying_network,
)  # fmt: skip
