"""The contract of an encoder-decoder, a function a sentence; models are in evaluation mode and float64.

Shapes: B studies, S patches, T words, R reports, D `dim`, W columns of the output.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from r2cmn.generation import BeamSearch, Greedy
from r2cmn.model import CMN
from r2cmn.types import Generation, Hypotheses, Source

Part = TypeVar("Part", bound=nn.Module)

NUM_STUDIES = 3
MAX_LENGTH = 4
"""Words of a report whose search space is searched as a whole."""
MAX_COLUMNS = 6
"""Columns of an output whose search space is searched as a whole."""
EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-12}
MOST_VARIETY = 3
_SEEDS = 40


def check_steps(model: CMN, patches: Tensor) -> None:
    """Stepping equals teacher forcing."""
    words = torch.randint(1, num_columns(model, patches), (len(patches), 6))
    tokens = torch.cat([torch.zeros_like(words[:, :1]), words], dim=1)
    source = model.encode(patches)
    state, stepped = model.start(source), []
    for column in tokens.unbind(1):
        log_p, state = model.step(column, state)
        stepped.append(log_p)
    check_close(torch.stack(stepped, 1), model.decode(tokens, source), check_steps)


def check_probabilities(model: CMN, patches: Tensor) -> None:
    """Probabilities sum to one."""
    tokens = torch.randint(1, num_columns(model, patches), (len(patches), 6))
    tokens[:, 0] = 0
    sums = model(patches, tokens).exp().sum(-1)
    check_close(sums, torch.ones_like(sums), check_probabilities)


def check_state(model: CMN, patches: Tensor) -> None:
    """A state is batch-first, and its position counts the words."""
    state = model.start(model.encode(patches))
    for length in range(3):
        assert all(len(value) == len(patches) for value in state.values()), check_state.__doc__
        assert state["position"].tolist() == [length] * len(patches), check_state.__doc__
        _, state = model.step(torch.full((len(patches),), min(length, 1)), state)


def check_given_state(model: CMN, patches: Tensor) -> None:
    """A step leaves the state that it was given as it was."""
    state = model.start(model.encode(patches))
    for word in (0, 1, 2):
        before = {name: value.clone() for name, value in state.items()}
        _, following = model.step(torch.full((len(patches),), word), state)
        assert state.keys() == before.keys(), check_given_state.__doc__
        assert all(torch.equal(state[name], before[name]) for name in before), check_given_state.__doc__
        state = following


def check_reordering(model: CMN, patches: Tensor) -> None:
    """Reordering the rows of a state commutes with stepping."""
    state = model.start(model.encode(patches))
    for word in (0, 2):
        _, state = model.step(torch.full((len(patches),), word), state)
    rows = torch.tensor([2, 0, 0, 1])
    tokens = torch.tensor([1, 3, 2]).clamp(max=num_columns(model, patches) - 1)
    log_p, following = model.step(tokens, state)
    reordered_log_p, reordered = model.step(tokens[rows], rows_of(state, rows))
    check_close(reordered_log_p, log_p[rows], check_reordering)
    for name, value in rows_of(following, rows).items():
        check_close(reordered[name], value, check_reordering)


def check_one_beam(model: CMN, patches: Tensor) -> None:
    """Beam search with one beam is greedy search."""
    beam, greedy = write(model, BeamSearch(1, 7), patches), write(model, Greedy(7), patches)
    assert torch.equal(beam.tokens, greedy.tokens), check_one_beam.__doc__
    check_close(beam.scores, greedy.scores, check_one_beam)


def check_scores(model: CMN, patches: Tensor, num_beams: int = 3) -> None:
    """The score of a report is the teacher-forced score of its tokens."""
    found = write(model, BeamSearch(num_beams, 7), patches)
    check_close(found.scores, teacher_forced_scores(model, model.encode(patches), found.tokens), check_scores)


def check_alone(model: CMN, patches: Tensor, generation: Generation | None = None) -> None:
    """The report of a study does not depend on its batch."""
    generation = generation or BeamSearch(3, 7)
    together = write(model, generation, patches)
    for study in range(len(patches)):
        alone = write(model, generation, patches[study : study + 1])
        assert torch.equal(alone.tokens[0], together.tokens[study]), check_alone.__doc__
        check_close(alone.scores[0], together.scores[study], check_alone)


CONTRACT = (
    check_probabilities, check_state, check_given_state, check_steps, check_reordering, check_one_beam, check_scores,
    check_alone,
)  # fmt: skip
"""The sentences that hold for every encoder-decoder with every memory."""


def check_optimum(model: CMN, patches: Tensor, penalty: str | None = None) -> None:
    """A beam as wide as the search space finds the best of all reports."""
    columns = num_columns(model, patches)
    found = write(model, BeamSearch(columns**MAX_LENGTH, MAX_LENGTH, penalty), patches)
    reports, lengths = all_reports(columns)
    for study in range(len(patches)):
        source = rows_of(model.encode(patches), torch.full((len(reports),), study))
        scores = teacher_forced_scores(model, source, reports)
        scores = scores / lengths if penalty else scores
        assert torch.equal(found.tokens[study], reports[scores.argmax()]), check_optimum.__doc__
        check_close(found.scores[study], scores.max(), check_optimum)


# ---- what the checks work with ----


def draw_patches(dim: int) -> Tensor:
    """Draw patches (B, S, D) of a few studies."""
    return 4 * draw(NUM_STUDIES, 5, dim)


def vary(model: CMN, patches: Tensor) -> CMN:
    """Return a copy, in float64 and evaluation mode, whose random weights write different reports, ended and not.

    No answer of a check is trivial then. If no seed gives such weights, the reports are different, or as they come.
    """
    best, least = model, -1
    for seed in range(_SEEDS):
        varied = _redraw(exact(model), seed)
        found = variety(varied, patches)
        if found > least:
            best, least = varied, found
        if least == MOST_VARIETY:
            break
    return best


def _redraw(model: CMN, seed: int) -> CMN:
    """Shuffle each parameter and add noise, which differs in size by seed; without noise no word stands out."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        shuffled = parameter.detach().flatten()[torch.randperm(parameter.numel(), generator=generator)]
        noise = torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator)
        parameter.requires_grad_(False).copy_(shuffled.view_as(parameter) + 0.3 * (1 + seed % 5) * noise)
    return model


def variety(model: CMN, patches: Tensor) -> int:
    """Return 0 if all reports are equal, 1 if not, 2 if their lengths differ, 3 if they do and none is empty."""
    tokens = write(model, BeamSearch(3, MAX_LENGTH), patches).tokens
    lengths = (tokens > 0).sum(1)
    if len(tokens.unique(dim=0)) == 1:
        return 0
    return 1 + int(lengths.min() < lengths.max()) * (1 + int(lengths.min() > 0))


def write(model: CMN, generation: Generation, patches: Tensor) -> Hypotheses:
    """Write the reports of patches."""
    return generation(model.step, model.start(model.encode(patches)))


def num_columns(model: CMN, patches: Tensor) -> int:
    """Return the number of output columns: the vocabulary's, and those of further tokens."""
    return model(patches, torch.zeros(len(patches), 1, dtype=torch.long)).shape[-1]


def rows_of(values: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """Select rows of a source or a state."""
    return {name: value[rows] for name, value in values.items()}


def all_reports(columns: int) -> tuple[Tensor, Tensor]:
    """Return every report of at most MAX_LENGTH tokens, padded (R, T), and their lengths with the closing 0."""
    reports: list[list[int]] = []
    for length in range(1, MAX_LENGTH + 1):
        reports += [[*words, 0] for words in itertools.product(range(1, columns), repeat=length - 1)]
    reports += [list(words) for words in itertools.product(range(1, columns), repeat=MAX_LENGTH)]
    padded = torch.tensor([row + [0] * (MAX_LENGTH - len(row)) for row in reports])
    return padded, torch.tensor([len(row) for row in reports])


def teacher_forced_scores(model: CMN, source: Source, reports: Tensor) -> Tensor:
    """Add up the log-probabilities of reports (R, T), up to their closing 0, of a source with R rows."""
    tokens = torch.cat([torch.zeros_like(reports[:, :1]), reports[:, :-1]], dim=1)
    log_p = model.decode(tokens, source).gather(-1, reports[..., None]).squeeze(-1)
    counts = (reports > 0).long().cumprod(1)
    counts = torch.cat([torch.ones_like(counts[:, :1]), counts[:, :-1]], dim=1)
    return (log_p * counts).sum(1)


def exact(part: Part) -> Part:
    """Return a copy in float64 and evaluation mode."""
    return copy.deepcopy(part).double().eval()


def draw(*shape: int) -> Tensor:
    """Draw random numbers, the same in each call."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def check_close(found: Tensor, expected: Tensor, check: Callable[..., None]) -> None:
    """Check that two tensors are equal up to rounding; the error is the sentence of the check."""
    assert_close(found, expected, **EXACT, msg=lambda differences: f"does not hold: {check.__doc__}\n{differences}")
