"""The parsers as functions of bytes, for a fuzzer that is guided by what a parser's code does with them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from campaign.fuzz.expectation import Answer, Broken, outcome_of
from hybrid_search.engines.opensearch.search.answers import hits_of
from hybrid_search.engines.opensearch.transport.connection_settings import resolved
from hybrid_search.engines.opensearch.transport.failures import taken_apart
from hybrid_search.filters.parser import parse_filter
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.location import Address
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.settings.training import TrainConfig
from hybrid_search.towers.model_card import read_model_card

__all__ = ["DOORS", "SEEDS"]

_FOLDER = Path(tempfile.mkdtemp(prefix="campaign-doors-"))


def _filter(data: bytes) -> None:
    outcome_of(lambda: parse_filter(data.decode("utf-8", "surrogateescape")))


def _location(data: bytes) -> None:
    told = outcome_of(lambda: Address.parse(data.decode("utf-8", "surrogateescape")))
    if isinstance(told, Answer) and Address.parse(str(told.value)) != told.value:
        raise Broken(f"{told.value!r} is not what its own text says")


def _connections(data: bytes) -> None:
    file = _FOLDER / "connections.toml"
    file.write_bytes(data)
    file.chmod(0o600)
    outcome_of(lambda: resolved(Address.parse_server("opensearch://search:9200"), {"HYBRID_SEARCH_CONFIG": str(file)}))


def _settings(data: bytes) -> None:
    for kind in (IndexSettings, Fusion, TrainConfig):
        outcome_of(lambda kind=kind: kind.from_json(data, source="settings.json"))


def _model(data: bytes) -> None:
    (_FOLDER / "model.json").write_bytes(data)
    outcome_of(lambda: read_model_card(_FOLDER))


def _data(loader: str, name: str, *others: tuple[str, bytes]) -> Callable[[bytes], None]:
    folder = _FOLDER / f"{loader}-{name}".replace("/", "-")

    def read(data: bytes) -> None:
        for file, content in (*others, (name, data)):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(content)
        opened = outcome_of(lambda: open_dataset(loader, folder, reject=lambda rejection: None))
        if isinstance(opened, Answer):
            outcome_of(lambda: list(opened.value.documents()))
            for split in opened.value.splits():
                outcome_of(
                    lambda split=split: (list(opened.value.queries(split)), list(opened.value.judgements(split)))
                )

    return read


def _answer(data: bytes) -> None:
    def read() -> object:
        with taken_apart("hits"):
            import msgspec

            return hits_of(msgspec.json.decode(data))

    outcome_of(read)


_QUERIES = ("queries.jsonl", b'{"id": "q1", "text": "which cat"}\n')
_DOCUMENTS = ("documents.jsonl", b'{"id": "d1", "text": "the cat"}\n')

DOORS: Mapping[str, Callable[[bytes], None]] = {
    "a filter": _filter,
    "a location": _location,
    "a connections file": _connections,
    "settings": _settings,
    "model.json": _model,
    "a hits answer": _answer,
    "documents.jsonl": _data("jsonl", "documents.jsonl"),
    "qrels.tsv": _data("jsonl", "qrels.tsv", _QUERIES, _DOCUMENTS),
    "collection.tsv": _data("msmarco_passage", "collection.tsv", ("queries.dev.tsv", b"1\tcat\n")),
}
SEEDS: Mapping[str, bytes] = {
    "a filter": b'year >= 2020 and lang in (en, "pt-BR") and not exists(withdrawn)',
    "a location": b"opensearchs://me@host:9200/passages",
    "a connections file": b'["search:9200"]\nuser = "me"\npassword_env = "X"\nretries = 3\n',
    "settings": Fusion().to_json(),
    "model.json": b'{"format_version": 2, "fingerprint": "ab", "checksum": "cd"}',
    "a hits answer": b'{"hits": {"hits": [{"_id": "a", "_score": 1.0, "_source": {"id": "a", "text": "t"}}]}}',
    "documents.jsonl": _DOCUMENTS[1],
    "qrels.tsv": b"query-id\tcorpus-id\tscore\nq1\td1\t1\n",
    "collection.tsv": b"0\tthe cat\n1\tthe dog\n",
}
"""What each is given first."""

with contextlib.suppress(OSError):
    _FOLDER.chmod(0o700)
