"""Use of a memory's vectors by patches and words: how many, how evenly, and how much both use the same ones.

Shapes: T threads, R rows (patches or words), N vectors, K queried.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from r2cmn.kernels.topk import Queried


class VectorUse:
    """Running sums over the vectors that patches and words query.

        use = VectorUse(network.num_threads, len(network.matrix))
        for patches, words in ...:  # features (B, S, D) and (B, L, D)
            use.update(network.queried(patches), network.queried(words), words_counted=is_word.flatten())
        use.compute()

    No value is read from the device before `compute`.

    Args:
        num_threads: T.
        num_vectors: N.
        shared: whether patches and words query the same vectors. If not (BASE+MEM), vector 7 of one memory has nothing
            to do with vector 7 of the other, and there is no overlap.
        device: of the sums.
    """

    def __init__(
        self, num_threads: int, num_vectors: int, shared: bool = True, device: torch.device | str = "cpu"
    ) -> None:
        self.shared = shared
        self._patches = _Side.empty(num_threads, num_vectors, torch.device(device))
        self._words = _Side.empty(num_threads, num_vectors, torch.device(device))

    def update(
        self,
        patches: Queried | None = None,
        words: Queried | None = None,
        patches_counted: Tensor | None = None,
        words_counted: Tensor | None = None,
    ) -> None:
        """Add the vectors that some patches and some words query.

        Args:
            patches: weights and numbers of vectors (T, R, K), or None.
            words: likewise.
            patches_counted: (R,) how often each row counts, 0 to ignore it; None counts each once.
            words_counted: likewise; padding is 0.
        """
        if patches is not None:
            self._patches.add(patches, patches_counted)
        if words is not None:
            self._words.add(words, words_counted)

    def reduce(self, total: Callable[[Tensor], Tensor]) -> None:
        """Apply `total` to every sum, such as a sum over all processes."""
        for side in (self._patches, self._words):
            side.weight, side.times = total(side.weight), total(side.times)

    def compute(self) -> dict[str, float]:
        """Return the measures; those of one side are NaN if nothing of it was counted.

        - `share_patches`, `share_words`: the share of the N vectors that at least one row queries in at least one
          thread.
        - `entropy_patches`, `entropy_words`: entropy of the total weight of each vector over all threads, divided by
          log N: 1 is even use, 0 a single vector; 1 if N is 1.

        If both sides share the vectors, also the means over the threads (each thread has its own part of a vector) of:

        - `overlap`: the Bhattacharyya coefficient of the weights for patches and for words, 0 to 1.
        - `overlap_chance`: its mean if the vectors of one side are permuted at random.
        - `overlap_queried`: the share of the vectors queried by either side that both query.
        - `overlap_queried_chance`: its mean if as many vectors of each side are drawn at random.

        `thread_0/...` and so on are of one thread.
        """
        patches, words = self._patches.cpu(), self._words.cpu()
        threads = [self._numbers(patches.thread(i), words.thread(i)) for i in range(len(patches.weight))]
        found = self._numbers(patches.together(), words.together())
        for name in [name for name in found if name.startswith("overlap")]:
            found[name] = sum(thread[name] for thread in threads) / len(threads)
        return found | {f"thread_{i}/{k}": v for i, thread in enumerate(threads) for k, v in thread.items()}

    def _numbers(self, patches: _Side, words: _Side) -> dict[str, float]:
        """Return the measures of two sides with a single thread."""
        found = {
            "share_patches": patches.share(),
            "share_words": words.share(),
            "entropy_patches": patches.entropy(),
            "entropy_words": words.entropy(),
        }
        return found | _overlap(patches, words) if self.shared else found


@dataclass
class _Side:
    """The sums of one side: the total weight of each vector and how often it was queried, both (T, N)."""

    weight: Tensor
    times: Tensor

    @classmethod
    def empty(cls, num_threads: int, num_vectors: int, device: torch.device) -> _Side:
        # sums of many small numbers; Apple's GPUs have no float64
        exact = torch.float32 if device.type == "mps" else torch.float64
        return cls(
            torch.zeros(num_threads, num_vectors, dtype=exact, device=device),
            torch.zeros(num_threads, num_vectors, dtype=torch.int64, device=device),
        )

    def add(self, queried: Queried, counted: Tensor | None) -> None:
        threads, rows, num_queried = queried.weights.shape
        start = torch.arange(threads, device=queried.vectors.device)[:, None, None] * self.weight.shape[1]
        slots = (queried.vectors + start).flatten()
        weights = queried.weights.detach().float()
        times = torch.ones(rows, dtype=torch.int64, device=slots.device) if counted is None else counted.long()
        if counted is not None:
            weights = weights * counted[:, None]
        # one batch in float32, where kernels are fastest, then added to the exact sum
        batch = torch.zeros(self.weight.numel(), device=slots.device).index_add_(0, slots, weights.flatten())
        self.weight += batch.view_as(self.weight)
        self.times.view(-1).index_add_(0, slots, times[:, None].expand(threads, rows, num_queried).flatten())

    def cpu(self) -> _Side:
        return _Side(self.weight.cpu().double(), self.times.cpu())

    def thread(self, number: int) -> _Side:
        return _Side(self.weight[number : number + 1], self.times[number : number + 1])

    def together(self) -> _Side:
        return _Side(self.weight.sum(0, keepdim=True), self.times.sum(0, keepdim=True))

    def distribution(self) -> Tensor:
        """Return the share of the total weight of each vector (N,); NaN if nothing was counted."""
        return self.weight[0] / self.weight[0].sum()

    def share(self) -> float:
        return (self.times[0] > 0).double().mean().item() if self.times.any() else math.nan

    def entropy(self) -> float:
        shares = self.distribution()
        if len(shares) == 1:
            return 1.0 if self.times.any() else math.nan
        return abs(torch.xlogy(shares, shares).sum().item()) / math.log(len(shares))


def _overlap(patches: _Side, words: _Side) -> dict[str, float]:
    roots = [side.distribution().sqrt() for side in (patches, words)]
    by_patches, by_words = patches.times[0] > 0, words.times[0] > 0
    either = (by_patches | by_words).sum().item()
    return {
        "overlap": (roots[0] * roots[1]).sum().item(),
        # every pair of vectors is equally likely
        "overlap_chance": (roots[0].sum() * roots[1].sum()).item() / len(roots[0]),
        "overlap_queried": (by_patches & by_words).sum().item() / either if either else math.nan,
        "overlap_queried_chance": _chance(int(by_patches.sum()), int(by_words.sum()), len(by_patches)),
    }


def _chance(first: int, second: int, num_vectors: int) -> float:
    """Return the mean of |A and B| / |A or B| over all sets A and B of these sizes: |A and B| is hypergeometric."""
    if not first or not second:
        return 0.0 if first or second else math.nan
    both = torch.arange(max(0, first + second - num_vectors), min(first, second) + 1, dtype=torch.float64)

    def log_ways(of: float, some: Tensor) -> Tensor:
        whole = torch.tensor(of, dtype=torch.float64)
        return torch.lgamma(whole + 1) - torch.lgamma(some + 1) - torch.lgamma(whole - some + 1)

    ways = log_ways(first, both) + log_ways(num_vectors - first, second - both)
    return (ways.softmax(0) * both / (first + second - both)).sum().item()
