"""How fast are passages loaded into a server: our loader, opensearch-py's helpers with defaults, and tuned by hand?

Same server, same 41,751 passages, same vectors (made beforehand), same mapping, a fresh index each time. The clock runs
from the first document until all of them are found after a refresh. The ways take turns; their medians are compared.

The node of the tests compiles nothing well. For one like a real server's:
OPENSEARCH_JAVA_OPTS="-Xms2g -Xmx2g -XX:TieredStopAtLevel=4" make opensearch
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from opensearchpy import OpenSearch, helpers

from benchmarks.harness import passages, write_result
from benchmarks.search import untrained_towers
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.index.document_json import to_source
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.errors import UsageError
from hybrid_search.loading.into_server import ServerLoad, ServerLoading
from hybrid_search.loading.journal import Journal
from hybrid_search.location import Address
from hybrid_search.protocols import Reporter, Vectors
from hybrid_search.settings.index import IndexSettings, Similarity
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.types import Document, Rejection

REPETITIONS = 3
TUNED = ((2, 500), (4, 500), (4, 1_000), (8, 250))
"""Threads and chunks from which the best is chosen for ``parallel_bulk``."""


class Ready:
    """Hands out vectors that were made beforehand, in the order of the documents."""

    fingerprint = "load-benchmark"
    similarity: Similarity = "cosine"

    def __init__(self, vectors: Vectors) -> None:
        self.dimension = vectors.shape[1]
        self._vectors = vectors
        self._given = 0

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Return the next vectors."""
        first, self._given = self._given, self._given + len(texts)
        return self._vectors[first : self._given]

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Refuse: loading asks no queries, and one that did would be a mistake of this benchmark."""
        raise UsageError("the vectors of this benchmark are for documents; it asks no queries")


Figures = dict[str, float]
Way = Callable[["Bench"], None]


@dataclass(frozen=True)
class Bench:
    """One server, and what goes into it."""

    location: str
    documents: Sequence[Document]
    vectors: Vectors

    @property
    def index(self) -> str:
        """The index's name."""
        return Address.parse(self.location).index

    def ours(self) -> None:
        """Load with our loader's defaults."""
        encoder = Ready(self.vectors)
        with OpenSearchEngine.open(self.location, writable=True) as engine:
            journal = Journal(self.location, "load-benchmark")
            reporter = Reporter(reject=_not_expected)
            ServerLoading(engine, encoder, ServerLoad(), journal, reporter).run(iter(self.documents))

    def helpers_bulk(self) -> None:
        """``opensearchpy.helpers.bulk`` with its defaults."""
        with closing(OpenSearch([Address.parse(self.location).server], timeout=120)) as client:
            helpers.bulk(client, self._actions())
            client.indices.refresh(index=self.index)

    def parallel_bulk(self, threads: int, chunk: int, *, refreshing: bool) -> None:
        """``opensearchpy.helpers.parallel_bulk``, refreshing off for the load unless told otherwise."""
        with closing(OpenSearch([Address.parse(self.location).server], timeout=120, maxsize=threads)) as client:
            if not refreshing:
                client.indices.put_settings(index=self.index, body={"refresh_interval": "-1"})
            for taken, answer in helpers.parallel_bulk(
                client, self._actions(), thread_count=threads, chunk_size=chunk, queue_size=threads
            ):
                if not taken:
                    raise SystemExit(str(answer))
            client.indices.refresh(index=self.index)

    def measured(self, way: Way) -> Figures:
        """Time one way over a fresh index: documents/s, and each side's processor time in milliseconds a document."""
        OpenSearchEngine.drop(self.location)
        settings = IndexSettings(fingerprint=Ready.fingerprint, dimension=self.vectors.shape[1])
        OpenSearchEngine.create(self.location, settings).close()
        count = len(self.documents)
        with closing(Client(Address.parse(self.location))) as client:
            server_before, client_before, started = _server_seconds(client), time.process_time(), time.perf_counter()
            way(self)
            found = client.call("GET", f"/{self.index}/_count")["count"]
            seconds = time.perf_counter() - started
            if found != count:
                raise SystemExit(f"{found} of {count} documents are found")
            return {
                "documents/s": round(count / seconds),
                "client ms/document": round((time.process_time() - client_before) / count * 1e3, 3),
                "server ms/document": round((_server_seconds(client) - server_before) / count * 1e3, 3),
            }

    def _actions(self) -> Iterator[dict[str, Any]]:
        for number, (document, vector) in enumerate(zip(self.documents, self.vectors, strict=True)):
            source = to_source(document, vector.tolist()) | {"added": number}
            yield {"_index": self.index, "_id": document.id, "_source": source}


def main() -> None:
    """Choose the best of the tuned ways on a part, then let all take turns on the whole."""
    arguments = _arguments()
    documents = passages()[: arguments.documents]
    bench = Bench(arguments.location, documents, _vectors(documents))
    part = Bench(bench.location, documents[: arguments.tune], bench.vectors[: arguments.tune])
    part.measured(Bench.ours)  # the server's compilers have seen the work before anything counts
    part.measured(Bench.helpers_bulk)
    tuning = {sizes: part.measured(_tuned(*sizes))["documents/s"] for sizes in TUNED}
    threads, chunk = max(tuning, key=lambda sizes: tuning[sizes])
    ways: dict[str, Way] = {
        "ours": Bench.ours,
        "helpers.bulk": Bench.helpers_bulk,
        f"parallel_bulk, {threads} threads, chunks of {chunk}, refreshing off": _tuned(threads, chunk),
        f"parallel_bulk, {threads} threads, chunks of {chunk}": _tuned(threads, chunk, refreshing=True),
    }
    runs: dict[str, list[Figures]] = {name: [] for name in ways}
    for _ in range(REPETITIONS):
        for name, way in ways.items():
            runs[name].append(bench.measured(way))
            print(name, runs[name][-1], file=sys.stderr, flush=True)
    OpenSearchEngine.drop(bench.location)
    medians = {name: _median(figures) for name, figures in runs.items()}
    ratios = {name: round(medians["ours"]["documents/s"] / medians[name]["documents/s"], 2) for name in ways}
    figures = {
        "passages": len(documents),
        "dimension": bench.vectors.shape[1],
        "tuning, documents/s": {f"{t} threads, chunks of {c}": rate for (t, c), rate in tuning.items()},
        "medians": medians,
        "ours is so many times as fast": ratios,
        "runs, documents/s": {name: [one["documents/s"] for one in figures] for name, figures in runs.items()},
    }
    write_result("opensearch_load", figures, command="python -m benchmarks.opensearch_load LOCATION")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("location", help="such as opensearch://127.0.0.1:9200/bench-load; make opensearch starts one")
    parser.add_argument("--documents", type=int, help="only so many")
    parser.add_argument("--tune", type=int, default=8_000, help="documents of the part on which tuning is done")
    return parser.parse_args()


def _vectors(documents: Sequence[Document]) -> Vectors:
    with tempfile.TemporaryDirectory() as folder:
        encoder = OnnxEncoder.load(untrained_towers(Path(folder) / "model"))
        return encoder.encode_documents([document.searchable_text for document in documents])


def _tuned(threads: int, chunk: int, *, refreshing: bool = False) -> Way:
    return partial(Bench.parallel_bulk, threads=threads, chunk=chunk, refreshing=refreshing)


def _median(figures: Sequence[Figures]) -> Figures:
    return {name: statistics.median(one[name] for one in figures) for name in figures[0]}


def _server_seconds(client: Client) -> float:
    nodes = client.call("GET", "/_nodes/stats/process")["nodes"].values()
    milliseconds = [int(node["process"]["cpu"]["total_in_millis"]) for node in nodes]
    return sum(milliseconds) / 1e3


def _not_expected(rejection: Rejection) -> None:
    raise SystemExit(f"rejected: {rejection.reason}")


if __name__ == "__main__":
    main()
