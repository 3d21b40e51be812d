"""Metrics with tensor states and the index of each study: any number of processes computes the scores of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from torchmetrics.utilities.distributed import gather_all_tensors

_INDEX = torch.zeros(0, dtype=torch.int64)
Outcome = TypeVar("Outcome")


class SyncedMetric(Metric):
    """Base class of the metrics of this package: gathers all states, keeps each study once, scores on one process.

    A subclass lists its states in `empty`, returns those of a batch from `_states`, and scores the studies at `_places`
    in `_scores`. A study that a sampler repeated to fill the last batch counts once, and studies are ordered
    by their index, so any number of processes gives bit for bit the scores of one.

    Attributes:
        empty: state -> its empty tensor, with the dtype and trailing shape that a process without studies sends.
    """

    is_differentiable = False
    higher_is_better = True
    # with this, `forward` adds a batch to the state before it scores the batch alone, so a running count continues
    full_state_update = True

    empty: ClassVar[dict[str, Tensor]] = {}

    index: list[Tensor] | Tensor  # (B,) int64

    def __init__(self) -> None:
        super().__init__()
        for name in self._empty():
            self.add_state(name, default=[], dist_reduce_fx="cat")
        self._is_counted: bool | None = None

    def update(
        self, generated: Sequence[str], references: Sequence[str], index: Tensor | Sequence[int] | None = None
    ) -> None:
        """Add the reports of a batch.

        Args:
            generated: reports, words separated by spaces; may be empty strings.
            references: one for each report.
            index: (B,) the position of each study in its split, by which repeated studies are dropped. Without it,
                studies count as they come, and those that a sampler repeats to fill a batch count twice.

        Raises:
            ValueError: if the numbers of references or indices differ from that of reports.
        """
        _check_pairs(generated, references, index)
        self._append(len(generated), index, self._states(generated, references))

    def compute(self) -> dict[str, float]:
        """Score every study once; collective: call it on every process.

        Raises:
            ValueError: if no process has a study.
            RuntimeError: on the other processes, if the first one raises anything; with its message.
        """
        if not self._is_synced:
            return self._scores()
        try:
            return _on_first_process(self._scores, self.process_group)
        except Exception:
            self.unsync()  # torchmetrics would leave the gathered state in place of this process's own
            raise

    def reset(self) -> None:
        """Forget all studies."""
        super().reset()
        self._is_counted = None

    def _states(self, generated: Sequence[str], references: Sequence[str]) -> dict[str, Tensor]:
        raise NotImplementedError

    def _scores(self) -> dict[str, float]:
        raise NotImplementedError

    def _empty(self) -> dict[str, Tensor]:
        return {**self.empty, "index": _INDEX}

    def _append(self, num_studies: int, index: Tensor | Sequence[int] | None, new: dict[str, Tensor]) -> None:
        """Add the states of a batch.

        Raises:
            ValueError: if there are not as many indices as studies, or only some batches have an index.
        """
        if self._is_counted not in (None, index is None) and num_studies:
            raise ValueError("give the index of the studies in every update or in none until the next reset")
        numbers = self._count(num_studies) if index is None else torch.as_tensor(index).detach().flatten()
        if len(numbers) != num_studies:
            raise ValueError(f"every study needs one index: there are {num_studies} studies and {len(numbers)} indices")
        if num_studies:
            self._is_counted = index is None
        for name, value in {**new, "index": numbers.to(torch.int64)}.items():
            getattr(self, name).append(value.to(self.device))

    def _count(self, num_studies: int) -> Tensor:
        """Number the studies of a batch as a distributed sampler assigns them, one to each process in turn."""
        known, group = self._joined("index").numel(), self.process_group
        rank, size = (dist.get_rank(group), dist.get_world_size(group)) if _parallel() else (0, 1)
        return (torch.arange(num_studies) + known) * size + rank

    def _state(self) -> dict[str, Tensor]:
        """Return all states on the CPU as they were added, repeated studies included."""
        return {name: self._joined(name).cpu() for name in self._empty()}

    def _places(self) -> np.ndarray:
        """Return the first position of each study in the states, ordered by index."""
        return np.unique(self._joined("index").cpu().numpy(), return_index=True)[1]

    def _together(self, read: Callable[[], Outcome]) -> Outcome:
        """Call `read` with the gathered states of all processes, then restore those of this process."""
        if self._is_synced:
            return read()
        self.sync()
        try:
            return read()
        finally:
            self.unsync(should_unsync=self._is_synced)

    def _joined(self, name: str) -> Tensor:
        state = getattr(self, name)
        return self._empty()[name] if isinstance(state, list) and not state else dim_zero_cat(state)

    def _sync_dist(self, dist_sync_fn: Callable = gather_all_tensors, process_group: Any | None = None) -> None:
        """Gather the states of all processes, in the order of their ranks.

        Departs from torchmetrics: a process without studies sends empty tensors of the state's dtype (torchmetrics
        sends float32, on which the others fail), and tensors are sent from the device that the backend supports.
        """
        group = process_group or self.process_group
        device = _device_of(group)
        for name in self._empty():
            gathered = dist_sync_fn(self._joined(name).to(device), group=group)
            setattr(self, name, torch.cat(gathered).to(self.device))


def _check_pairs(generated: Sequence[str], references: Sequence[str], index: Tensor | Sequence[int] | None) -> None:
    """Raise ValueError unless both are lists of the same length, which `index`, if given, has too."""
    if isinstance(generated, str) or isinstance(references, str):
        raise ValueError("reports are a list of strings, not one string: put the report into a list")
    indices = index if index is None or isinstance(index, Tensor) else torch.as_tensor(index)
    if len(generated) != len(references) or (indices is not None and indices.numel() != len(generated)):
        known = "" if indices is None else f" and {indices.numel()} indices"
        raise ValueError(
            "every report needs one reference and one index: there are "
            f"{len(generated)} reports, {len(references)} references{known}"
        )


def _parallel() -> bool:
    return dist.is_available() and dist.is_initialized()


def _device_of(group: Any | None) -> torch.device:
    """Return the device from which tensors are sent: NCCL sends those of a GPU, gloo those of the CPU."""
    if _parallel() and "nccl" in str(dist.get_backend(group)):
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _on_first_process(score: Callable[[], dict[str, float]], group: Any | None) -> dict[str, float]:
    """Call `score` on the first process of the group (Java starts once); all processes return or raise its outcome."""
    outcome: list[Any] = [None, None]
    error: Exception | None = None
    if dist.get_rank(group) == 0:
        try:
            outcome[0] = score()
        except Exception as raised:  # of any kind: the others wait for the outcome
            error = raised
            outcome[1] = f"{type(raised).__name__}: {raised}"
    dist.broadcast_object_list(outcome, group=group, group_src=0, device=_device_of(group))
    if error is not None:
        raise error
    if outcome[1] is not None:
        raise RuntimeError(f"the first process could not score the reports: {outcome[1]}")
    return outcome[0]


def check_all_scored(trainer: Any, split: str, num_scored: int) -> None:
    """Raise ValueError unless each study of a split was scored, or of the batches to which the trainer is limited."""
    loader: Any = trainer.test_dataloaders if split == "test" else trainer.val_dataloaders
    limit: Any = trainer.limit_test_batches if split == "test" else trainer.limit_val_batches
    if getattr(loader, "batch_size", None) is None or not hasattr(loader.dataset, "__len__"):
        return  # the number of studies is unknown
    num_studies = len(loader.dataset)
    if not (isinstance(limit, float) and limit == 1.0):  # 1 is one batch
        num_batches = (trainer.num_test_batches if split == "test" else trainer.num_val_batches)[0]
        num_studies = min(num_studies, int(num_batches) * loader.batch_size * trainer.world_size)
    if num_scored != num_studies:
        raise ValueError(
            f"{num_scored} of {num_studies} studies of '{split}' were scored: the scores would be of a part of the "
            "split; compare the number of processes with trainer.devices and trainer.num_nodes"
        )
