"""Training losses: pure functions on score matrices.

A batch of b examples is scored against m candidate documents: column i < b is the positive of query i, and the columns
from b on are hard negatives, k for each of the first l examples in order, so m = b + l * k. Every loss takes a
mask (b, m), True where a candidate must not count as a negative of the query, as it is one of its positives.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from hybrid_search.settings.index import Similarity
from hybrid_search.settings.training import TripletMining

__all__ = [
    "alignment",
    "contrastive",
    "distances",
    "info_nce",
    "kl_divergence",
    "margin_mse",
    "own_columns",
    "similarities",
    "triplet",
]


def similarities(queries: Tensor, documents: Tensor, similarity: Similarity) -> Tensor:
    """Score all queries against all documents as the index will rank them: higher is nearer.

    :param queries: (b, d); of unit length if the similarity is ``cosine`` (the towers ensure that).
    :param documents: (m, d).
    :return: (b, m): the inner product, or for ``l2`` the negative squared distance.
    """
    products = queries @ documents.T
    if similarity != "l2":
        return products
    squares = queries.square().sum(1, keepdim=True) + documents.square().sum(1)
    return -(squares - 2 * products).clamp(min=0)


def distances(queries: Tensor, documents: Tensor, distance: Similarity) -> Tensor:
    """Return distances for the margin losses, (b, m): 1 - cosine (0..2), minus the inner product, or Euclidean."""
    if distance == "cosine":
        return 1 - functional.normalize(queries, dim=1) @ functional.normalize(documents, dim=1).T
    if distance == "dot":
        return -(queries @ documents.T)
    # The root's slope is infinite at 0, where the towers agree; the minimum keeps the gradient finite.
    return (-similarities(queries, documents, "l2")).clamp(min=1e-12).sqrt()


def own_columns(batch: int, candidates: int, each: int) -> Tensor:
    """Return the columns of each example's positive and own hard negatives: (l, 1 + k) int64.

    :param each: k, at least 1.
    """
    positives = torch.arange((candidates - batch) // each).unsqueeze(1)
    return torch.cat([positives, batch + positives * each + torch.arange(each)], dim=1)


def info_nce(scores: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of the positive among all candidates (van den Oord et al. 2018, eq. 4).

    :param scores: (b, m) similarities, divided by the temperature.
    """
    targets = torch.arange(len(scores), device=scores.device)
    counted = scores.masked_fill(mask & ~_diagonal(mask), float("-inf"))
    return functional.cross_entropy(counted, targets)


def triplet(distance: Tensor, mask: Tensor, *, margin: float, mining: TripletMining, each: int = 1) -> Tensor:
    """Mean of max(0, d(q, positive) - d(q, negative) + margin), one negative a query (Schroff et al. 2015).

    :param distance: (b, m), of :func:`distances`.
    :param mining: ``given``: the query's own hard negatives (all of them); ``batch_hard``: the nearest candidate of the
        batch (Hermans et al. 2017); ``semi_hard``: the nearest one that is farther than the positive, or the farthest
        if there is none.
    :param each: number of hard negatives per example, used by ``given``.
    """
    positive = distance.diagonal().unsqueeze(1)  # (b, 1)
    barred = mask | _diagonal(distance)
    if mining == "given":
        own = own_columns(len(distance), distance.shape[1], each)[:, 1:]  # (l, k)
        labelled = len(own)
        violations = functional.relu(positive[:labelled] - distance[:labelled].gather(1, own) + margin)
        allowed = ~barred[:labelled].gather(1, own)
        return (violations * allowed).sum() / allowed.sum().clamp(min=1)
    nearest = distance.masked_fill(barred, float("inf"))
    if mining == "semi_hard":
        farther = nearest.masked_fill(distance <= positive, float("inf")).min(1).values
        farthest = distance.masked_fill(barred, float("-inf")).max(1).values
        negative = torch.where(torch.isfinite(farther), farther, farthest)
    else:
        negative = nearest.min(1).values
    usable = torch.isfinite(negative)
    violations = functional.relu(positive.squeeze(1) - negative.masked_fill(~usable, 0.0) + margin)
    return (violations * usable).sum() / usable.sum().clamp(min=1)


def contrastive(distance: Tensor, mask: Tensor, *, margin: float) -> Tensor:
    """Half the mean of d² over the positives, plus half that of max(0, margin - d)² (Hadsell et al. 2006, eq. 4).

    The second mean is over the candidates nearer than the margin: the others have no gradient, and with them the
    positives' gradient would dominate in large batches.

    :param distance: (b, m), of :func:`distances`.
    """
    pull = distance.diagonal().square().mean()
    push = functional.relu(margin - distance).square().masked_fill(mask | _diagonal(distance), 0.0)
    return 0.5 * (pull + push.sum() / (push > 0).sum().clamp(min=1))


def margin_mse(scores: Tensor, teacher: Tensor) -> Tensor:
    """Squared error of the student's margin, positive over negative, against the teacher's (Hofstätter et al. 2020).

    :param scores: (l, 1 + k) the student's scores of the positive and of each negative.
    :param teacher: (l, 1 + k) the teacher's scores of the same documents.
    """
    return functional.mse_loss(scores[:, :1] - scores[:, 1:], teacher[:, :1] - teacher[:, 1:])


def kl_divergence(scores: Tensor, teacher: Tensor) -> Tensor:
    """KL divergence of the student's distribution over a query's candidates from the teacher's, mean over queries.

    :param scores: (l, 1 + k) the student's scores, divided by the temperature.
    :param teacher: (l, 1 + k) the teacher's scores.
    """
    student, target = functional.log_softmax(scores, dim=1), functional.log_softmax(teacher, dim=1)
    return functional.kl_div(student, target, reduction="batchmean", log_target=True)


def alignment(vectors: Tensor, targets: Tensor) -> Tensor:
    """Mean of 1 - cosine between vectors (n, d) and the teacher's (n, d), from 0 to 2."""
    return (1 - functional.cosine_similarity(vectors, targets, dim=1)).mean()


def _diagonal(matrix: Tensor) -> Tensor:
    return torch.eye(*matrix.shape, dtype=torch.bool, device=matrix.device)
