"""One word after the other: the likeliest (greedy search) or one drawn by chance (sampling).

Shapes: B studies, A studies whose report has not ended, W columns of the output (V words and id 0), L `max_length`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from r2cmn.generation.reorder import Reorder
from r2cmn.types import Hypotheses, State, Step

Choose = Callable[[Tensor, Tensor, int], Tensor]
"""log-probabilities (A, W), the studies they belong to (A,), words written so far -> the next words (A,)."""


class Greedy:
    """Write the likeliest word until it is 0.

    Args:
        max_length: L, the largest number of words, the closing 0 included.

    Raises:
        ValueError: where a value is out of its range; the message names the key.
    """

    def __init__(self, max_length: int = 60) -> None:
        self.max_length = _checked_length(max_length)

    def __call__(self, step: Step, state: State) -> Hypotheses:
        """Write one report for every row of the state: tokens (B, L), scores (B,)."""
        return _write(step, state, self.max_length, lambda log_p, *_: log_p.argmax(-1))


class Sample:
    """Draw every word by chance, from the likeliest words only if so wished.

    A study's draws are fixed before its first word, so a report does not depend on how long the others are, nor on
    the device. The scores are sums of the model's own log-probabilities: not tempered, not cut.

    Args:
        max_length: L, the largest number of words, the closing 0 included.
        temperature: divides the log-probabilities; below 1 favours likely words.
        top_k: draw only from so many likeliest words; None is all.
        top_p: draw only from the fewest likeliest words that together have at least this probability, in (0, 1], among
            those that `top_k` leaves (nucleus sampling; Holtzman et al., 2020).
        seed: makes every call draw alike; None continues torch's global generator.

    Raises:
        ValueError: where a value is out of its range; the message names the key.
    """

    def __init__(
        self,
        max_length: int = 60,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        seed: int | None = None,
    ) -> None:
        if not 0 < temperature < float("inf"):
            raise ValueError(f"generation.temperature must be greater than 0, not {temperature}")
        if top_k is not None and top_k < 1:
            raise ValueError(f"generation.top_k must be null (all words) or at least 1, not {top_k}")
        if not 0 < top_p <= 1:
            raise ValueError(f"generation.top_p must be greater than 0 and at most 1, not {top_p}")
        self.max_length = _checked_length(max_length)
        self.temperature = temperature
        self.top_k = top_k
        self.top_p = top_p
        self.seed = seed

    def __call__(self, step: Step, state: State) -> Hypotheses:
        """Write one report for every row of the state: tokens (B, L), scores (B,)."""
        generator = None if self.seed is None else torch.Generator().manual_seed(self.seed)
        first = next(iter(state.values()))
        # drawn on the CPU, a row a study: the same numbers on every device and whatever the other reports do
        draws = torch.rand(len(first), self.max_length, generator=generator).to(first.device)
        return _write(step, state, self.max_length, lambda log_p, rows, length: self.draw(log_p, draws[rows, length]))

    def draw(self, log_p: Tensor, uniform: Tensor) -> Tensor:
        """Choose a word for each row by its number in [0, 1).

        Args:
            log_p: log-probabilities (A, W).
            uniform: (A,) numbers of a uniform distribution.

        Returns:
            Words (A,): the one at `uniform` of the cumulative distribution of the words left, likeliest first.
        """
        log_p = log_p.detach().to(torch.promote_types(log_p.dtype, torch.float32)) / self.temperature
        log_p, words = log_p.sort(dim=-1, descending=True, stable=True)
        mass = log_p.softmax(-1).cumsum(-1)  # (A, W)
        # both cuts leave a prefix of the sorted words, so dividing anew by the mass left is one product below
        last = torch.full_like(words[:, :1], min(self.top_k or words.shape[1], words.shape[1]) - 1)
        if self.top_p < 1:
            enough = mass >= self.top_p * mass.gather(1, last)
            last = torch.minimum(last, enough.int().argmax(-1, keepdim=True))
        total = mass.gather(1, last)
        # rounding must not carry a draw past the last word left
        target = torch.minimum(uniform[:, None].to(mass.dtype) * total, total.nextafter(torch.zeros_like(total)))
        return words.gather(1, torch.searchsorted(mass, target, right=True)).squeeze(1)


def _checked_length(max_length: int) -> int:
    if max_length < 1:
        raise ValueError(f"generation.max_length must be at least 1, not {max_length}")
    return max_length


def _write(step: Step, state: State, max_length: int, choose: Choose) -> Hypotheses:
    """Write word by word; a report that has ended leaves the batch."""
    first = next(iter(state.values()))
    studies = torch.arange(len(first), device=first.device)
    tokens = torch.zeros(len(first), max_length, dtype=torch.long, device=first.device)
    words = torch.zeros_like(studies)  # the opening 0
    scores = torch.zeros(len(first), device=first.device)
    reorder = Reorder()
    for length in range(max_length):
        log_p, state = step(words, state)
        words = choose(log_p, studies, length)
        # half precision has too few digits to add up a report
        chosen = log_p.gather(1, words[:, None]).squeeze(1).to(torch.promote_types(log_p.dtype, torch.float32))
        scores = scores.to(chosen.dtype).index_add(0, studies, chosen)
        tokens[studies, length] = words
        going = words != 0
        if not going.all():
            left = going.nonzero()
            studies, words, state = studies[going], words[going], reorder(state, left)
        if len(studies) == 0:
            break
    return Hypotheses(tokens, scores)
