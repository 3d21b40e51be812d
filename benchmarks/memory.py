"""The memory module, forward and backward, against the released arithmetic: `python -m benchmarks.memory [--json]`.

`--shapes` picks what is measured: `paper` the paper's size, `N`, `K`, `length`, `batch` and `views` how the cost grows
with each, `formulations` the ways to respond that were tried, `small` a quick check that everything runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import Row, alternate, arguments, matmul_peak, megabytes, operations, ready, show
from benchmarks.released import respond as released
from r2cmn.kernels import topk as queried
from r2cmn.memory import MemoryNetwork

# (batch, length of one view, views, N, K)
SHAPES = {
    "paper": [(16, 49, 1, 2048, 32), (16, 49, 2, 2048, 32), (16, 100, 1, 2048, 32)],
    "N": [(16, 49, 1, n, min(32, n)) for n in (32, 128, 512, 1024, 2048, 4096)],
    "K": [(16, 49, 1, 2048, k) for k in (1, 8, 32, 128, 512)],
    "length": [(16, length, 1, 2048, 32) for length in (49, 60, 100)],
    "batch": [(batch, 49, 1, 2048, 32) for batch in (1, 4, 16)],
    "views": [(16, 49, views, 2048, 32) for views in (1, 2)],
    "small": [(2, 9, 1, 64, k) for k in (1, 64)],
}
Respond = Callable[[MemoryNetwork, Tensor], Tensor]


def ours(network: MemoryNetwork, features: Tensor) -> Tensor:
    """Respond as the library does."""
    return network(features)


def dense(network: MemoryNetwork, features: Tensor) -> Tensor:
    """Respond by the masked dense product, M projected once."""
    return _respond(network, features, queried.dense_score, queried.dense_respond)


def embedding_bag(network: MemoryNetwork, features: Tensor) -> Tensor:
    """Respond by an embedding bag after a dense scoring."""
    return _respond(network, features, queried.dense_score, queried.sparse_respond)


def sparse(network: MemoryNetwork, features: Tensor) -> Tensor:
    """Respond and score by the queried rows alone."""
    return _respond(network, features, queried.sparse_score, queried.sparse_respond)


def gather(network: MemoryNetwork, features: Tensor) -> Tensor:
    """Respond by a copy of the K values of every row, M projected once."""

    def respond(weights: Tensor, index: Tensor, values: Tensor) -> Tensor:
        read = values.unsqueeze(1).expand(-1, index.shape[1], -1, -1)
        read = read.gather(2, index.unsqueeze(-1).expand(*index.shape, values.shape[2]))
        return (weights.unsqueeze(2) @ read).squeeze(2)

    return _respond(network, features, queried.dense_score, respond)


def _respond(network: MemoryNetwork, features: Tensor, score: Any, respond: Any) -> Tensor:
    keys, values = network._project_matrix()
    queries = network._split(network.query(features.flatten(0, 1)))
    kept, index = score(queries * queries.shape[-1] ** -0.5, keys, network.num_queried)
    responses = respond(network.dropout(kept.softmax(-1)), index, values)
    return network.output(responses.transpose(0, 1).reshape(features.shape))


def prepare(respond: Respond, shape: tuple[int, ...]) -> Callable[[], None]:
    """Return one forward and backward pass over features of a shape."""
    batch, length, views, num_vectors, num_queried = shape
    network = MemoryNetwork(512, num_vectors, num_queried, 8).train()
    features = torch.randn(batch, length * views, 512, requires_grad=True)

    def run() -> None:
        network.zero_grad()
        respond(network, features).sum().backward()

    return run


def measure(shape: tuple[int, ...], rounds: int, peak: float, with_memory: bool) -> Row:
    """Time both sides on one shape."""
    sides = {"ours": prepare(ours, shape), "released": prepare(released, shape)}
    seconds = alternate(sides, rounds)
    batch, length, views, num_vectors, num_queried = shape
    row: Row = {"B": batch, "L": length, "views": views, "N": num_vectors, "K": num_queried}
    row |= {"ours, s": seconds["ours"], "released, s": seconds["released"]}
    row |= {"ratio": seconds["released"] / seconds["ours"]}
    row |= {"share of peak": operations(sides["ours"]) / seconds["ours"] / peak}
    if with_memory:
        extra, theirs = (megabytes(prepare, side, shape)[1] for side in (ours, released))
        row |= {"ours, + MB": extra, "released, + MB": theirs}
    return row


def compare_formulations(rounds: int, with_compile: bool) -> list[Row]:
    """Time every formulation that was tried at the paper's size, and with few and many vectors queried."""
    rows = []
    for num_queried in (1, 32, 512):
        shape = (16, 49, 1, 2048, num_queried)
        ways = {f.__name__: prepare(f, shape) for f in (ours, dense, embedding_bag, sparse, gather)}
        if with_compile:
            ways["dense, compiled"] = prepare(torch.compile(dense), shape)
        rows.append({"K": num_queried, **alternate(ways, rounds)})
    return rows


def main() -> None:
    """Print the table."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--shapes", choices=[*SHAPES, "formulations"], default="paper")
    parser.add_argument("--compile", action="store_true", help="also a compiled formulation (takes a minute)")
    options = parser.parse_args()
    ready(options)
    peak = matmul_peak()
    if options.shapes == "formulations":
        show(compare_formulations(options.rounds, options.compile), options.json, peak)
        return
    shapes = SHAPES[options.shapes]
    rows = [measure(shape, options.rounds, peak, options.shapes == "paper") for shape in shapes]
    show(rows, options.json, peak)


if __name__ == "__main__":
    main()
