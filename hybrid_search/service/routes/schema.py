"""What requests and answers look like, for checking the one and describing both under ``/docs``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr
from pydantic_core import PydanticCustomError

from hybrid_search.types import is_unicode

__all__ = [
    "AddRequest",
    "Added",
    "BatchAnswer",
    "BatchRequest",
    "Deleted",
    "DocumentShown",
    "Documents",
    "EmbedAnswer",
    "EmbedRequest",
    "Judging",
    "Neighbours",
    "NeighboursRequest",
    "NewDocument",
    "Noted",
    "ProblemShown",
    "SearchAnswer",
    "SearchRequest",
    "State",
    "Stats",
    "TextsToEncode",
    "Towers",
]

Mode = Literal["hybrid", "bm25", "knn"]
MetadataValue = StrictStr | StrictBool | StrictInt | StrictFloat | list[StrictStr]
Metadata = dict[str, MetadataValue]


def _unicode(text: str) -> str:
    if not is_unicode(text):
        raise PydanticCustomError("lone_surrogate", "has a lone surrogate")
    return text


Text = Annotated[StrictStr, AfterValidator(_unicode)]
"""What is searched, encoded or judged: an index takes no document with a lone surrogate either."""


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _HowToSearch(_Asked):
    k: Annotated[StrictInt, Field(ge=1, le=10_000, description="How many hits.")] = 10
    mode: Annotated[
        Mode | None,
        Field(description="Which legs search; left out: hybrid, or bm25 where the index has no vectors."),
    ] = None
    weight: Annotated[
        float | None,
        Field(
            ge=0, le=1, allow_inf_nan=False, strict=True,
            description="BM25's weight in the hybrid, the vectors have the rest; left out: the index's own.",
        ),
    ] = None  # fmt: skip
    filter: Annotated[
        Text | None, Field(max_length=20_000, description='Such as: year >= 2020 and lang in (en, "pt-BR").')
    ] = None
    page: Annotated[StrictInt | None, Field(ge=1, le=10_000, description="The page of k hits, from 1.")] = None
    offset: Annotated[
        StrictInt | None, Field(ge=0, le=10_000, description="How many hits to skip, in place of a page.")
    ] = None
    explain: Annotated[StrictBool, Field(description="Show what each leg contributed to a hit.")] = False
    group: Annotated[
        StrictInt | None,
        Field(
            ge=0, le=100,
            description="Of an index of passages: a hit for each document, with at most so many of its passages; 0 for "
            "a hit for each passage. Left out: documents with up to 3.",
        ),
    ] = None  # fmt: skip
    highlight: Annotated[StrictBool, Field(description="Show where a hit matched, and a snippet.")] = False
    min_score: Annotated[
        float | None, Field(allow_inf_nan=False, description="Leave out hits that score less, on the mode's scale.")
    ] = None
    min_bm25: Annotated[
        float | None, Field(allow_inf_nan=False, description="Of the hybrid's BM25 leg: what scores less is not found.")
    ] = None
    min_knn: Annotated[float | None, Field(allow_inf_nan=False, description="The same of its k-NN leg.")] = None
    rerank: Annotated[
        StrictBool | None,
        Field(description="Score the first hits anew by the service's reranker; left out: if it has one."),
    ] = None
    diversity: Annotated[
        float | None,
        Field(
            ge=0, le=1, allow_inf_nan=False, strict=True,
            description="How much hits should differ from those before them (maximal marginal relevance).",
        ),
    ] = None  # fmt: skip


class SearchRequest(_HowToSearch):
    """One query."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"query": "how is a key rotated", "k": 3, "explain": True}]}
    )

    query: Text
    total: Annotated[StrictBool, Field(description="Count the documents that match.")] = False
    facets: Annotated[
        list[Text], Field(max_length=20, description="Metadata fields whose values are counted over the matches.")
    ] = []


class BatchRequest(_HowToSearch):
    """Several queries, answered alike."""

    queries: Annotated[list[Text], Field(min_length=1)]


class LegShown(BaseModel):
    """What a leg contributed: raw score, rank, normalised score, weight, and its share of the hit's score."""

    score: float
    rank: int
    normalised: float
    weight: float
    share: float
    distance: Annotated[float | None, Field(description="Of the k-NN leg: the vectors' distance.")] = None


Span = Annotated[list[int], Field(min_length=2, max_length=2)]


class HighlightsShown(BaseModel):
    """Where a hit matched: the first character of each place and the one after its last, in Unicode characters."""

    title: list[Span]
    text: list[Span]
    snippet: str
    in_snippet: list[Span]


class PassageShown(BaseModel):
    """A passage of a document that was found by it."""

    id: str
    rank: int
    score: float
    text: str


class FirstStage(BaseModel):
    """Rank and score of a hit before it was ranked again."""

    rank: int
    score: float


class HitShown(BaseModel):
    """A document that was found."""

    rank: int
    id: str
    score: float
    distance: Annotated[float | None, Field(description="The vectors' distance, if the k-NN leg found it.")] = None
    title: str
    text: str
    metadata: Metadata
    legs: Annotated[dict[str, LegShown] | None, Field(description="With explain only.")] = None
    first_stage: Annotated[FirstStage | None, Field(description="With explain, of a hit that was ranked again.")] = None
    highlights: Annotated[HighlightsShown | None, Field(description="With highlight only.")] = None
    passages: Annotated[
        list[PassageShown] | None, Field(description="Of a document that was found by its passages: the best of them.")
    ] = None


class ValueCount(BaseModel):
    """How many matching documents have a value."""

    value: StrictStr | StrictBool | StrictInt | StrictFloat
    count: int


class SearchAnswer(BaseModel):
    """The hits of a query, best first."""

    query: str
    mode: Mode
    weight: Annotated[float | None, Field(description="BM25's weight; null unless the mode is hybrid.")]
    offset: int
    reranked: Annotated[bool, Field(description="Whether a reranker gave the scores.")]
    took_ms: float
    total: Annotated[int | None, Field(description="With total or facets only: how many documents match.")] = None
    is_exact: Annotated[bool | None, Field(description="Whether these numbers are exact, or else at least so.")] = None
    facets: Annotated[dict[str, list[ValueCount]] | None, Field(description="With facets only.")] = None
    hits: list[HitShown]


class BatchAnswer(BaseModel):
    """The hits of each query, in the order of the queries."""

    mode: Mode
    weight: float | None
    offset: int
    reranked: Annotated[bool, Field(description="Whether a reranker gave the scores.")]
    took_ms: float
    results: list[list[HitShown]]


class NewDocument(_Asked):
    """A document to add, or to put in the place of the one with its id."""

    id: StrictStr
    text: StrictStr = ""
    title: StrictStr = ""
    metadata: Metadata = {}


class AddRequest(_Asked):
    """Documents to add."""

    documents: Annotated[list[NewDocument], Field(min_length=1)]


class RejectionShown(BaseModel):
    """A document that was refused, and why."""

    id: str
    field: str
    reason: str


class Added(BaseModel):
    """How many documents were taken, and which were not. What was taken is on disk, and is found from now on."""

    added: int
    rejected: list[RejectionShown]


class Deleted(BaseModel):
    """How many documents there were to delete."""

    deleted: int


class DocumentShown(BaseModel):
    """A document."""

    id: str
    title: str
    text: str
    metadata: Metadata


class Documents(BaseModel):
    """Documents in the order of their ids in the request, null for unknown ones."""

    documents: list[DocumentShown | None]


class EmbedRequest(_Asked):
    """Texts to encode, with the tower of queries or that of documents."""

    texts: Annotated[list[Text], Field(min_length=1)]
    tower: Literal["query", "document"] = "query"


class EmbedAnswer(BaseModel):
    """A vector for each text; all zeros for one without a known word."""

    fingerprint: str
    dimension: int
    vectors: list[list[float]]


class TextsToEncode(_Asked):
    """Texts to encode with the tower that the path names."""

    texts: Annotated[list[Text], Field(min_length=1)]


class Towers(BaseModel):
    """The model whose towers encode here, and the path to give to ``deploy --connector`` behind this address."""

    fingerprint: str
    dimension: int
    path: str


class State(BaseModel):
    """Whether the service is there."""

    status: str


class Stats(BaseModel):
    """What is served: the index, its metadata fields with their types, its model, the modes of searching."""

    location: str
    documents: int
    modes: list[Mode]
    weight: float
    window: int
    fields: dict[str, str]
    fingerprint: str
    dimension: int
    similarity: str
    writable: bool
    judges: Annotated[bool, Field(description="Whether judgements are noted.")]
    reranks: Annotated[bool, Field(description="Whether there is a reranker.")]
    engine: dict[str, object]


class NeighboursRequest(_Asked):
    """The document whose neighbours are wanted, by the vectors."""

    id: Text
    k: Annotated[StrictInt, Field(ge=1, le=100)] = 5


class Neighbours(BaseModel):
    """The documents nearest to one, without itself."""

    hits: list[HitShown]


class Judging(_Asked):
    """How relevant a document is to a query: 0 is not."""

    query: Text
    document_id: Text
    grade: Annotated[StrictInt, Field(ge=0, le=100)]


class Noted(BaseModel):
    """The judgement is on disk."""

    noted: bool


class FieldProblem(BaseModel):
    """What is wrong with one field of a body."""

    field: str
    reason: str


class ProblemShown(BaseModel):
    """A problem's details (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str = ""
    instance: str = ""
    errors: list[FieldProblem] = []
