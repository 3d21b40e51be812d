"""Alignment of modalities: whether the words of a finding and the patches in its box use the same memory vectors.

Shapes: T threads, n studies of a split, B studies of a batch, F boxes of a study, W words that name a finding, S
patches of all views, P distinct pairs of word and position, N vectors, K queried.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from r2cmn.kernels.topk import Queried
from r2cmn.types import Grounding


class Boxes:
    """The boxes of a split and the words that name their findings, as tensors indexed by study.

    Args:
        groundings: of each study of the split, see `r2cmn.types.Grounded`.
        tokens: of each study, the ids that the decoder reads: those of `Tokenizer.encode` without the last. A finding
            whose words were all cut off is left out.
        num_views: images of a study that the model reads; boxes in other images are left out.

    Attributes:
        tokens: (P,) int64, the distinct words that name findings.
        positions: (P,) int64, their positions in a report; the memory's response depends on these two only.
    """

    def __init__(self, groundings: Sequence[Sequence[Grounding]], tokens: Sequence[Sequence[int]], num_views: int):
        self.num_views = num_views
        pairs: dict[tuple[int, int], int] = {}
        rows: list[list[tuple[list[int], Grounding]]] = []
        for findings, read in zip(groundings, tokens, strict=True):
            rows.append([])
            for finding in findings:
                named = [(read[at + 1], at + 1) for at in finding.words if at + 1 < len(read)]
                if named and finding.view < num_views:
                    rows[-1].append(([pairs.setdefault(pair, len(pairs)) for pair in named], finding))
        self.tokens = torch.tensor([token for token, _ in pairs], dtype=torch.int64)
        self.positions = torch.tensor([position for _, position in pairs], dtype=torch.int64)
        most = max([len(row) for row in rows], default=0)
        longest = max([len(words) for row in rows for words, _ in row], default=0)
        self.words = torch.full((len(rows), most, longest), len(pairs), dtype=torch.int64)  # P: no word
        self.views = torch.full((len(rows), most), -1, dtype=torch.int64)  # -1: no box
        self.edges = torch.zeros(len(rows), most, 4)
        for study, row in enumerate(rows):
            for place, (words, finding) in enumerate(row):
                self.words[study, place, : len(words)] = torch.tensor(words)
                self.views[study, place] = finding.view
                self.edges[study, place] = torch.tensor(finding.box)

    def __len__(self) -> int:
        return int((self.views >= 0).sum())

    def to(self, device: torch.device | str) -> Boxes:
        """Move the tensors to a device."""
        for name in ("tokens", "positions", "words", "views", "edges"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def fits(self, num_patches: int) -> bool:
        """Return whether the patches of each view form a square."""
        side = math.isqrt(num_patches // self.num_views)
        return side * side * self.num_views == num_patches

    def inside_and_outside(self, index: Tensor, num_patches: int) -> tuple[Tensor, Tensor]:
        """Return the patches in each box of studies (B,), and the other patches of the same image, both (B, F, S).

        Raises:
            ValueError: if the patches of a view do not form a square.
        """
        if not self.fits(num_patches):
            raise ValueError(f"{num_patches} patches of {self.num_views} views are not a square of patches each")
        side = math.isqrt(num_patches // self.num_views)
        inside = patches_in_boxes(self.edges[index], side, side).repeat(1, 1, self.num_views)
        patch = torch.arange(num_patches, device=index.device)
        same_view = self.views[index][..., None] == patch // side**2
        return inside & same_view, ~inside & same_view


class Alignment:
    """Running sums over boxes of how similar the patches inside and outside are to the words that name the finding.

    A patch, and the mean of the words that name a finding, are distributions over the vectors of one shared memory in
    each thread. Their similarity is the Bhattacharyya coefficient, averaged over the threads.

    Args:
        boxes: of the split, on the device of the updates.
        naming: the vectors that the words `boxes.tokens` at `boxes.positions` query, (T, P, K).
        num_vectors: N.
    """

    def __init__(self, boxes: Boxes, naming: Queried, num_vectors: int) -> None:
        self.boxes = boxes
        self.num_vectors = num_vectors
        naming = naming._replace(weights=naming.weights.float())  # bfloat16 would cause ties
        threads = len(naming.weights)
        none = naming.weights.new_zeros(threads, 1, naming.weights.shape[2])  # padding of the words queries nothing
        self._naming = Queried(
            torch.cat([naming.weights, none], 1), torch.cat([naming.vectors, torch.zeros_like(none).long()], 1)
        )
        times = boxes.words.flatten().bincount(minlength=len(boxes.tokens) + 1)[:-1]
        # by distinct word, since a split has many words
        weights = (naming.weights * times[:, None] / times.sum()).flatten(1)
        general = weights.new_zeros(threads, num_vectors).scatter_add_(1, naming.vectors.flatten(1), weights)
        self._general = general.sqrt()[:, None, None]  # (T, 1, 1, N)
        exact = torch.float32 if none.device.type == "mps" else torch.float64
        # alignment of each thread and of all, with any finding's words, and the difference
        self._sums = torch.zeros(threads + 3, dtype=exact, device=none.device)
        self._number = torch.zeros((), dtype=torch.int64, device=none.device)

    def update(self, index: Tensor, patches: Queried, counted: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            index: (B,) positions of the studies in their split.
            patches: the vectors that their patches query, (T, B * S, K).
            counted: (B,) 0 for studies to ignore; None counts all.

        Raises:
            ValueError: if the patches do not fit the boxes (`Boxes.fits`).
        """
        studies = len(index)
        weights, vectors = (part.unflatten(1, (studies, -1)) for part in patches)  # (T, B, S, K)
        weights = weights.float()
        inside, outside = self.boxes.inside_and_outside(index, weights.shape[2])
        if counted is not None:
            inside = inside & (counted > 0)[:, None, None]
        words = self._of_words(self.boxes.words[index]).sqrt()  # (T, B, F, N)
        threads = resemblance(words, weights, vectors)  # (T, B, F, S)
        resembling = torch.cat([threads, threads.mean(0, keepdim=True)])
        in_general = resemblance(self._general.expand(-1, studies, -1, -1), weights, vectors).mean(0, keepdim=True)
        has_both = inside.any(-1) & outside.any(-1)
        found = torch.cat(
            [
                _above(resembling, inside, outside),
                _above(in_general, inside, outside),
                _mean(resembling[-1:], inside) - _mean(resembling[-1:], outside),
            ]
        )
        self._sums += found.masked_fill(~has_both, 0).sum((1, 2))
        self._number += has_both.sum()

    def reduce(self, total: Callable[[Tensor], Tensor]) -> None:
        """Apply `total` to every sum, such as a sum over all processes."""
        self._sums, self._number = total(self._sums), total(self._number)

    def compute(self) -> dict[str, float]:
        """Return the means over all boxes with patches inside and outside; {} if there are none.

        - `alignment`: the probability that a patch inside the box is more similar to the words that name the finding
          than a patch of the same image outside the box; ties count half, and 0.5 is chance.
        - `alignment_any_finding`: the same with the words of all findings of the split: how far the place alone, or
          findings in general, explain the alignment.
        - `alignment_difference`: mean similarity inside minus outside, -1 to 1.
        - `alignment_boxes`: the number of boxes.

        `thread_0/alignment` and so on are of one thread.
        """
        number = int(self._number)
        if not number:
            return {}
        *threads, together, any_finding, difference = (self._sums / number).tolist()
        found = {
            "alignment": together,
            "alignment_any_finding": any_finding,
            "alignment_difference": difference,
            "alignment_boxes": float(number),
        }
        return found | {f"thread_{i}/alignment": value for i, value in enumerate(threads)}

    def _of_words(self, words: Tensor) -> Tensor:
        """Return the mean weights (T, B, F, N) of words (B, F, W), which are indices of `naming`."""
        weights, vectors = (part[:, words].flatten(3) for part in self._naming)
        known = (words < len(self.boxes.tokens)).sum(-1).clamp(min=1)
        total = weights.new_zeros(*weights.shape[:3], self.num_vectors).scatter_add_(-1, vectors, weights)
        return total / known[..., None]


def patches_in_boxes(edges: Tensor, rows: int, columns: int) -> Tensor:
    """Return which patches of a view are in each box: those whose center is in it, and the one that holds its center.

    Args:
        edges: (..., 4) left, top, right and bottom, as fractions of width and height.
        rows: of the patches.
        columns: of the patches.

    Returns:
        (..., rows * columns), row by row.
    """
    left, top, right, bottom = (edge[..., None] for edge in edges.unbind(-1))
    patch = torch.arange(rows * columns, device=edges.device)
    column, row = patch % columns, patch // columns
    x, y = (column + 0.5) / columns, (row + 0.5) / rows
    is_in = (left <= x) & (x < right) & (top <= y) & (y < bottom)
    holds = ((left + right) / 2 * columns).floor() == column
    return is_in | (holds & (((top + bottom) / 2 * rows).floor() == row))


def resemblance(words: Tensor, weights: Tensor, vectors: Tensor) -> Tensor:
    """Return the Bhattacharyya coefficients of what words and patches query, in each thread.

    Args:
        words: (T, B, F, N) square roots of the weights of all vectors.
        weights: (T, B, S, K) of the vectors that patches query.
        vectors: (T, B, S, K) their numbers.

    Returns:
        (T, B, F, S), 0 (no vector in common) to 1 (the same weights).
    """
    shape = (*words.shape[:3], *vectors.shape[2:])
    at_queried = words[..., None, :].expand(*shape[:4], -1).gather(-1, vectors[:, :, None].expand(shape))
    return (at_queried * weights.sqrt()[:, :, None]).sum(-1)


def _above(values: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
    """Return how often a value (T, B, F or 1, S) inside exceeds one outside (B, F, S): the area under the ROC curve.

    By sorting: a view may have hundreds of patches, and all pairs of them would need too much GPU memory.
    """
    values = values.expand(-1, *inside.shape).contiguous()
    others = values.masked_fill(~outside, math.inf).sort().values
    wins = torch.searchsorted(others, values) + torch.searchsorted(others, values, right=True)  # ties half
    return 0.5 * (wins * inside).sum(-1) / (inside.sum(-1) * outside.sum(-1))


def _mean(values: Tensor, where: Tensor) -> Tensor:
    return (values * where).sum(-1) / where.sum(-1)
