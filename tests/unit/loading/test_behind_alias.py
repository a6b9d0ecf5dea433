"""The parts of blue/green that need no server: names, samples, what was refused."""

from __future__ import annotations

import pytest

from hybrid_search.engines.documents import refusal
from hybrid_search.errors import UsageError
from hybrid_search.loading.blue_green import RefusedIds, alias_address
from hybrid_search.loading.sources import Corpus, Reservoir
from hybrid_search.location import Address
from hybrid_search.types import Document, Rejection

DOCUMENTS = [Document(str(number), "text") for number in range(1_000)]


def test_the_alias_stands_beside_the_server_or_in_the_location() -> None:
    wanted = Address("host", 9200, "passages")
    assert alias_address("opensearch://host", "passages") == wanted
    assert alias_address("opensearch://host:9200/passages", None) == wanted
    assert alias_address("opensearch://host:9200/passages", "passages") == wanted


@pytest.mark.parametrize(
    ("location", "alias", "told"),
    [
        ("opensearch://host/a", "b", "names 'a' and alias 'b'"),
        ("opensearch://host", None, "which alias"),
        ("./index", "a", "not a server's location"),
        ("opensearch://host", "A B", "can't be an index's name"),
    ],
)
def test_an_alias_that_is_not_clear_is_refused(location: str, alias: str | None, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        alias_address(location, alias)


def test_a_reservoir_lets_everything_pass_and_keeps_a_sample_of_all_of_it() -> None:
    reservoir = Reservoir(50)
    stream = reservoir.watching(lambda: iter(DOCUMENTS))
    assert list(stream()) == DOCUMENTS
    assert len({document.id for document in reservoir.sample}) == 50
    places = sorted(int(document.id) for document in reservoir.sample)
    assert places[0] < 150
    assert places[-1] > 850
    assert 350 < sum(places) / 50 < 650
    assert list(Reservoir(50).watching(lambda: iter(DOCUMENTS[:3]))()) == DOCUMENTS[:3]


def test_a_reservoir_forgets_the_pass_before() -> None:
    reservoir = Reservoir(5)
    stream = reservoir.watching(lambda: iter(DOCUMENTS[:3]))
    assert [list(stream()), list(stream())] == [DOCUMENTS[:3]] * 2
    assert reservoir.sample == DOCUMENTS[:3]


def test_a_corpus_is_a_data_set_of_documents_alone() -> None:
    corpus = Corpus("documents of x", lambda: iter(DOCUMENTS[:2]))
    assert list(corpus.documents()) == DOCUMENTS[:2]
    assert (corpus.splits(), corpus.judgement_sets(), corpus.report()) == ((), (), {})
    assert [list(one) for one in (corpus.queries("x"), corpus.judgements("x"), corpus.examples("x"))] == [[], [], []]


class Collected(list[Rejection]):
    """As the dead-letter file: it also has what the data set's reader refused."""

    def __call__(self, rejection: Rejection) -> None:
        self.append(rejection)

    @property
    def count(self) -> int:
        return len(self) + 7


def test_ids_of_refused_documents_are_kept_and_the_rejections_passed_on() -> None:
    seen = Collected()
    refused, alone = RefusedIds(seen), RefusedIds(None)
    given = [
        refusal(DOCUMENTS[7], "text", "bad"),
        Rejection("file", 3, "", "not JSON", "{"),
        Rejection("f", 1, "", "x"),
    ]
    for one in given:
        refused(one)
        alone(one)
    assert refused.ids == alone.ids == {"7"}
    assert seen == given
    assert (refused.count, alone.count) == (10, 3)
