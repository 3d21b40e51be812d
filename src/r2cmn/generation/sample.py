"""Greedy search and sampling: one word after another, the likeliest or a random one.

Shapes: B studies, A studies whose report has not ended, W columns of the output (V words and id 0), L `max_length`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from r2cmn.described import Described
from r2cmn.generation.reorder import Reorder
from r2cmn.types import Hypotheses, State, Step

Choose = Callable[[Tensor, Tensor, int], Tensor]
"""log-probabilities (A, W), their studies (A,), number of words so far -> the next words (A,)."""


class Greedy(Described):
    """Greedy search: always the likeliest word.

    Args:
        max_length: L, the largest number of words, the closing 0 included.

    Raises:
        ValueError: if a value is out of range; the message names the key.
    """

    def __init__(self, max_length: int = 60) -> None:
        self.max_length = _checked_length(max_length)

    def __call__(self, step: Step, state: State) -> Hypotheses:
        """Write one report for every row of the state: tokens (B, L), scores (B,)."""
        return _write(step, state, self.max_length, lambda log_p, *_: log_p.argmax(-1))


class Sample(Described):
    """Sampling of every word, optionally from the likeliest words only.

    The random numbers of a study are drawn before its first word, so a report depends neither on the length of the
    others nor on the device. Scores are sums of the model's log-probabilities, before temperature, top_k and top_p.

    Args:
        max_length: L, the largest number of words, the closing 0 included.
        temperature: divides the log-probabilities; below 1 favors likely words.
        top_k: sample from this many of the likeliest words; None: from all.
        top_p: sample from the fewest likeliest words whose probabilities, after `top_k`, add up to at least this value,
            in (0, 1] (nucleus sampling; Holtzman et al., 2020).
        seed: of every call; None uses torch's global generator.

    Raises:
        ValueError: if a value is out of range; the message names the key.
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
        # drawn on the CPU, one row per study: the same on every device and in every batch
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
        drawn = torch.searchsorted(mass, target, right=True)
        return words.gather(1, drawn.clamp_(max=words.shape[1] - 1)).squeeze(1)  # past the last one if all is NaN


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
