"""The memory of the paper: querying and responding (Eqs. 4-13), and the three models that use it differently.

Shapes: B studies, L patches or words, D `dim`, N `num_vectors`, K `num_queried`, R = B * L rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from r2cmn.described import Described
from r2cmn.kernels.dropout import Dropout
from r2cmn.kernels.kept import Kept, stamp
from r2cmn.kernels.topk import Queried, respond, score


class Querying(nn.Module):
    """Selects the K vectors that respond to a query, Eqs. 7-10; a module, so that a forward hook sees its result."""

    def forward(self, queries: Tensor, keys: Tensor, num_queried: int) -> Queried:
        """Query keys (threads, N, D / threads) with rows of queries (threads, R, D / threads)."""
        # The bias of the keys adds a constant to all scores of a row. Early in training it is many times their
        # differences, which bfloat16 would lose: the K vectors would be chosen at random.
        with torch.autocast(queries.device.type, enabled=False):
            kept, queried = score(queries.to(keys.dtype), keys, num_queried)  # Eq. 7, Eq. 8
            return Queried(kept.softmax(-1), queried)  # Eq. 9, Eq. 10


class MemoryNetwork(nn.Module):
    """A matrix of memory vectors that responds to features (section 2.2 of the paper).

    Each thread works on D / num_threads dimensions: it scores all N vectors, keeps the K with the largest scores, and
    responds with their weighted sum.

    Args:
        dim: D.
        num_vectors: N, the rows of the matrix M.
        num_queried: K, the vectors that respond to a feature; at most N.
        num_threads: independent queries per feature; must divide `dim`.
        dropout: probability to drop a weight after the softmax.

    Raises:
        ValueError: if the numbers do not fit together; the message names the key.
    """

    def __init__(
        self,
        dim: int = 512,
        num_vectors: int = 2048,
        num_queried: int = 32,
        num_threads: int = 8,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if num_vectors < 1:
            raise ValueError(f"memory.num_vectors must be at least 1, not {num_vectors}")
        if not 1 <= num_queried <= num_vectors:
            raise ValueError(
                f"memory.num_queried must be between 1 and memory.num_vectors ({num_vectors}), not {num_queried}"
            )
        if num_threads < 1 or dim % num_threads:
            raise ValueError(f"memory.num_threads must be a divisor of dim ({dim}), not {num_threads}")
        self.num_queried = num_queried
        self.num_threads = num_threads
        # 1/512 at the paper's size, as in the released code
        self.matrix = nn.Parameter(torch.randn(num_vectors, dim) / dim)
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.querying = Querying()
        # Departs from the paper: as in the released code, an output map after the threads, and dropout of weights.
        self.output = nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)
        for linear in (self.query, self.key, self.value, self.output):
            nn.init.xavier_uniform_(linear.weight)
        self.kept = Kept()

    def forward(self, features: Tensor) -> Tensor:
        """Respond to features (B, L, D) with (B, L, D), Eqs. 4-13."""
        keys, values = self._project_matrix()
        weights, queried = self._query(features, keys)
        responses = respond(self.dropout(weights), queried, values)  # Eq. 12, Eq. 13
        return self.output(responses.transpose(0, 1).reshape(features.shape))

    def queried(self, features: Tensor) -> Queried:
        """Return what features (B, L, D) query; the rows R are the features of all studies, one study after another."""
        return self._query(features, self._project_matrix()[0])

    def weights(self, features: Tensor) -> Tensor:
        """Return the weights (B, num_threads, L, N) of all memory vectors, Eqs. 9-10: zero except for the K queried."""
        weights, queried = self.queried(features)
        dense = weights.new_zeros(*weights.shape[:2], len(self.matrix)).scatter_(-1, queried, weights)
        batch, length, _ = features.shape
        return dense.view(self.num_threads, batch, length, -1).transpose(0, 1)

    def _query(self, features: Tensor, keys: Tensor) -> Queried:
        queries = self._split(self.query(features.flatten(0, 1)))  # Eq. 5, Eq. 6
        # Departs from the paper: divided by sqrt(D / threads) as in the released code; Eqs. 7-8 have sqrt(D).
        return self.querying(queries * queries.shape[-1] ** -0.5, keys, self.num_queried)

    def _project_matrix(self) -> tuple[Tensor, Tensor]:
        """Return keys and values (threads, N, D / threads) of the matrix, Eq. 4 and Eq. 11.

        Without gradients they are kept between calls: a report is generated word by word, and projecting the matrix for
        every word would take longer than everything else.
        """
        keeps = not (self.training or torch.is_grad_enabled() or torch.compiler.is_compiling())
        return self.kept.get(self._stamp() if keeps else None, self._keys_and_values)

    def _keys_and_values(self) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.matrix.device.type, enabled=False):
            keys = self._split(self.key(self.matrix))  # Eq. 4
        return keys, self._split(self.value(self.matrix))  # Eq. 11

    def _stamp(self) -> Any:
        """Return the state of the parameters and the precision of the values, for `Kept`."""
        state = stamp([self.matrix, self.key.weight, self.key.bias, self.value.weight, self.value.bias])
        device = self.matrix.device.type
        cast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        return None if state is None else (cast, state)

    def _split(self, rows: Tensor) -> Tensor:
        """Split rows (R, D) into threads (threads, R, D / threads)."""
        return rows.unflatten(-1, (self.num_threads, -1)).transpose(0, 1)


class NoMemory(Described, nn.Module):
    """The model without a memory: BASE in section 3.2 of the paper."""

    def visual(self, patches: Tensor) -> Tensor:
        """Return the patches (B, S, D) as they are."""
        return patches

    def textual(self, words: Tensor) -> Tensor:
        """Return the words (B, T, D) as they are."""
        return words


class SeparateMemory(Described, nn.Module):
    """Two separate memories, one for patches and one for words: BASE+MEM in section 3.2 of the paper.

    Args:
        dim: D.
        num_vectors: N of each memory.
        num_queried: K of each memory.
        num_threads: threads of each memory.
        dropout: of the weights.
        residual: see CrossModalMemory.

    Raises:
        ValueError: see MemoryNetwork.
    """

    def __init__(
        self,
        dim: int = 512,
        num_vectors: int = 2048,
        num_queried: int = 32,
        num_threads: int = 8,
        dropout: float = 0.1,
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.visual_network = MemoryNetwork(dim, num_vectors, num_queried, num_threads, dropout)
        self.textual_network = MemoryNetwork(dim, num_vectors, num_queried, num_threads, dropout)
        self.residual = residual

    def visual(self, patches: Tensor) -> Tensor:
        """Map patches (B, S, D) to the encoder's input (B, S, D)."""
        responses = self.visual_network(patches)
        return patches + responses if self.residual else responses

    def textual(self, words: Tensor) -> Tensor:
        """Map words (B, T, D) to the decoder's input (B, T, D), each word independently."""
        responses = self.textual_network(words)
        return words + responses if self.residual else responses


class CrossModalMemory(Described, nn.Module):
    """One memory for patches and words: CMN in section 2.2 of the paper.

    Args:
        dim: D.
        num_vectors: N, 2048 in the paper.
        num_queried: K, 32 in the paper.
        num_threads: 8 in the paper.
        dropout: of the weights.
        residual: True adds the response to the feature, as in the released code; False replaces the feature by it, as
            in Eqs. 14-15.

    Raises:
        ValueError: see MemoryNetwork.
    """

    def __init__(
        self,
        dim: int = 512,
        num_vectors: int = 2048,
        num_queried: int = 32,
        num_threads: int = 8,
        dropout: float = 0.1,
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.network = MemoryNetwork(dim, num_vectors, num_queried, num_threads, dropout)
        self.residual = residual

    @property
    def visual_network(self) -> MemoryNetwork:
        """The network of the patches, the same as that of the words."""
        return self.network

    @property
    def textual_network(self) -> MemoryNetwork:
        """The network of the words, the same as that of the patches."""
        return self.network

    def visual(self, patches: Tensor) -> Tensor:
        """Map patches (B, S, D) to the encoder's input (B, S, D)."""
        return self._respond(patches)

    def textual(self, words: Tensor) -> Tensor:
        """Map words (B, T, D) to the decoder's input (B, T, D), each word independently."""
        return self._respond(words)

    def _respond(self, features: Tensor) -> Tensor:
        responses = self.network(features)
        return features + responses if self.residual else responses
