"""Callback that logs how patches and words use the memory in each validation."""

from __future__ import annotations

import logging
import math
from functools import partial
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import nn

from r2cmn.explain import Alignment, Boxes, VectorUse
from r2cmn.kernels.topk import Queried
from r2cmn.types import Batch, Grounded, QueriedMemory

log = logging.getLogger("r2cmn")


class MemoryUse(pl.Callback):
    """Logs `val/memory/...`: which vectors patches and words use, how evenly, and how much both sets overlap.

    `r2cmn.explain.VectorUse` defines each number; `docs/ablate/memory.md` explains how to read them. Patches are those
    of all views. Words are those of the references under teacher forcing, without the opening 0 and the padding. Hooks
    record the queries while the loss is computed, so nothing is computed twice, unless the model is compiled or the
    objective does not run it. The callback does not change what the model generates or learns.

    With `memory=none` nothing is logged. With `memory=separate` there is no overlap, because the two memories have
    separate vectors. If the memory is shared and the data set provides boxes of its findings (`r2cmn.types.Grounded`,
    such as the phantoms), `r2cmn.explain.Alignment` is logged as well.

    Under DDP, a study counts on process `index % world_size`, where a distributed sampler puts it. Studies that the
    sampler repeats as padding do not count.

    Args:
        per_thread: whether each thread of the memory is logged, too, as `val/memory/thread_0/...`.
    """

    def __init__(self, per_thread: bool = False) -> None:
        if not isinstance(per_thread, bool):
            raise ValueError(f"callbacks.memory_use.per_thread must be true or false, not {per_thread!r}")
        self.per_thread = per_thread
        self._boxes: tuple[Any, Boxes | None] = (None, None)
        self._counts: _Counts | None = None

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._stop()
        memory = pl_module.model.memory
        if trainer.sanity_checking or not isinstance(memory, QueriedMemory):
            return
        network = memory.textual_network
        shared = network is memory.visual_network
        self._counts = _Counts(
            VectorUse(network.num_threads, len(network.matrix), shared, pl_module.device),
            self._align(trainer, pl_module) if shared else None,
            _Watch(pl_module.model),
        )

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        counts = self._counts
        if counts is None:
            return
        patches, words = counts.watch.take(batch)
        read = batch.tokens[:, :-1] > 0
        num_patches, counted, rows_counted = patches.weights.shape[1] // len(batch.index), None, None
        if trainer.world_size > 1:
            counted = batch.index % trainer.world_size == trainer.global_rank
            read, rows_counted = read & counted[:, None], counted.repeat_interleave(num_patches)
        counts.use.update(patches, words, rows_counted, read.flatten())
        if counts.alignment is not None and counts.alignment.boxes.fits(num_patches):
            counts.alignment.update(batch.index, patches, counted)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        counts = self._counts
        if counts is None:
            return
        total = partial(trainer.strategy.reduce, reduce_op="sum")
        counts.use.reduce(total)
        found = counts.use.compute()
        if counts.alignment is not None:
            counts.alignment.reduce(total)
            found |= counts.alignment.compute()
        shown = {
            k: v for k, v in found.items() if not math.isnan(v) and (self.per_thread or not k.startswith("thread_"))
        }
        pl_module.log_dict({f"val/memory/{name}": value for name, value in shown.items()})  # the same on every process
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._counts is not None:
            self._counts.watch.stop()
        self._counts = None

    def _align(self, trainer: pl.Trainer, module: Any) -> Alignment | None:
        data = getattr(trainer, "datamodule", None)
        if self._boxes[0] is not data:
            self._boxes = (data, _find_boxes(data, module))
        boxes = self._boxes[1]
        if boxes is None:
            return None
        boxes, network = boxes.to(module.device), module.model.memory.textual_network
        with torch.no_grad():  # words are queried one by one, as in `CMN.step`
            words = module.model.encoder_decoder.embed(boxes.tokens[:, None], boxes.positions)
            return Alignment(boxes, network.queried(words), len(network.matrix))


def _find_boxes(data: Any, module: Any) -> Boxes | None:
    """Return the boxes of the validation set, None if the data set has none."""
    if not isinstance(data, Grounded):
        return None
    tokens = [module.tokenizer.encode(study.report)[:-1] for study in data.studies["val"]]
    boxes = Boxes(data.groundings("val"), tokens, module.num_views)
    return boxes if len(boxes) else None


class _Counts(NamedTuple):
    """Counts of one validation."""

    use: VectorUse
    alignment: Alignment | None
    watch: _Watch


class _Watch:
    """Hooks that record the memory queries of a batch's patches and words under teacher forcing.

    Args:
        model: a `CMN`, whose patches query before its words.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._is_reading = False
        self._queried: list[Queried] = []
        # a shared memory has one module for both
        querying = {model.memory.visual_network.querying, model.memory.textual_network.querying}
        self._hooks = [
            model.register_forward_pre_hook(self._begin),
            model.register_forward_hook(self._end),
            *(module.register_forward_hook(self._keep) for module in querying),
        ]

    def stop(self) -> None:
        """Remove the hooks."""
        for hook in self._hooks:
            hook.remove()

    @torch.no_grad()
    def take(self, batch: Batch) -> tuple[Queried, Queried]:
        """Return the queries of the latest batch: patches (threads, B * S, K) and words (threads, B * T, K).

        They are computed if the hooks have not recorded them.
        """
        memory, read = self.model.memory, batch.tokens[:, :-1]
        if len(self._queried) != 2 or self._queried[1].weights.shape[1] != read.numel():
            words = self.model.encoder_decoder.embed(read, read.new_zeros(1))
            patches = memory.visual_network.queried(self.model.backbone(batch.images))
            self._queried = [patches, memory.textual_network.queried(words)]
        patches, words = self._queried
        self._queried = []
        return patches, words

    def _begin(self, module: nn.Module, arguments: Any) -> None:
        if not torch.compiler.is_compiling():
            self._is_reading, self._queried = True, []

    def _end(self, module: nn.Module, arguments: Any, output: Any) -> None:
        if not torch.compiler.is_compiling():
            self._is_reading = False

    def _keep(self, module: nn.Module, arguments: Any, output: Queried) -> None:
        if not torch.compiler.is_compiling() and self._is_reading:
            self._queried.append(output)
