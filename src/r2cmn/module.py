"""The LightningModule: a model with its tokenizer and preprocessing, training, scoring and checkpoints."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Self

import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from r2cmn.build import check_allowed, find_class, has_option
from r2cmn.checkpoints import compare_weights
from r2cmn.data.images import ImageTransform
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.encoder_decoder.wording import annotate, rewrites, to_targets
from r2cmn.metrics.synced import check_all_scored
from r2cmn.optimizer import make_optimizer
from r2cmn.parts import OBJECTIVE, Parts, build_parts, find_missing, take_parts
from r2cmn.protocols import check_batch
from r2cmn.sharing.mixin import Shareable
from r2cmn.types import Backbone, Batch, Config, EncoderDecoder, Generation, Memory, Objective
from r2cmn.writing import Writing


class CMNModule(Shareable, Writing):
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
        self._take(build_parts(self.hparams))

    def _take(self, parts: Parts) -> None:
        data = self.hparams["data"]
        self.tokenizer = Tokenizer(**data["tokenizer"])
        self.num_views = data["images"]["num_views"]
        self.transform = ImageTransform(**{k: v for k, v in data["images"].items() if k != "num_views"})
        self.license_class = data["license_class"]
        self.model = parts.model
        self.generation = parts.generation
        self.objective = parts.objective
        self.val_metrics, self.test_metrics = parts.val_metrics, parts.test_metrics
        self.reports: list[tuple[int, str, str]] = []
        """(index, generated, reference) of the last validation or test, on every process."""

    @classmethod
    def from_parts(
        cls,
        *,
        backbone: Backbone,
        memory: Memory,
        encoder_decoder: EncoderDecoder,
        data: Any,
        objective: Objective | Config | None = None,
        optimizer: Callable[..., torch.optim.Optimizer] | Config | None = None,
        generation: Generation | Config | None = None,
        metrics: Any = None,
        describe: Mapping[str, Config] | None = None,
    ) -> Self:
        """Make a module of objects, such as a user's own backbone, memory or encoder-decoder (docs/extend.md).

        A checkpoint holds the class and the constructor's arguments of each part. Those of r2cmn's own classes are
        known; other classes offer them with a method `description()` or are described here. A module with a part that
        is not described trains, but its checkpoints can only be resumed by the same code.

        Args:
            backbone: an nn.Module, images -> patches.
            memory: an nn.Module with `visual` and `textual`.
            encoder_decoder: an nn.Module with the five methods of `r2cmn.types.EncoderDecoder`.
            data: the data module, or its `describe()`.
            objective: the loss, or its description; default: cross entropy.
            optimizer: a description, or `functools.partial` of a class of torch; default: the paper's.
            generation: the way to write reports, or its description; default: beam search with 3 beams.
            metrics: the scores of generated reports, or their description.
            describe: the arguments of constructors by the name of the part, `{"memory": {"size": 16}}`.

        Raises:
            PartError: if a part does not follow its protocol; the message says what is missing.
            DescriptionError: if `describe` does not fit a class.
        """
        given = {"backbone": backbone, "memory": memory, "encoder_decoder": encoder_decoder, "generation": generation,
                 "objective": objective, "optimizer": optimizer, "metrics": metrics}  # fmt: skip
        described, parts = take_parts(given, data, describe or {})
        module = cls.__new__(cls)
        super(CMNModule, module).__init__()
        module.save_hyperparameters(described, logger=False)
        module._hparams_name = "kwargs"  # type: ignore[assignment]
        module._take(parts)
        return module

    @classmethod
    def for_data(cls, model: Config, data: Any, **parts: Config | None) -> Self:
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

    def setup(self, stage: str) -> None:
        """Give the data module what it needs of the model: the trunk to cache features, and how to rewrite reports."""
        data: Any = getattr(self.trainer, "datamodule", None)
        if getattr(data, "cache_features", "none") != "none":
            data.take_features_of(self.model.backbone)
        if data is not None and rewrites(self.model.encoder_decoder):
            data.rewrite_reports(partial(to_targets, self.model.encoder_decoder, tokenizer=self.tokenizer))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.objective(self, check_batch(batch))
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

    def predict_step(self, batch: Batch, batch_idx: int) -> list[str]:
        return self.generate(check_batch(batch))

    def _score(self, batch: Batch, metrics: Any) -> None:
        check_batch(batch)
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
        """Describe the trunk without pretrained weights: loading a checkpoint, which has its own, fetches none.

        Warns of each part that is not described: the checkpoint then only resumes this code.
        """
        parameters = copy.deepcopy(dict(checkpoint["hyper_parameters"]))
        backbone = parameters["model"]["backbone"]
        if "_target_" in backbone and has_option(find_class(backbone["_target_"]), "pretrained"):
            backbone["pretrained"] = False
        checkpoint["hyper_parameters"] = parameters
        for reason in find_missing(parameters):
            rank_zero_warn(f"the checkpoint cannot be loaded elsewhere: {reason}")

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
