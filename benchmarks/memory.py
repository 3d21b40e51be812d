"""Time of the memory module against the released arithmetic in our own words: `python -m benchmarks.memory [--json]`.

Both sides run in this process in turn; the figure is the ratio of the medians of five. The plain formulation expands
the matrix over the batch, projects it for every study and gathers the K values of every row.
"""

import json
import statistics
import sys
import time

import torch

from r2cmn.memory import MemoryNetwork


def plain(network: MemoryNetwork, features: torch.Tensor) -> torch.Tensor:
    """Respond as the released code does: the matrix once a study, the values gathered."""
    batch, length, dim = features.shape
    threads, size = network.num_threads, dim // network.num_threads
    matrix = network.matrix.expand(batch, -1, -1)
    query, key, value = (
        linear(rows).view(batch, -1, threads, size).transpose(1, 2)
        for linear, rows in ((network.query, features), (network.key, matrix), (network.value, matrix))
    )
    scores, queried = (query @ key.transpose(2, 3) / size**0.5).topk(network.num_queried, dim=-1)
    values = value.unsqueeze(2).expand(-1, -1, length, -1, -1)
    values = values.gather(3, queried.unsqueeze(-1).expand(*queried.shape, size))
    weights = network.dropout(scores.softmax(-1))
    return network.output((weights.unsqueeze(-1) * values).sum(3).transpose(1, 2).reshape(batch, length, dim))


def seconds(respond, features: torch.Tensor) -> float:
    """Time one forward and backward pass."""
    start = time.perf_counter()
    respond(features).sum().backward()
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    rows = []
    for num_vectors, num_queried in ((2048, 32), (2048, 1), (512, 32)):
        network = MemoryNetwork(512, num_vectors, num_queried, 8, dropout=0.0)
        features = torch.randn(4, 49, 512, requires_grad=True)
        torch.testing.assert_close(network(features), plain(network, features), atol=1e-4, rtol=1e-4)
        pairs = [(seconds(network, features), seconds(lambda x, n=network: plain(n, x), features)) for _ in range(6)][
            1:
        ]
        ours, released = (statistics.median(column) for column in zip(*pairs, strict=True))
        rows.append({"N": num_vectors, "K": num_queried, "ours_s": ours, "plain_s": released, "ratio": released / ours})
    if "--json" in sys.argv:
        print(json.dumps(rows))
        return
    print("|    N |  K | ours, s | plain, s | ratio |\n|---|---|---|---|---|")
    for row in rows:
        print(f"| {row['N']:4} | {row['K']:2} | {row['ours_s']:.3f} | {row['plain_s']:.3f} | {row['ratio']:.1f} |")


if __name__ == "__main__":
    main()
