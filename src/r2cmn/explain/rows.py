"""What an explanation says of one study, from tensors with a row for each token.

Shapes: T tokens, W words, V columns of the output, S patches, I views.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from r2cmn.data.images import Study, denormalize
from r2cmn.encoder_decoder.wording import to_words
from r2cmn.explain.explanation import Explanation, View
from r2cmn.explain.forced import MemoryRoute
from r2cmn.explain.reading import Reading
from r2cmn.groups import name_of_parts

NUM_CHOICES = 5
"""Likeliest words that are listed for each word."""

_SEPARATE = (
    "words and patches have separate memories: a vector of one has nothing to do with the vector of the same number in "
    "the other, so this map is one of chance"
)


class Row(NamedTuple):
    """One study of a batch; the tensors have a row for each token.

    Attributes:
        study: its position in the batch.
        tokens: (T,) without the opening and the closing 0.
        words: of the report.
        of_words: for each word the position of the token that wrote it.
        log_p: (T, V) log-probabilities.
        maps: by route (T, ..., S).
        memory: of the memory route, if there is one.
        deletion: by route, for each token.
    """

    study: int
    tokens: Tensor
    words: list[str]
    of_words: list[int]
    log_p: Tensor
    maps: dict[str, Tensor]
    memory: MemoryRoute | None
    deletion: dict[str, list[dict[str, Any] | None]]

    @property
    def log_probs(self) -> Tensor:
        """(T,) of the tokens."""
        return self.log_p.gather(-1, self.tokens[:, None])[:, 0]

    def explain(self, module: Any, name: str, views: list[View], beams: list[Any], is_given: bool) -> Explanation:
        """Return the explanation, with a row for each word."""
        model, rows = module.model, self.of_words
        notes = {"attention": getattr(model.encoder_decoder, "attention_note", "")} if "attention" in self.maps else {}
        is_shared = self.memory is not None and model.memory.visual_network is model.memory.textual_network
        if self.memory is not None and not is_shared:
            notes["memory"] = _SEPARATE
        return Explanation(
            study=name,
            words=self.words,
            tokens=[int(self.tokens[row]) for row in rows],
            log_probs=_array(self.log_probs)[rows],
            given=is_given,
            reference=None,
            views=views,
            maps={route: _array(values)[rows] for route, values in self.maps.items()},
            vectors=self.memory and _vectors(self.memory, rows, len(model.memory.textual_network.matrix), is_shared),
            beams=beams,
            choices=_choices(module, self.log_p[rows]),
            deletion={route: [each[row] for row in rows] for route, each in self.deletion.items()} or None,
            notes={route: note for route, note in notes.items() if note},
            model=name_of_parts(_path(model.encoder_decoder), _path(model.memory)),
            license_class=module.license_class,
        )


def _path(part: Any) -> str:
    return f"{type(part).__module__}.{type(part).__qualname__}"


def words_of(module: Any, tokens: Sequence[int]) -> tuple[list[str], list[int]]:
    """Return the words of a report and for each the position of its token, which may stand for a whole sentence."""
    pieces = [to_words(module.model.encoder_decoder, [token], module.tokenizer).split() for token in tokens]
    words = [word for piece in pieces for word in piece]
    of_words = [at for at, piece in enumerate(pieces) for _ in piece]
    length = len(to_words(module.model.encoder_decoder, tokens, module.tokenizer).split())
    return words[:length], of_words[:length]


def _choices(module: Any, log_p: Tensor) -> list[list[tuple[str, float]]]:
    """Return the likeliest words in place of each word (W, V), with their probabilities."""
    values, ids = log_p.exp().topk(min(NUM_CHOICES, log_p.shape[-1]))
    names = {
        token: "(end)"
        if token == 0
        else to_words(module.model.encoder_decoder, [token], module.tokenizer) or f"({token})"
        for token in ids.unique().tolist()
    }
    rows = zip(ids.tolist(), values.tolist(), strict=True)
    return [[(names[token], value) for token, value in zip(*row, strict=True)] for row in rows]


def _vectors(memory: MemoryRoute, rows: list[int], num_vectors: int, is_shared: bool) -> dict[str, Any]:
    return {
        "words": _array(memory.words.vectors)[rows],
        "words_weight": _array(memory.words.weights)[rows],
        "patches": _array(memory.patches.vectors),
        "patches_weight": _array(memory.patches.weights),
        "num_vectors": num_vectors,
        "shared": is_shared,
    }


def views_of(images: Tensor, study: Study, reading: Reading) -> list[View]:
    """Return the views of a study, whose images (I, 3, H, W) may be unknown."""
    views = []
    for number in range(reading.num_views):
        file = str(study[number]) if number < len(study) and isinstance(study[number], str | Path) else None
        name = f"view {number + 1}" if file is None else Path(file).stem
        known = images.dim() == 4
        pixels = (
            denormalize(images[number]).float().mean(0).round().byte().numpy() if known else np.zeros((0, 0), np.uint8)
        )
        views.append(View(name, pixels, reading.grid, file))
    return views


def name_of(study: Study, number: int) -> str:
    """Return the names of a study's files, or "study 1" and so on."""
    names = [Path(view).stem for view in study if isinstance(view, str | Path)]
    return " ".join(names) or f"study {number}"


def _array(values: Tensor) -> np.ndarray:
    if values.is_floating_point():
        values = values.to(torch.promote_types(values.dtype, torch.float32))
    array: np.ndarray = values.cpu().numpy()
    return array
