"""The scores of the K queried vectors (Eqs. 7-10) and their responses (Eqs. 12-13).

Both have two formulations with the same result. The dense one is a matrix product over all N vectors with weights that
are zero except for the K queried; its cost does not depend on K. The sparse one reads only the K rows: an embedding bag
forward and backward, and scores that are not stored. On CPUs the sparse one is faster from N = 32 K on (figures in
`benchmarks/README.md`). Other devices were not measured and use the dense one.

Shapes: T threads, R rows, N vectors, K queried, d dimensions of a thread.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.autograd.function import once_differentiable

SPARSE_FROM = 32
"""N / K from which the sparse formulation is faster on a CPU."""

_SCORES_AT_ONCE = 2**21
"""Scores in memory at a time: 8 MB in float32, which fit into a processor's cache."""


class Queried(NamedTuple):
    """The vectors that rows of features query, and their weights.

    Attributes:
        weights: (T, R, K), which sum to 1 over K, Eqs. 9-10.
        vectors: (T, R, K) int64, the numbers of the vectors.
    """

    weights: Tensor
    vectors: Tensor


def score(queries: Tensor, keys: Tensor, num_queried: int) -> tuple[Tensor, Tensor]:
    """Return the K largest scores of queries (T, R, d) with keys (T, N, d), and their numbers, both (T, R, K)."""
    if _is_sparse(queries, keys.shape[1], num_queried):
        return sparse_score(queries, keys, num_queried)
    return dense_score(queries, keys, num_queried)


def respond(weights: Tensor, queried: Tensor, values: Tensor) -> Tensor:
    """Sum the values (T, N, d) of the queried vectors (T, R, K) with their weights (T, R, K): (T, R, d)."""
    if _is_sparse(weights, values.shape[1], weights.shape[2]):
        return sparse_respond(weights, queried, values)
    return dense_respond(weights, queried, values)


def dense_score(queries: Tensor, keys: Tensor, num_queried: int) -> tuple[Tensor, Tensor]:
    """`score` by a matrix product; all scores (T, R, N) are stored."""
    kept, queried = (queries @ keys.transpose(1, 2)).topk(num_queried, dim=-1, sorted=False)
    return kept, queried


def dense_respond(weights: Tensor, queried: Tensor, values: Tensor) -> Tensor:
    """`respond` by one matrix product per thread, with weights (T, R, N) that are zero except for the queried."""
    dense = weights.new_zeros(*weights.shape[:2], values.shape[1]).scatter(-1, queried, weights)
    return dense.to(values.dtype) @ values


def sparse_score(queries: Tensor, keys: Tensor, num_queried: int) -> tuple[Tensor, Tensor]:
    """`score` whose gradient reads and writes only the K rows; it is zero elsewhere."""
    return _SparseScores.apply(queries, keys, num_queried)


def sparse_respond(weights: Tensor, queried: Tensor, values: Tensor) -> Tensor:
    """`respond` by one embedding bag, whose table is the vectors of all threads."""
    threads, num_vectors, size = values.shape
    table = values.transpose(0, 1).reshape(num_vectors * threads, size).to(weights.dtype)
    index = queried * threads + torch.arange(threads, device=queried.device)[:, None, None]
    bags = F.embedding_bag(index.flatten(0, 1), table, mode="sum", per_sample_weights=weights.flatten(0, 1))
    return bags.view(threads, -1, size)


class _SparseScores(torch.autograd.Function):
    """The K largest scores. The gradient of a query is a response, with the gradients as weights and keys as values."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, num_queried: int) -> tuple[Tensor, Tensor]:
        """Score a few threads at a time, so that not all scores are in memory at once."""
        num_threads = max(1, _SCORES_AT_ONCE // max(1, queries.shape[1] * keys.shape[1]))
        pairs = zip(queries.split(num_threads), keys.split(num_threads), strict=True)
        parts = [dense_score(*pair, num_queried) for pair in pairs]
        kept, queried = (torch.cat(part) for part in zip(*parts, strict=True))
        ctx.save_for_backward(queries, keys, queried)
        ctx.mark_non_differentiable(queried)
        return kept, queried

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None]:
        """Return the gradients of queries and keys."""
        queries, keys, queried = ctx.saved_tensors
        with torch.enable_grad():
            table = keys.detach().requires_grad_()
            grad_queries = sparse_respond(grad, queried, table)
        (grad_keys,) = torch.autograd.grad(grad_queries, table, queries)
        return grad_queries.detach(), grad_keys, None


def _is_sparse(rows: Tensor, num_vectors: int, num_queried: int) -> bool:
    is_cpu = rows.device.type == "cpu" and not torch.compiler.is_compiling()
    return is_cpu and num_vectors >= SPARSE_FROM * num_queried
