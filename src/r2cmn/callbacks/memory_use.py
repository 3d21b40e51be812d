"""What the memory is used for, logged each validation."""

from __future__ import annotations

import logging
import math
from functools import partial
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from r2cmn.diagnostics import Alignment, Boxes, VectorUse
from r2cmn.queried import Queried
from r2cmn.types import Batch, Grounded, QueriedMemory

log = logging.getLogger("r2cmn")

_ROWS_AT_ONCE = 4096


class MemoryUse(pl.Callback):
    """Logs `val/memory/...`: which vectors patches and words use, how evenly, and how far both use the same ones.

    `r2cmn.diagnostics.VectorUse` says what each number is, and `docs/memory.md` how to read it. Patches are those of
    every view; what they query is seen by hooks while the reports are written, so nothing is computed twice. Words are
    those of the references as the decoder reads them under teacher forcing, without the opening 0 and the padding: a
    memory's response depends on a word and its position alone, so they are counted, and each pair is asked once at the
    end. What the model writes and learns is bit for bit the same with this callback and without.

    With `memory=none` nothing is logged. With `memory=separate` there is no overlap: vector 7 of one memory has nothing
    to do with vector 7 of the other. Where the data know the boxes of their findings (`r2cmn.types.Grounded`, such as
    the phantoms) and the memory is shared, `r2cmn.diagnostics.Alignment` is logged, too.

    Under DDP a study counts on the process `index % processes`, where a distributed sampler puts it; what the sampler
    repeats to fill up does not count.
    """

    def __init__(self) -> None:
        self._boxes: tuple[Any, Boxes | None] = (None, None)
        self._counts: _Counts | None = None

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Begin to count, where the memory can be watched."""
        self._stop()
        memory = pl_module.model.memory
        if trainer.sanity_checking or not isinstance(memory, QueriedMemory):
            return
        network, device, tokenizer = memory.textual_network, pl_module.device, pl_module.tokenizer
        shared = network is memory.visual_network
        self._counts = _Counts(
            VectorUse(network.num_threads, len(network.matrix), shared, device),
            _ReadWords(tokenizer.max_length, tokenizer.vocabulary_size, device),
            self._align(trainer, pl_module) if shared else None,
            _Watch(pl_module.model.backbone, memory.visual_network.querying),
        )

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Count a batch."""
        counts = self._counts
        if counts is None or counts.watch.patches is None:
            return
        patches, counted, rows_counted = counts.watch.patches, None, None
        num_patches = patches.weights.shape[1] // len(batch.index)
        if trainer.world_size > 1:
            counted = (batch.index % trainer.world_size == trainer.global_rank).long()
            rows_counted = counted.repeat_interleave(num_patches)
        counts.use.update(patches, patches_counted=rows_counted)
        counts.read.update(batch.tokens[:, :-1], counted)
        if counts.alignment is not None and counts.alignment.boxes.fits(num_patches):
            counts.alignment.update(batch.index, patches, counted)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Log the numbers; collective under DDP."""
        counts = self._counts
        if counts is None:
            return
        total = partial(trainer.strategy.reduce, reduce_op="sum")
        counts.use.reduce(total)
        counts.read.times = total(counts.read.times)
        for tokens, positions, times in counts.read.pairs():
            counts.use.update(words=_queried(pl_module.model, tokens, positions), words_counted=times)
        found = counts.use.compute()
        if counts.alignment is not None:
            counts.alignment.reduce(total)
            found |= counts.alignment.compute()
        # the same on every process
        pl_module.log_dict({f"val/memory/{name}": value for name, value in found.items() if not math.isnan(value)})
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave no hook behind."""
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
        boxes = boxes.to(module.device)
        naming = _queried(module.model, boxes.tokens, boxes.positions)
        return Alignment(boxes, naming, len(module.model.memory.textual_network.matrix))


def _find_boxes(data: Any, module: Any) -> Boxes | None:
    """Return the boxes of the validation set, None where the data know none."""
    if not isinstance(data, Grounded):
        return None
    tokens = [module.tokenizer.encode(study.report)[:-1] for study in data.studies["val"]]
    boxes = Boxes(data.groundings("val"), tokens, module.num_views)
    return boxes if len(boxes) else None


@torch.no_grad()
def _queried(model: Any, tokens: Tensor, positions: Tensor) -> Queried:
    """Return what words (P,) at positions (P,) query, as `CMN.step` asks for them, in evaluation mode."""
    embed, network = model.encoder_decoder.embed, model.memory.textual_network
    parts = [
        network.queried(embed(some[:, None], where))
        for some, where in zip(tokens.split(_ROWS_AT_ONCE), positions.split(_ROWS_AT_ONCE), strict=True)
    ]
    return Queried(*(torch.cat(part, 1) for part in zip(*parts, strict=True)))


class _Counts(NamedTuple):
    """What is counted in one validation."""

    use: VectorUse
    read: _ReadWords
    alignment: Alignment | None
    watch: _Watch


class _Watch:
    """Hooks that keep what the patches of the latest batch queried: the first query after the backbone has run."""

    def __init__(self, backbone: nn.Module, querying: nn.Module) -> None:
        self.patches: Queried | None = None
        self._awaited = False
        self._hooks = [
            backbone.register_forward_hook(self._on_patches),
            querying.register_forward_hook(self._on_queried),
        ]

    def stop(self) -> None:
        for hook in self._hooks:
            hook.remove()

    # Reports are written outside of what is compiled: nothing is missed there.
    def _on_patches(self, module: nn.Module, arguments: Any, output: Any) -> None:
        if not torch.compiler.is_compiling():
            self._awaited = True

    def _on_queried(self, module: nn.Module, arguments: Any, output: Queried) -> None:
        if not torch.compiler.is_compiling() and self._awaited:
            self.patches, self._awaited = output, False


class _ReadWords:
    """How often each word was read at each position."""

    def __init__(self, max_length: int, vocabulary_size: int, device: torch.device) -> None:
        self.vocabulary_size = vocabulary_size
        self.times = torch.zeros(max_length * vocabulary_size, dtype=torch.int64, device=device)

    def update(self, tokens: Tensor, counted: Tensor | None) -> None:
        """Count words (B, T) above 0 of the studies that count (B,)."""
        times = (tokens > 0).long() if counted is None else (tokens > 0) * counted[:, None]
        pairs = torch.arange(tokens.shape[1], device=tokens.device) * self.vocabulary_size + tokens
        self.times.index_add_(0, pairs.flatten(), times.flatten())

    def pairs(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return words, positions and times (P,) of what was read, some thousands at a time."""
        read = self.times.nonzero().squeeze(1)
        return [
            (some % self.vocabulary_size, some // self.vocabulary_size, self.times[some])
            for some in read.split(_ROWS_AT_ONCE)
            if len(some)
        ]
