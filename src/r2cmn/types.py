"""The contracts between the parts: a batch, the data between encoder and decoder, and the protocols.

Shapes: B studies, I views, S patches of all views, T words, D `dim`, W = V+1 columns of the output (V words and id 0).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

Source = dict[str, Tensor]
"""The encoder's output; every value is batch-first."""

State = Mapping[str, Tensor]
"""The decoder's state between words; every value is batch-first, so beam search reorders it by indexing rows.

A step never writes into the state it was given: a value that it returns as the same tensor counts as unchanged. A state
may store its rows in another form and reorder itself (`Reordering`); as a mapping it has the same values."""

Step = Callable[[Tensor, State], tuple[Tensor, State]]
"""Reads one word of every row: tokens (B,), state -> log-probabilities (B, W), the next state."""

Config = dict[str, Any]
"""A plain description of a part: `_target_` and the keyword arguments of its constructor."""


class Batch(NamedTuple):
    """Studies of one split.

    Attributes:
        index: (B,) int64, the position of each study in its split; metrics use it to drop repeated studies.
        images: (B, I, 3, H, W) float32, normalized; with `data.cache_features`, features of a frozen trunk (B, S, F).
        tokens: (B, T) int64, the reports: rows [0, words..., 0] padded with 0.
        labels: (B, 14) int8 observations, or None if the data set has none.
        rewritten: (B, T') int64, the reports as the encoder-decoder rewrites them (`to_targets`), in such rows; None if
            it does not.
    """

    index: Tensor  # type: ignore[assignment]  # a tuple has a method of this name, which nobody calls
    images: Tensor
    tokens: Tensor
    labels: Tensor | None = None
    rewritten: Tensor | None = None

    @property
    def targets(self) -> Tensor:
        """The rows that the model learns to write: the reports, or what its encoder-decoder makes of them."""
        return self.tokens if self.rewritten is None else self.rewritten


@runtime_checkable
class Reordering(Protocol):
    """A state that selects rows of itself without copying every value."""

    def reorder(self, rows: Tensor) -> State:
        """Return the state of rows (A, b): b rows for each remaining study, in the order of the studies."""


class Hypotheses(NamedTuple):
    """Generated reports.

    Attributes:
        tokens: (B, T) int64, the words of each report without the opening 0, padded with 0.
        scores: (B,) float, the sum of log-probabilities of each report, its closing 0 included, after any length
            penalty.
    """

    tokens: Tensor
    scores: Tensor


class Backbone(Protocol):
    """An nn.Module that reads images.

    Optional attributes: `patch_dim`, the width of the patches, and `feature_dim`, that of the trunk's features, for
    encoder-decoders whose constructor names them; `trunk`, the part that learns with `optimizer.backbone_lr`, instead
    of the whole backbone.
    """

    def __call__(self, images: Tensor) -> Tensor:
        """Map images (B, I, 3, H, W) to patches (B, S, D), Eq. 3."""


class FeaturesBackbone(Backbone, Protocol):
    """A backbone for an encoder-decoder whose `encode` reads `features`: its map is `project(features(images))`."""

    def features(self, images: Tensor) -> Tensor:
        """Map images (B, I, 3, H, W) to the trunk's features of the patches (B, S, F)."""

    def project(self, features: Tensor) -> Tensor:
        """Map the trunk's features (B, S, F) to patches (B, S, D)."""


@runtime_checkable
class Memory(Protocol):
    """Both sides of a memory in one object: two references to it in a configuration would build two objects."""

    def visual(self, patches: Tensor) -> Tensor:
        """Map patches (B, S, D) to the encoder's input (B, S, D)."""

    def textual(self, words: Tensor) -> Tensor:
        """Map embedded words (B, T, D) to the decoder's input (B, T, D), each word independently."""


@runtime_checkable
class QueriedMemory(Protocol):
    """A memory whose queries can be observed: each side calls one `r2cmn.memory.MemoryNetwork` once per call.

    If both sides have the same network, they query the same vectors.
    """

    @property
    def visual_network(self) -> Any:
        """The network that `visual` calls."""

    @property
    def textual_network(self) -> Any:
        """The network that `textual` calls."""


@runtime_checkable
class EncoderDecoder(Protocol):
    """A model that reads patches and writes words.

    Its constructor gets `tokenizer`, `vocabulary_size`, `annotations` and the backbone's `feature_dim` and `patch_dim`
    if it names them. If `encode` has a second parameter `features`, it also gets the trunk's features (B, S, F) of the
    patches. More methods are optional; their defaults are in `r2cmn.encoder_decoder.wording`:

    - `annotate(studies, tokenizer, ...)`, a class method: plain data made from the training studies;
    - `for_writing(annotations)`, a class method: the annotations without what only training reads, for a model that is
      shared under a data use agreement;
    - `to_targets(report, tokenizer)`: the ids that the model learns to write for a report;
    - `to_words(tokens, tokenizer)`: the words of the ids that the model has written;
    - `max_tokens(max_length)`: the maximum number of ids to write for a report of at most `max_length`.
    """

    def encode(self, patches: Tensor) -> Source:
        """Read patches (B, S, D), Eq. 14."""

    def embed(self, tokens: Tensor, position: Tensor) -> Tensor:
        """Embed tokens (B, T) that start at `position` (B,) or (1,) of their report: (B, T, D)."""

    def decode(self, tokens: Tensor, words: Tensor, source: Source) -> Tensor:
        """Decode with teacher forcing, Eq. 15: tokens (B, T), words (B, T, D) -> log-probabilities (B, T, W)."""

    def start(self, source: Source) -> State:
        """Return the state before the first word; `state["position"]` (B,) int64 counts the words read so far."""

    def step(self, tokens: Tensor, words: Tensor, state: State) -> tuple[Tensor, State]:
        """Decode one word: tokens (B,), words (B, 1, D) -> log-probabilities (B, W), the next state."""


class Generation(Protocol):
    """A way to write reports that knows only how to start and how to step."""

    def __call__(self, step: Step, state: State) -> Hypotheses:
        """Write one report for every row of the state."""


class Grounding(NamedTuple):
    """The place of a finding in the report and in the image.

    Attributes:
        words: positions of the words that name it among the words of the cleaned report, from 0.
        view: position of the image in its study, from 0.
        box: left, top, right and bottom, as fractions of the image's width and height.
        finding: kind of finding, such as "effusion"; "" if unknown.
        place: such as "left"; "" if unknown.
    """

    words: tuple[int, ...]
    view: int
    box: tuple[float, float, float, float]
    finding: str = ""
    place: str = ""


@runtime_checkable
class Grounded(Protocol):
    """A data module that may have the boxes of its findings.

    Attributes:
        studies: by split, with their `report`, in the order of a batch's `index`.
    """

    studies: Any

    def groundings(self, split: str, reports: Sequence[str] | None = None) -> Sequence[Sequence[Grounding]]:
        """Return the groundings of each study of a split, in the order of the studies: one per finding and view.

        Args:
            split: train, val or test.
            reports: cleaned, in which words are found; None for the references.
        """


class ObjectiveContext(Protocol):
    """What an objective may use besides the batch; `r2cmn.CMNModule` is one.

    Attributes:
        model: the `CMN`; `model(images, tokens)` returns log-probabilities with gradients.
        tokenizer: the `Tokenizer` of the reports.
        generation: the configured way to write reports.
    """

    model: Any
    tokenizer: Any
    generation: Generation

    def sample(
        self, images: Tensor | Source, generation: Generation | None = None, dropout: bool = False
    ) -> Hypotheses:
        """Write reports without gradients; for gradients, pass their tokens to `model` (teacher forcing)."""

    def to_words(self, tokens: Tensor) -> list[str]:
        """Turn rows of token ids (B, T), without their opening 0, into reports."""

    def log(self, name: str, value: Tensor, *, batch_size: int) -> None:
        """Log a value beside the loss; a key `train/...` is described in docs/train/log_keys.md."""


class Objective(Protocol):
    """A loss to minimize in training.

    A class method `annotate(studies, tokenizer, ...)` is optional, as that of an encoder-decoder: the constructor gets
    its result as `annotations`. A class whose runs must start from trained weights has `starts_from_checkpoint = True`.
    """

    def __call__(self, context: ObjectiveContext, batch: Batch) -> Tensor:
        """Return the loss of a batch, a scalar."""
