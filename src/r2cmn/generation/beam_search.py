"""Beam search as in the released code: the same candidates and result, without the steps that cannot change it.

Shapes: B studies, A studies still in the search, b beams, W columns of the output (V words and id 0), L `max_length`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from r2cmn.described import Described
from r2cmn.generation.reorder import Reorder
from r2cmn.types import Hypotheses, State, Step


class BeamSearch(Described):
    """Keeps the `num_beams` likeliest beams of each report and returns the best report that ended.

    Follows the beam search of the released code. A beam that emits 0 is stored with its sum of log-probabilities and
    leaves the search; so do all beams after `max_length` words. The result is the stored report with the largest value:
    its sum, divided by the length penalty if there is one.

    The released code always runs `max_length` steps. Here a study ends as soon as no live beam can exceed its best
    stored report, and its rows leave the batch. The result is the same: log-probabilities are at most 0 and penalties
    grow with the length, so the value of a live beam never exceeds sum / penalty(max_length).

    Args:
        num_beams: b; 1 is greedy search. May be larger than the number of candidates.
        max_length: L, the largest number of words, the closing 0 included.
        length_penalty: None compares sums; "average" compares sum / length (`avg_0` in the released code); a number a
            compares sum / ((5 + length) / 6)^a (`wu_a` there; Wu et al., 2016, Eq. 14). Lengths count the closing 0.
        no_repeat_ngram: forbid the second occurrence of a sequence of this many words; 0 forbids nothing.
        temperature: divides the log-probabilities before they are normalized again; as in the released code, not for
            the first word. Scores are then sums of these log-probabilities.

    Raises:
        ValueError: if a value is out of range; the message names the key.
    """

    def __init__(
        self,
        num_beams: int = 3,
        max_length: int = 60,
        length_penalty: float | str | None = None,
        no_repeat_ngram: int = 0,
        temperature: float = 1.0,
    ) -> None:
        if num_beams < 1:
            raise ValueError(f"generation.num_beams must be at least 1, not {num_beams}")
        if max_length < 1:
            raise ValueError(f"generation.max_length must be at least 1, not {max_length}")
        is_number = isinstance(length_penalty, int | float) and not isinstance(length_penalty, bool)
        if not (length_penalty in (None, "average") or (is_number and 0 <= float(length_penalty) < float("inf"))):
            raise ValueError(
                "generation.length_penalty must be null, 'average' or a number of at least 0 "
                f"(the exponent of Wu et al.), not {length_penalty!r}"
            )
        if no_repeat_ngram < 0:
            raise ValueError(f"generation.no_repeat_ngram must be 0 (forbid nothing) or more, not {no_repeat_ngram}")
        if not 0 < temperature < float("inf"):
            raise ValueError(f"generation.temperature must be greater than 0, not {temperature}")
        self.num_beams = num_beams
        self.max_length = max_length
        self.length_penalty = length_penalty
        self.no_repeat_ngram = no_repeat_ngram
        self.temperature = temperature

    def __call__(self, step: Step, state: State) -> Hypotheses:
        """Write one report for every row of the state: tokens (B, L), scores (B,)."""
        return self.best(step, state, 1)

    def best(self, step: Step, state: State, number: int) -> Hypotheses:
        """Write the best reports of every row of the state, the best first: tokens (B * number, L), scores likewise.

        If fewer have ended, which takes a vocabulary smaller than `number`, the others are empty with a score of -inf.
        """
        first = next(iter(state.values()))
        log_p, following = step(torch.zeros(len(first), dtype=torch.long, device=first.device), state)
        search = _Search.start(log_p, self.max_length, number)
        reorder = Reorder()
        for length in range(1, self.max_length + 1):
            words, rows = self._extend(search, self._forbid(search, log_p, length), length)
            if len(rows) == 0:
                break
            state = reorder(following, rows)
            log_p, following = step(words, state)
            reorder.compare(state, following)
            if self.temperature != 1:
                log_p = (log_p / self.temperature).log_softmax(-1)
        return Hypotheses(search.best_tokens.flatten(0, 1), search.best_values.flatten())

    def _extend(self, search: _Search, log_p: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Add a word to every beam; return the words (A * b,) to read next and the rows (A, b) that they follow."""
        beams, words = search.advance(log_p, self.num_beams, length)
        ended = (words == 0) | (length == self.max_length)
        search.store((search.sums / self._penalty(length)).masked_fill(~ended, -torch.inf))
        # The released code lowers the sum of an ended beam by 1000 and keeps its slot, so its continuations lose to
        # those of any live beam. One live beam has W >= b continuations: the next step fills all b slots from the live
        # beams, and an ended beam takes no slot. -inf has the same effect for every W and every sum.
        search.sums = search.sums.masked_fill(ended, -torch.inf)
        bound = search.sums.max(1).values / self._penalty(self.max_length)
        going = bound > search.best_values[search.studies, -1]
        first_row = torch.arange(len(beams), device=beams.device)[:, None] * (len(log_p) // max(len(beams), 1))
        rows = (first_row + beams)[going]
        search.keep(going)
        return words[going].flatten(), rows

    def _penalty(self, length: int) -> float:
        if self.length_penalty is None:
            return 1.0
        if self.length_penalty == "average":
            return float(length)
        return float(((5 + length) / 6) ** float(self.length_penalty))

    def _forbid(self, search: _Search, log_p: Tensor, length: int) -> Tensor:
        """Set every word that would repeat an n-gram of its row to -inf; never 0, which no live row contains."""
        n, num_words = self.no_repeat_ngram, length - 1
        if n == 0 or num_words < n:
            return log_p
        tokens = search.tokens.flatten(0, 1)[:, :num_words]
        ngrams = tokens.unfold(1, n, 1)  # (A * b, num_words - n + 1, n)
        repeated = (ngrams[..., :-1] == tokens[:, None, num_words - n + 1 :]).all(-1)
        row, start = repeated.nonzero(as_tuple=True)
        return log_p.index_put((row, ngrams[row, start, -1]), log_p.new_tensor(-torch.inf))


def with_beams(generation: Any, num_beams: int) -> BeamSearch:
    """Return a beam search like another with other beams, or one as long as another way to write reports."""
    is_beam_search = isinstance(generation, BeamSearch)
    options = generation.description() if is_beam_search else {"max_length": generation.max_length}
    return BeamSearch(**{**options, "num_beams": num_beams})


@dataclass
class _Search:
    """The beams of the studies still in the search, and the R best stored reports of every study.

    A beam with the sum -inf is an empty slot: none of its continuations can be stored.
    """

    studies: Tensor  # (A,) numbers of the B studies
    tokens: Tensor  # (A, b, L)
    sums: Tensor  # (A, b)
    best_tokens: Tensor  # (B, R, L)
    best_values: Tensor  # (B, R), the largest first

    @classmethod
    def start(cls, log_p: Tensor, max_length: int, number: int) -> _Search:
        """Begin with one empty beam per study."""
        size, device = len(log_p), log_p.device
        # half precision has too few digits for the sum of a report
        dtype = torch.promote_types(log_p.dtype, torch.float32)
        return cls(
            studies=torch.arange(size, device=device),
            tokens=torch.zeros(size, 1, max_length, dtype=torch.long, device=device),
            sums=torch.zeros(size, 1, dtype=dtype, device=device),
            best_tokens=torch.zeros(size, number, max_length, dtype=torch.long, device=device),
            best_values=torch.full((size, number), -torch.inf, dtype=dtype, device=device),
        )

    def advance(self, log_p: Tensor, num_beams: int, length: int) -> tuple[Tensor, Tensor]:
        """Keep the best of all beams x words; return the beam that each follows and its word, both (A, b)."""
        num_columns = log_p.shape[-1]
        candidates = (self.sums[:, :, None] + log_p.view(*self.sums.shape, num_columns)).flatten(1)
        if candidates.shape[1] < num_beams:
            candidates = torch.nn.functional.pad(candidates, (0, num_beams - candidates.shape[1]), value=-torch.inf)
        self.sums, chosen = candidates.topk(num_beams, dim=1)
        chosen = chosen.masked_fill(self.sums == -torch.inf, 0)  # a padded candidate needs a valid row and word, too
        beams, words = chosen // num_columns, chosen % num_columns
        self.tokens = self.tokens.gather(1, beams[:, :, None].expand(-1, -1, self.tokens.shape[-1]))
        self.tokens[:, :, length - 1] = words
        return beams, words

    def store(self, values: Tensor) -> None:
        """Store ended beams that are better than stored reports of their study; other values (A, b) are -inf."""
        values = torch.cat([self.best_values[self.studies], values], dim=1)
        tokens = torch.cat([self.best_tokens[self.studies], self.tokens], dim=1)
        values, order = values.sort(dim=1, descending=True, stable=True)  # the report stored first wins a tie
        order = order[:, : self.best_values.shape[1], None].expand(-1, -1, tokens.shape[-1])
        self.best_values[self.studies] = values[:, : order.shape[1]]
        self.best_tokens[self.studies] = tokens.gather(1, order)

    def keep(self, going: Tensor) -> None:
        """Remove the other studies from the search."""
        self.studies, self.tokens, self.sums = self.studies[going], self.tokens[going], self.sums[going]
