"""What the networks of search are fitted to: the order that the grades of a list ask for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

GRADE_SHARPNESS = 6.0


def pairwise(scores: Tensor, grades: Tensor, lists: Tensor, weights: Tensor) -> Tensor:
    """Logistic loss over all pairs of one list that differ in grade, weighted by the difference.

    `grades` lie in [0, 1]; `lists` says which list a row belongs to.
    Source: Burges et al. 2005 ("Learning to Rank using Gradient Descent"), equation 3.
    """
    ahead = (grades[:, None] - grades[None]).clamp(min=0.0) * (lists[:, None] == lists[None])
    ahead = ahead * weights[:, None] * weights[None]
    loss = (ahead * nn.functional.softplus(scores[None] - scores[:, None])).sum()
    return loss / ahead.sum().clamp(min=1e-3)


def graded(logits: Tensor, grades: Tensor, weights: Tensor) -> Tensor:
    """Cross entropy of the logit against the grade, in [0, 1], taken as a probability."""
    loss = nn.functional.binary_cross_entropy_with_logits(logits, grades, reduction="none")
    return (weights * loss).sum() / weights.sum().clamp(min=1e-6)


def in_batch(
    queries: Tensor, products: Tensor, lists: Tensor, grades: Tensor, scale: float
) -> Tensor:
    """Each product against those of the batch's other queries, weighted by its grade.

    `queries` are (lists, width), `products` (rows, width); the negatives of a query are the
    products of the others. Source: Henderson et al. 2017 ("Efficient Natural Language Response
    Suggestion for Smart Reply"), section 4.4.
    """
    against = queries @ products.T * scale  # (lists, rows)
    own = lists[None] == torch.arange(len(queries))[:, None]
    others = torch.logsumexp(against.masked_fill(own, -torch.inf), dim=1)[lists]
    mine = against[lists, torch.arange(len(lists))]
    loss = nn.functional.softplus(others - mine)
    return (grades * loss).sum() / grades.sum().clamp(min=1e-3)
