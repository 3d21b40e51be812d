"""What a model does for each word of a report under teacher forcing: probabilities, attention, memory.

Shapes: B studies, T tokens read with the opening 0, V columns, L layers, H heads, P threads of the memory, N vectors,
K queried, S patches.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from r2cmn.encoder_decoder.watching import filled, watch
from r2cmn.explain.alignment import resemblance
from r2cmn.kernels.topk import Queried
from r2cmn.types import QueriedMemory, Source

NUM_TOP = 8
"""Vectors that are listed for each word and patch, those with the largest weights."""


class Forced(NamedTuple):
    """The result of teacher forcing.

    Attributes:
        log_p: (B, T, V) log-probabilities of the token after each.
        attention: (B, T, L, H, S) weights for the token after each; None for a model without attention.
    """

    log_p: Tensor
    attention: Tensor | None


def force(model: Any, read: Tensor, source: Source) -> Forced:
    """Decode tokens (B, T) and record the attention.

    Raises:
        ValueError: if the recorded weights do not fit the tokens.
    """
    with watch() as shown:
        log_p = model.decode(read, source)
    if not shown:
        return Forced(log_p, None)
    weights = filled(torch.stack(shown, 1))  # (B, L, H, T, S)
    if weights.shape[0] != len(read) or weights.shape[3] != read.shape[1]:
        raise ValueError(f"attention of shape {tuple(weights.shape)} was shown for {tuple(read.shape)} tokens")
    return Forced(log_p, weights.permute(0, 3, 1, 2, 4))


class MemoryRoute(NamedTuple):
    """How alike words and patches use the vectors of the memory, for one study.

    Attributes:
        similarity: (T, P, S) Bhattacharyya coefficients, 0 to 1.
        words: weights and numbers of the words' top vectors, (T, P, k), the largest first.
        patches: of the patches, (P, S, k).
    """

    similarity: Tensor
    words: Queried
    patches: Queried

    def of_tokens(self, number: int) -> MemoryRoute:
        """Return the rows of the first tokens after the opening 0, at the positions where the decoder reads them."""
        words = Queried(*(part[1 : number + 1] for part in self.words))
        return MemoryRoute(self.similarity[1 : number + 1], words, self.patches)


def has_memory_route(memory: Any) -> bool:
    """Return whether words and patches query vectors that can be numbered alike."""
    if not isinstance(memory, QueriedMemory):
        return False
    sizes = [(network.num_threads, len(network.matrix)) for network in (memory.visual_network, memory.textual_network)]
    return sizes[0] == sizes[1]


def memory_routes(model: Any, read: Tensor, patches: Tensor) -> list[MemoryRoute]:
    """Compare what tokens (B, T), each at its position, and patches (B, S, D) query: a `MemoryRoute` for each study."""
    words = model.memory.textual_network.queried(model.encoder_decoder.embed(read, read.new_zeros(1)))
    looked = model.memory.visual_network.queried(patches)
    num_vectors = len(model.memory.textual_network.matrix)
    return [
        _route(_of_study(words, study, len(read)), _of_study(looked, study, len(read)), num_vectors)
        for study in range(len(read))
    ]


def _of_study(queried: Queried, study: int, num_studies: int) -> Queried:
    """Return the rows of one study, (P, R, K)."""
    weights, vectors = (part.unflatten(1, (num_studies, -1))[:, study] for part in queried)
    return Queried(weights.to(torch.promote_types(weights.dtype, torch.float32)), vectors)


def _route(words: Queried, patches: Queried, num_vectors: int) -> MemoryRoute:
    dense = words.weights.new_zeros(*words.weights.shape[:2], num_vectors)
    dense = dense.scatter_(-1, words.vectors, words.weights)
    similarity = resemblance(dense.sqrt()[:, None], patches.weights[:, None], patches.vectors[:, None])[:, 0]
    top_words = Queried(*(part.transpose(0, 1) for part in _top(words)))
    return MemoryRoute(similarity.transpose(0, 1), top_words, _top(patches))


def _top(queried: Queried) -> Queried:
    weights, places = queried.weights.topk(min(NUM_TOP, queried.weights.shape[-1]))
    return Queried(weights, queried.vectors.gather(-1, places))
