"""The memory between the modalities: querying and responding (Eqs. 4-13) and the three ways to use it.

Shapes: B studies, L patches or words, D `dim`, N `num_vectors`, K `num_queried`, R = B * L rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from r2cmn.kernels.dropout import Dropout
from r2cmn.kernels.kept import Kept, stamp
from r2cmn.kernels.topk import Queried, respond, score


class Querying(nn.Module):
    """The K vectors that answer a query, Eqs. 7-10; a module so that a forward hook sees what is queried."""

    def forward(self, queries: Tensor, keys: Tensor, num_queried: int) -> Queried:
        """Query keys (threads, N, D / threads) with rows of queries (threads, R, D / threads)."""
        # The bias of the keys adds a constant to all scores of a row, many times their differences in a young matrix:
        # in bfloat16 these would drown, and the K queried be picked by chance.
        with torch.autocast(queries.device.type, enabled=False):
            kept, queried = score(queries.to(keys.dtype), keys, num_queried)  # Eq. 7, Eq. 8
            return Queried(kept.softmax(-1), queried)  # Eq. 9, Eq. 10


class MemoryNetwork(nn.Module):
    """A matrix of memory vectors that features query and that responds to them (section 2.2 of the paper).

    Each thread works on D / num_threads dimensions: it scores all N vectors, keeps the K with the largest scores,
    and responds with their weighted sum.

    Args:
        dim: D.
        num_vectors: N, the rows of the matrix M.
        num_queried: K, the vectors that answer a feature; at most N.
        num_threads: independent queries a feature; must divide `dim`.
        dropout: probability to drop a weight after the softmax.

    Raises:
        ValueError: where the numbers do not fit together; the message names the key.
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
                f"memory.num_queried must lie between 1 and memory.num_vectors ({num_vectors}), not {num_queried}"
            )
        if num_threads < 1 or dim % num_threads:
            raise ValueError(f"memory.num_threads must be a divisor of dim ({dim}), not {num_threads}")
        self.num_queried = num_queried
        self.num_threads = num_threads
        # 1/512 in the paper's size, as in the released code.
        self.matrix = nn.Parameter(torch.randn(num_vectors, dim) / dim)
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.querying = Querying()
        # Departs from the paper: the released code maps the joined threads once more, and drops weights.
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
        """Return what features (B, L, D) query: the rows R are the features of one study behind those of the other."""
        return self._query(features, self._project_matrix()[0])

    def weights(self, features: Tensor) -> Tensor:
        """Return the weights (B, num_threads, L, N) of every memory vector, Eqs. 9-10: zero outside the K queried."""
        weights, queried = self.queried(features)
        dense = weights.new_zeros(*weights.shape[:2], len(self.matrix)).scatter_(-1, queried, weights)
        batch, length, _ = features.shape
        return dense.view(self.num_threads, batch, length, -1).transpose(0, 1)

    def _query(self, features: Tensor, keys: Tensor) -> Queried:
        queries = self._split(self.query(features.flatten(0, 1)))  # Eq. 5, Eq. 6
        # Departs from the paper: divided by sqrt(D / threads) as released, where Eqs. 7-8 have sqrt(D).
        return self.querying(queries * queries.shape[-1] ** -0.5, keys, self.num_queried)

    def _project_matrix(self) -> tuple[Tensor, Tensor]:
        """Return keys and values (threads, N, D / threads) of the matrix, Eq. 4 and Eq. 11.

        While nothing is learnt they are kept from call to call: a report is written word by word, and projecting the
        matrix for every word would take longer than all the rest.
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


class NoMemory(nn.Module):
    """The model without a memory: BASE in section 3.2 of the paper."""

    def visual(self, patches: Tensor) -> Tensor:
        """Return the patches (B, S, D) as they are."""
        return patches

    def textual(self, words: Tensor) -> Tensor:
        """Return the words (B, T, D) as they are."""
        return words


class SeparateMemory(nn.Module):
    """Two memories that share nothing, one for patches and one for words: BASE+MEM in section 3.2 of the paper.

    Args:
        dim: D.
        num_vectors: N of each memory.
        num_queried: K of each memory.
        num_threads: threads of each memory.
        dropout: of the weights.
        residual: see CrossModalMemory.

    Raises:
        ValueError: as MemoryNetwork does.
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
        """Map patches (B, S, D) to what the encoder reads (B, S, D)."""
        responses = self.visual_network(patches)
        return patches + responses if self.residual else responses

    def textual(self, words: Tensor) -> Tensor:
        """Map words (B, T, D) to what the decoder reads (B, T, D), each word by itself."""
        responses = self.textual_network(words)
        return words + responses if self.residual else responses


class CrossModalMemory(nn.Module):
    """One memory for patches and words: CMN in section 2.2 of the paper.

    Args:
        dim: D.
        num_vectors: N, 2048 in the paper.
        num_queried: K, 32 in the paper.
        num_threads: 8 in the paper.
        dropout: of the weights.
        residual: True adds the response to the feature, as the released code does; False puts it in the feature's
            place, as Eqs. 14-15 are written.

    Raises:
        ValueError: as MemoryNetwork does.
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
        """The network that patches query, which is the one that words query."""
        return self.network

    @property
    def textual_network(self) -> MemoryNetwork:
        """The network that words query, which is the one that patches query."""
        return self.network

    def visual(self, patches: Tensor) -> Tensor:
        """Map patches (B, S, D) to what the encoder reads (B, S, D)."""
        return self._respond(patches)

    def textual(self, words: Tensor) -> Tensor:
        """Map words (B, T, D) to what the decoder reads (B, T, D), each word by itself."""
        return self._respond(words)

    def _respond(self, features: Tensor) -> Tensor:
        responses = self.network(features)
        return features + responses if self.residual else responses
