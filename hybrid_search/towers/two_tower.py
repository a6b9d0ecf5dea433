"""The two towers: one network for queries, one for documents, into one vector space."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hybrid_search.settings.training import TowerConfig
from hybrid_search.towers.networks import ENCODERS, AttentionPooling, build_head, pool, unit_or_zero, weighted_mean
from hybrid_search.towers.tokenizer import PAD, UNK
from hybrid_search.towers.word_vectors import sif_weights

__all__ = ["Tower", "TwoTower", "seeded_towers"]


class Tower(nn.Module):
    """One tower: word vectors, encoder, pooling, head, and the weighted mean of the word vectors beside them."""

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
        self.skips_encoder = False

    def forward(self, ids: Tensor) -> Tensor:
        """Encode token ids.

        :param ids: (n, t) int64, padded on the right with 0.
        :return: (n, dimension) float32, of unit length with cosine similarity; exactly zero for a text without a known
            token.
        """
        mask = ids != PAD
        known = (ids > UNK).to(self.log_weights.dtype)
        embedded = self.embedding(ids)  # (n, t, d)
        weights = self.log_weights[ids].exp()  # (n, t)
        if self.projection is None:
            vectors = self._encode(embedded, mask, weights)
        else:
            vectors = self.projection(weighted_mean(embedded, weights * known))
            if not self.skips_encoder:
                vectors = vectors + self._encode(embedded, mask, weights)
        vectors = vectors * known.amax(dim=1, keepdim=True)
        return unit_or_zero(vectors) if self.config.similarity == "cosine" else vectors

    def _encode(self, embedded: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
        states = self.encoder(embedded, mask.sum(dim=1))  # (n, t, w)
        vectors: Tensor = self.head(self._pool(states, mask, weights))
        return vectors

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
    all twice. Two networks start as equals, so that at the first step both sides speak of the same space; where only
    documents are read in both directions, as equals in all that queries have too.

    :param vectors: (V, embedding_dimension) initial word vectors, random if not given.
    :param counts: (V,) corpus counts, from which the token weights start (SIF); equal weights if not given.
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
        self.query_tower = _one_way(tower) if config.queries_are_read_forwards_alone else tower
        self.document_tower = tower if config.towers == "tied" else copy.deepcopy(tower)
        if config.towers == "shared_embeddings":
            self.query_tower.embedding = self.document_tower.embedding = embedding

    def encode_queries(self, ids: Tensor) -> Tensor:
        """Encode (n, t) ids with the query tower; see :meth:`Tower.forward`."""
        vectors: Tensor = self.query_tower(ids)
        return vectors

    def encode_documents(self, ids: Tensor) -> Tensor:
        """Encode (n, t) ids with the document tower; see :meth:`Tower.forward`."""
        vectors: Tensor = self.document_tower(ids)
        return vectors

    def embedding_parameters(self) -> list[nn.Parameter]:
        """Return the tables of word vectors: one, or two with separate towers."""
        return [weight for name, weight in self.named_parameters() if name.endswith(".embedding.weight")]

    def round_word_vectors(self) -> None:
        """Round the word vectors to what float16 can hold, as they are stored; a text's vector moves by about 1e-4."""
        with torch.no_grad():
            for parameter in self.embedding_parameters():
                parameter.copy_(parameter.half().float())

    def freeze_embeddings(self, frozen: bool) -> None:
        """Keep the word vectors as they are (true) or let training change them (false)."""
        for parameter in self.embedding_parameters():
            parameter.requires_grad_(not frozen)

    def skip_encoder(self, skip: bool) -> None:
        """Leave the encoder and its head out of towers with a residual path, for the steps that train that path alone.

        Until the head's last layer has moved from zero, the vectors are the same with and without.
        """
        for tower in (self.query_tower, self.document_tower):
            tower.skips_encoder = skip

    def use_sparse_gradients(self, sparse: bool) -> None:
        """Give the word vectors sparse gradients, which ``torch.optim.SparseAdam`` takes and large tables gain from."""
        for tower in (self.query_tower, self.document_tower):
            tower.embedding.sparse = sparse


def seeded_towers(
    config: TowerConfig,
    vocabulary_size: int,
    *,
    vectors: NDArray[np.float32] | None = None,
    counts: NDArray[np.int64] | None = None,
    seed: int,
) -> TwoTower:
    """Make towers whose random weights depend on the seed alone; torch's own generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TwoTower(config, vocabulary_size, vectors=vectors, counts=counts)


def _one_way(tower: Tower) -> Tower:
    """Make a tower that reads forwards alone; wherever its weights have the shape of the other's, it starts as that."""
    made = Tower(
        tower.config.replace(bidirectional=False, bidirectional_queries=True),
        copy.deepcopy(tower.embedding),
        tower.log_weights.detach(),
    )
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


def _rotation(width: int, dimension: int) -> nn.Linear:
    """Return the identity where the widths agree, else a projection that keeps lengths as far as it can."""
    layer = nn.Linear(width, dimension, bias=False)
    if width == dimension:
        nn.init.eye_(layer.weight)
    else:
        nn.init.orthogonal_(layer.weight)
    return layer
