"""The contracts between the parts: a batch, what travels between encoder and decoder, and the five protocols.

Shapes: B studies, I views, S patches of all views, T words, D `dim`, W = V+1 columns of the output (V words and id 0).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

Source = dict[str, Tensor]
"""What the encoder says of the images; every value is batch-first."""

State = Mapping[str, Tensor]
"""What the decoder carries from word to word; every value is batch-first, so beams reorder it by indexing rows.

A step never writes into the state it was given: what it hands on as the same tensor counts as unchanged. A state may
keep its rows in another form and reorder itself (`Reordering`); read as a mapping it says the same."""

Step = Callable[[Tensor, State], tuple[Tensor, State]]
"""One word for every row: tokens (B,), state -> log-probabilities (B, W), the next state."""

Config = dict[str, Any]
"""A plain description of a part: `_target_` and the keyword arguments of its constructor."""


class Batch(NamedTuple):
    """Studies of one split.

    Attributes:
        index: (B,) int64, the position of each study in its split; what metrics use to drop repeated studies.
        images: (B, I, 3, H, W) float32, normalised; or, under `data.cache_features`, what a frozen trunk said of them
            (B, S, F).
        tokens: (B, T) int64, rows [0, words..., 0] padded with 0.
        labels: (B, 14) int8 observations, or None where the data set has none.
    """

    index: Tensor  # type: ignore[assignment]  # a tuple has a method of this name, which nobody calls
    images: Tensor
    tokens: Tensor
    labels: Tensor | None = None


@runtime_checkable
class Reordering(Protocol):
    """A state that can pick rows of itself for less than a copy of every value."""

    def reorder(self, rows: Tensor) -> State:
        """Return the state of rows (A, b): b rows for each study, or for those that are left, in their order."""


class Hypotheses(NamedTuple):
    """Generated reports.

    Attributes:
        tokens: (B, T) int64, the words of each report without the opening 0, padded with 0.
        scores: (B,) float, the sum of log-probabilities of each report, its closing 0 included, after any length
            penalty.
    """

    tokens: Tensor
    scores: Tensor


@runtime_checkable
class Memory(Protocol):
    """Both sides of a memory, because two references to one memory in a configuration would build two objects."""

    def visual(self, patches: Tensor) -> Tensor:
        """Map patches (B, S, D) to what the encoder reads (B, S, D)."""

    def textual(self, words: Tensor) -> Tensor:
        """Map embedded words (B, T, D) to what the decoder reads (B, T, D), each word by itself."""


@runtime_checkable
class QueriedMemory(Protocol):
    """A memory whose queries can be watched: each side asks one `r2cmn.memory.MemoryNetwork`, once a call.

    Where both sides name the same network they query the same vectors.
    """

    @property
    def visual_network(self) -> Any:
        """The network that `visual` asks."""

    @property
    def textual_network(self) -> Any:
        """The network that `textual` asks."""


@runtime_checkable
class EncoderDecoder(Protocol):
    """A model that reads patches and writes words."""

    def encode(self, patches: Tensor) -> Source:
        """Read patches (B, S, D), Eq. 14."""

    def embed(self, tokens: Tensor, position: Tensor) -> Tensor:
        """Embed tokens (B, T) that start at `position` (B,) or (1,) of their report: (B, T, D)."""

    def decode(self, tokens: Tensor, words: Tensor, source: Source) -> Tensor:
        """Teacher forcing, Eq. 15: tokens (B, T), words (B, T, D) -> log-probabilities (B, T, W) of each next word."""

    def start(self, source: Source) -> State:
        """Return the state before the first word; `state["position"]` (B,) int64 counts the words read so far."""

    def step(self, tokens: Tensor, words: Tensor, state: State) -> tuple[Tensor, State]:
        """One word: tokens (B,), words (B, 1, D) -> log-probabilities (B, W), the next state."""


class Generation(Protocol):
    """A way to write a report that knows only how to start and how to step."""

    def __call__(self, step: Step, state: State) -> Hypotheses:
        """Write one report for every row of the state."""


class Grounding(NamedTuple):
    """Where a finding is said and where it is seen.

    Attributes:
        words: the words that name it, as their positions among the words of the cleaned report, from 0.
        view: the position of the image among those of its study, from 0.
        box: left, top, right and bottom, as shares of the width and the height of the image, 0 to 1.
    """

    words: tuple[int, ...]
    view: int
    box: tuple[float, float, float, float]


@runtime_checkable
class Grounded(Protocol):
    """Data that know where their findings are seen; a data module may offer it besides its loaders.

    Attributes:
        studies: of each split, with their `report`, in the order of a batch's `index`.
    """

    studies: Any

    def groundings(self, split: str) -> Sequence[Sequence[Grounding]]:
        """Return the groundings of each study of a split, in the order of the studies: one a finding and view."""


class Objective(Protocol):
    """What training minimises."""

    def __call__(self, model: Any, batch: Batch) -> Tensor:
        """Return the loss of a batch, a scalar."""
