"""The two towers: a network for queries and one for documents, with a common vector space."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hybrid_search.settings.training import TowerConfig
from hybrid_search.towers.networks.encoders import (
    ENCODERS,
    AttentionPooling,
    build_head,
    pool,
    unit_or_zero,
    weighted_mean,
)
from hybrid_search.towers.padding import batches_by_length, pad_ids
from hybrid_search.towers.tokenizer import PAD, UNK
from hybrid_search.towers.word_vectors import sif_weights

__all__ = ["Reading", "Tower", "TwoTower", "cosines_to_shuffled", "seeded_towers"]

_AT_ONCE = 4_096  # tokens
_FEWEST = 3  # tokens of a text that can be shuffled to something else worth the name


class Reading(NamedTuple):
    """What a tower's word vectors and encoder make of texts, before its last layers.

    :ivar pooled: (n, w) the pooled states; None where the encoder is skipped.
    :ivar mean: (n, d) the weighted mean of the word vectors; None without a residual path.
    """

    pooled: Tensor | None
    mean: Tensor | None


class Tower(nn.Module):
    """One tower: word vectors, encoder, pooling, head, and the residual path with the weighted mean of word vectors.

    With ``adapted``, a second table, the shift, is added to both sides' word vectors behind the encoder, which does not
    read it: so all of it can be trained without running the encoder.
    """

    def __init__(self, config: TowerConfig, embedding: nn.Embedding, log_weights: Tensor) -> None:
        super().__init__()
        self.config = config
        self.embedding = embedding
        self.encoder = ENCODERS[config.encoder](config)
        self.attention = AttentionPooling(self.encoder.width) if config.pooling == "attention" else None
        self.head = build_head(self.encoder.width, config)
        weighs_tokens = config.residual or config.pooling == "idf"
        self.log_weights = nn.Parameter(log_weights.clone(), requires_grad=weighs_tokens)
        self.projection = _rotation(config.embedding_dimension, config.dimension) if config.residual else None
        self.shift = _no_shift(embedding) if config.adapted else None
        self.skips_encoder = False

    def forward(self, ids: Tensor) -> Tensor:
        """Encode token ids.

        :param ids: (n, t) int64, padded on the right with 0.
        :return: (n, dimension) float32, of unit length with cosine similarity; exactly zero for a text without a known
            token.
        """
        known = (ids > UNK).to(self.log_weights.dtype).amax(dim=1, keepdim=True)
        return self.finished(self.read(ids), self._shift_of(ids), known)

    def read(self, ids: Tensor) -> Reading:
        """Return what the word vectors and the encoder make of texts, (n, t) ids."""
        mask = ids != PAD
        known = (ids > UNK).to(self.log_weights.dtype)
        embedded = self.embedding(ids)  # (n, t, d)
        weights = self.log_weights[ids].exp()  # (n, t)
        mean = None if self.projection is None else weighted_mean(embedded, weights * known)
        if self.projection is not None and self.skips_encoder:
            return Reading(None, mean)
        states = self.encoder(embedded, mask.sum(dim=1))  # (n, t, w)
        return Reading(self._pool(states, mask, weights), mean)

    def finished(self, reading: Reading, shift: Tensor | None, known: Tensor) -> Tensor:
        """Return the vectors of texts.

        :param shift: (n, d) mean of what :attr:`shift` has for their tokens; None without.
        :param known: (n, 1) 1 for texts with a known token, 0 for others.
        """
        pooled, mean = reading.pooled, reading.mean
        if shift is not None:
            if mean is not None:
                mean = mean + shift
            elif pooled is not None:
                pooled = pooled + shift
        parts = [] if pooled is None else [self.head(pooled)]
        if mean is not None and self.projection is not None:
            parts.insert(0, self.projection(mean))
        vectors: Tensor = (parts[0] + parts[1] if len(parts) > 1 else parts[0]) * known
        return unit_or_zero(vectors) if self.config.similarity == "cosine" else vectors

    def _shift_of(self, ids: Tensor) -> Tensor | None:
        if self.shift is None:
            return None
        return weighted_mean(self.shift(ids), self.log_weights[ids].exp() * (ids != PAD))

    def _pool(self, states: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
        if self.attention is not None:
            pooled: Tensor = self.attention(states, mask)
            return pooled
        if self.config.pooling == "idf":
            return weighted_mean(states, weights * mask)
        return pool(self.config.pooling, states, mask, self.encoder.backward_width)


class TwoTower(nn.Module):
    """Query tower and document tower.

    ``tied``: one network for both. ``shared_embeddings``: two networks over one table of word vectors. ``separate``:
    everything twice. Two networks start with equal weights, so that both sides share a vector space from the first
    step; if only documents are read in both directions, this applies to the weights that both have.

    :param vectors: (V, embedding_dimension) initial word vectors; random if not given.
    :param counts: (V,) corpus counts for the initial token weights (SIF); equal weights if not given.
    """

    def __init__(
        self,
        config: TowerConfig,
        vocabulary_size: int,
        *,
        vectors: NDArray[np.float32] | None = None,
        counts: NDArray[np.int64] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.vocabulary_size = vocabulary_size
        embedding = _embedding(vocabulary_size, config.embedding_dimension, vectors)
        weights = np.ones(vocabulary_size, np.float32) if counts is None else sif_weights(counts, config.sif_a)
        tower = Tower(config, embedding, torch.from_numpy(np.log(weights)))
        self.query_tower = tower if config.of_queries == config else _of_queries(tower)
        self.document_tower = tower if config.towers == "tied" else copy.deepcopy(tower)
        if config.towers == "shared_embeddings":
            self.query_tower.embedding = self.document_tower.embedding = embedding
        self.query_tower.shift = self.document_tower.shift

    def encode_queries(self, ids: Tensor) -> Tensor:
        """Encode (n, t) ids with the query tower; see :meth:`Tower.forward`."""
        vectors: Tensor = self.query_tower(ids)
        return vectors

    def encode_documents(self, ids: Tensor) -> Tensor:
        """Encode (n, t) ids with the document tower; see :meth:`Tower.forward`."""
        vectors: Tensor = self.document_tower(ids)
        return vectors

    def embedding_parameters(self) -> list[nn.Parameter]:
        """Return the tables of word vectors: one, or two with separate towers; and their shift, if there is one."""
        ends = (".embedding.weight", ".shift.weight")
        return [weight for name, weight in self.named_parameters() if name.endswith(ends)]

    def round_word_vectors(self) -> None:
        """Round the word vectors to float16, as they are stored; a text's vector changes by about 1e-4."""
        with torch.no_grad():
            for parameter in self.embedding_parameters():
                parameter.copy_(parameter.half().float())

    def freeze_embeddings(self, frozen: bool) -> None:
        """Set whether the word vectors are frozen."""
        for parameter in self.embedding_parameters():
            parameter.requires_grad_(not frozen)

    def skip_encoder(self, skip: bool) -> None:
        """Set whether towers with a residual path skip encoder and head, for the steps that train that path alone.

        As long as the head's last layer is zero, this does not change the vectors.
        """
        for tower in (self.query_tower, self.document_tower):
            tower.skips_encoder = skip

    def use_sparse_gradients(self, sparse: bool) -> None:
        """Set whether word vectors have sparse gradients, for ``torch.optim.SparseAdam``; faster for large tables."""
        for tower in (self.query_tower, self.document_tower):
            tower.embedding.sparse = sparse
            if tower.shift is not None:
                tower.shift.sparse = sparse


def seeded_towers(
    config: TowerConfig,
    vocabulary_size: int,
    *,
    vectors: NDArray[np.float32] | None = None,
    counts: NDArray[np.int64] | None = None,
    seed: int,
) -> TwoTower:
    """Make towers whose random weights depend on the seed alone; torch's generator is not changed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TwoTower(config, vocabulary_size, vectors=vectors, counts=counts)


def _of_queries(tower: Tower) -> Tower:
    """Make the query tower, which is smaller, with the document tower's weights where shapes agree."""
    made = Tower(tower.config.of_queries, copy.deepcopy(tower.embedding), tower.log_weights.detach())
    alike = tower.state_dict()
    own = made.state_dict()
    made.load_state_dict({n: alike[n] if n in alike and alike[n].shape == w.shape else w for n, w in own.items()})
    return made


def _embedding(size: int, dimension: int, vectors: NDArray[np.float32] | None) -> nn.Embedding:
    embedding = nn.Embedding(size, dimension, padding_idx=PAD)
    with torch.no_grad():
        if vectors is None:
            nn.init.normal_(embedding.weight, std=0.1)
        else:
            embedding.weight.copy_(torch.from_numpy(vectors))
        embedding.weight[PAD] = 0
    return embedding


def _no_shift(embedding: nn.Embedding) -> nn.Embedding:
    shift = nn.Embedding(embedding.num_embeddings, embedding.embedding_dim, padding_idx=PAD)
    nn.init.zeros_(shift.weight)
    return shift


def _rotation(width: int, dimension: int) -> nn.Linear:
    """Return an identity layer if the widths agree, else an orthogonal projection."""
    layer = nn.Linear(width, dimension, bias=False)
    if width == dimension:
        nn.init.eye_(layer.weight)
    else:
        nn.init.orthogonal_(layer.weight)
    return layer


def cosines_to_shuffled(
    towers: TwoTower, *, queries: Sequence[NDArray[np.int32]], documents: Sequence[NDArray[np.int32]], seed: int = 0
) -> Mapping[str, float]:
    """Return whether towers read the order of words, or see a bag of them, as numbers.

    The mean cosine between the vectors of texts and of their tokens in another order, by tower.

    1 means that a tower's vectors don't depend on order at all; how far below it a tower should be, no theory says.

    :param queries: tokens of each text; those of fewer than three are left out, and so is a tower without any others.
    """
    draw = np.random.default_rng(seed)
    towers.eval()
    found = {}
    sides: tuple[tuple[str, Callable[[Tensor], Tensor], Sequence[NDArray[np.int32]]], ...] = (
        ("queries", towers.encode_queries, queries),
        ("documents", towers.encode_documents, documents),
    )
    for name, encode, texts in sides:
        long = [text for text in texts if len(text) >= _FEWEST]
        if long:
            first, other = _encoded(encode, long), _encoded(encode, [draw.permutation(text) for text in long])
            found[name] = round(float(torch.cosine_similarity(first, other).mean()), 4)
    return found


def _encoded(encode: Callable[[Tensor], Tensor], texts: Sequence[NDArray[np.int32]]) -> Tensor:
    """Return the vectors of texts, whose order is that of their lengths."""
    with torch.inference_mode():
        batches = batches_by_length([len(text) for text in texts], _AT_ONCE)
        return torch.cat([encode(torch.from_numpy(pad_ids([texts[row] for row in rows]))) for rows in batches])
