"""The LightningModule: a model with its tokenizer and preprocessing, training, scoring and checkpoints."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from r2cmn.build import build, check_allowed, find_class, has_option
from r2cmn.checkpoints import compare_weights
from r2cmn.data.images import ImageTransform, Study, read_studies
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.encoder_decoder.wording import annotate, max_tokens, rewrites, to_targets, to_words
from r2cmn.metrics.synced import check_all_scored
from r2cmn.model import build_model
from r2cmn.objectives import check_model
from r2cmn.optimizer import make_optimizer
from r2cmn.types import Batch, Config, Generation, Hypotheses, Source

GENERATION: Config = {"_target_": "r2cmn.generation.BeamSearch", "num_beams": 3}
OBJECTIVE: Config = {"_target_": "r2cmn.objectives.CrossEntropy"}
METRICS: Config = {"_target_": "r2cmn.metrics.report.ReportMetrics"}


class CMNModule(pl.LightningModule):
    """A report generator: trains, tests, saves and loads checkpoints, and generates reports.

    All hyperparameters are plain containers. A checkpoint therefore holds everything that is needed to rebuild the
    module, and torch's safe loader reads it: `CMNModule.load_from_checkpoint(path)` needs no Hydra run, no data and no
    download. To train, `CMNModule.for_data(model, data)` reads what it needs from a data module.

    Args:
        model: descriptions of `backbone`, `memory` and `encoder_decoder`.
        data: of a data module's `describe()`: `tokenizer`, `images`, `license_class`; and the `annotations` of the
            encoder-decoder and the `objective_annotations`, if they make any.
        generation: description of the way to write reports; default: beam search with 3 beams.
        objective: description of the loss; default: cross entropy (Eq. 2).
        optimizer: description of a torch optimizer, also with `backbone_lr` for the trunk and a `schedule`.
        metrics: description of the scores of generated reports.

    Raises:
        NotAllowedError: if a description names a class outside the allowed packages; nothing has been imported then.
    """

    def __init__(
        self,
        model: Config,
        data: Config,
        generation: Config | None = None,
        objective: Config | None = None,
        optimizer: Config | None = None,
        metrics: Config | None = None,
    ) -> None:
        super().__init__()
        check_allowed([model, data, generation, objective, optimizer, metrics])
        # logger=False: the tokenizer's words and the annotations are text of the data set
        self.save_hyperparameters(logger=False)
        self.tokenizer = Tokenizer(**data["tokenizer"])
        self.num_views: int = data["images"]["num_views"]
        self.transform = ImageTransform(**{k: v for k, v in data["images"].items() if k != "num_views"})
        self.license_class: str = data["license_class"]
        self.model = build_model(model, self.tokenizer, data.get("annotations"))
        generation = {
            "max_length": max_tokens(self.model.encoder_decoder, self.tokenizer),
            **(generation or GENERATION),
        }
        self.generation = build(generation, "generation")
        offered = {"annotations": data["objective_annotations"]} if "objective_annotations" in data else {}
        self.objective = build(objective or OBJECTIVE, "objective", offered)
        check_model(self.objective, self.model.encoder_decoder)
        self.val_metrics = build(metrics or METRICS, "metrics")
        self.test_metrics = build(metrics or METRICS, "metrics")
        self.reports: list[tuple[int, str, str]] = []
        """(index, generated, reference) of the last validation or test, on every process."""

    @classmethod
    def for_data(cls, model: Config, data: Any, **parts: Config | None) -> CMNModule:
        """Build the module for a data module, with what encoder-decoder and objective annotate its training data with.

        Args:
            model: descriptions of `backbone`, `memory` and `encoder_decoder`.
            data: the data module; it is set up if it is not yet.
            parts: further descriptions, see the class.
        """
        described = data.describe()
        check_allowed(model)
        objective = parts.get("objective") or OBJECTIVE
        for key, part in {"annotations": model["encoder_decoder"], "objective_annotations": objective}.items():
            annotations = annotate(part, data.studies["train"], data.tokenizer)
            if annotations is not None:
                described[key] = annotations
        return cls(model=model, data=described, **parts)

    def write(self, images: Tensor) -> Hypotheses:
        """Write a report for each study of a batch of normalized images (B, I, 3, H, W), as token ids."""
        with torch.inference_mode():
            return self._write(self.model.encode(images), self.generation)

    def sample(
        self, images: Tensor | Source, generation: Generation | None = None, dropout: bool = False
    ) -> Hypotheses:
        """Write reports for an objective, without gradients.

        The tokens may be passed to `model(images, tokens)`, which returns their log-probabilities with gradients.

        Args:
            images: a batch of normalized images, or what `model.encode` returned for one.
            generation: the way to write them; default: the module's own.
            dropout: whether the model stays in training mode; batch norms then count `images` once more.
        """
        was_training = self.model.training
        self.model.train(was_training and dropout)
        try:
            with torch.no_grad():  # not inference mode: its tensors cannot take part in a backward pass
                source = self.model.encode(images) if isinstance(images, Tensor) else images
                return self._write(source, generation or self.generation)
        finally:
            self.model.train(was_training)

    def _write(self, source: Source, generation: Generation) -> Hypotheses:
        """Decode words in float32: autocast, which the trunk follows, makes single words no faster."""
        device = next(iter(source.values())).device.type
        with torch.autocast(device, enabled=False):
            dtype = next(self.model.parameters()).dtype
            source = {name: value.to(dtype) if value.is_floating_point() else value for name, value in source.items()}
            return generation(self.model.step, self.model.start(source))

    def to_words(self, tokens: Tensor) -> list[str]:
        """Turn rows of token ids (B, T), without their opening 0, into reports."""
        return [to_words(self.model.encoder_decoder, row, self.tokenizer) for row in tokens.tolist()]

    def generate(self, studies: Tensor | Sequence[Study]) -> list[str]:
        """Write the report of each study.

        Args:
            studies: normalized images (B, I, 3, H, W), or a list of studies, each a list of image files or pictures,
                one per view. Images are preprocessed as in training.

        Returns:
            One report per study.

        Raises:
            ValueError: if studies differ in their number of views, or a file is not an image.
        """
        images = studies if isinstance(studies, Tensor) else self.read(studies)
        if images.dim() != 5:
            raise ValueError(f"images are of shape (B, I, 3, H, W), not {tuple(images.shape)}")
        was_training = self.training
        self.eval()
        try:
            return self.to_words(self.write(images.to(self.device)).tokens)
        finally:
            self.train(was_training)

    forward = generate

    def read(self, studies: Sequence[Study]) -> Tensor:
        """Read and preprocess studies: (B, I, 3, H, W), see `r2cmn.data.images.read_studies`."""
        return read_studies(studies, self.transform)

    def setup(self, stage: str) -> None:
        """Give the data module what it needs of the model: the trunk to cache features, and how to rewrite reports."""
        data: Any = getattr(self.trainer, "datamodule", None)
        if getattr(data, "cache_features", "none") != "none":
            data.take_features_of(self.model.backbone)
        if data is not None and rewrites(self.model.encoder_decoder):
            data.rewrite_reports(partial(to_targets, self.model.encoder_decoder, tokenizer=self.tokenizer))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.objective(self, batch)
        self.log("train/loss", loss, prog_bar=True, on_step=True, on_epoch=False, batch_size=len(batch.index))
        return loss

    def configure_optimizers(self) -> Any:
        return make_optimizer(self.hparams["optimizer"], self.model, self._trainer)

    # ---- scoring ---------------------------------------------------------------------------------------------------

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._score(batch, self.val_metrics)
        loss = self.objective(self, batch)
        self.log("val/loss", loss, prog_bar=True, sync_dist=True, batch_size=len(batch.index))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._score(batch, self.test_metrics)

    def _score(self, batch: Batch, metrics: Any) -> None:
        generated = self.to_words(self.write(batch.images).tokens)
        # as released: the reference is decoded from the ids, cut and with <unk>
        references = [self.tokenizer.decode(row) for row in batch.tokens[:, 1:].tolist()]
        metrics.update(generated, references, batch.index)

    def on_validation_epoch_end(self) -> None:
        self._finish("val", self.val_metrics)

    def on_test_epoch_end(self) -> None:
        self._finish("test", self.test_metrics)

    def _finish(self, split: str, metrics: Any) -> None:
        self.reports = metrics.reports()
        if self._trainer is not None and not self.trainer.sanity_checking:
            check_all_scored(self.trainer, split, len(self.reports))
        scores = metrics.compute()
        metrics.reset()
        # scores are equal on all processes; one that cannot be computed (METEOR without Java) is NaN and not logged
        for name, value in scores.items():
            if not math.isnan(value):
                self.log(f"{split}/{name}", value, prog_bar=name == "BLEU_4")

    # ---- checkpoints -----------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Describe the trunk without pretrained weights: loading a checkpoint, which has its own, fetches none."""
        parameters = copy.deepcopy(dict(checkpoint["hyper_parameters"]))
        backbone = parameters["model"]["backbone"]
        if has_option(find_class(backbone["_target_"]), "pretrained"):
            backbone["pretrained"] = False
        checkpoint["hyper_parameters"] = parameters

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raise a clear error for weights or annotations of another model."""
        for key in ("annotations", "objective_annotations"):
            if checkpoint["hyper_parameters"]["data"].get(key) != self.hparams["data"].get(key):
                raise ValueError(
                    f"the checkpoint has other {key.replace('_', ' ')} than these data and this objective give: resume "
                    "it with its own, or start from its weights with init_from"
                )
        self.check_weights(checkpoint)

    def check_weights(self, checkpoint: dict[str, Any]) -> None:
        """Raise ValueError, naming the first difference, unless the weights of a checkpoint fit this model."""
        compare_weights(checkpoint["state_dict"], self.state_dict())
