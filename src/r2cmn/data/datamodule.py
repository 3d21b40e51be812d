"""Lightning data module of a data folder: checks, tokenizes and batches its studies."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_only
from rich.console import Console
from torch.utils.data import DataLoader

from r2cmn.data.batches import Inputs, ReportDataset, Rewrite, collate, view_paths
from r2cmn.data.check import ON_BAD_SAMPLE, Funnel, check_studies, check_vocabulary, usual_views, warn_license
from r2cmn.data.features import FrozenTrunk, check_frozen, read_features
from r2cmn.data.grounding import ground_study
from r2cmn.data.images import ImageTransform
from r2cmn.data.index import measure_images
from r2cmn.data.options import check_numbers, feature_precision, merge_options
from r2cmn.data.reports import LICENSE_CLASSES, DataError, Study, read_annotation
from r2cmn.data.tokenizer import CLEANING, TEXT_RULES, Tokenizer
from r2cmn.data.views import CACHES, StudyViews, read_images, start_worker
from r2cmn.files import expand_user
from r2cmn.files.words import check_choice
from r2cmn.types import Batch, Grounding


class ReportDataModule(pl.LightningDataModule):
    """Chest X-ray studies of a data folder with `annotation.json` and `images/` (see `r2cmn.data.reports`).

    Use this class for your own data. A data set with other defaults is a subclass.

    Attributes:
        studies: the studies by split that passed the check; the index of a sample is its position here. Set by `setup`.
        tokenizer: has the words of the training reports. Set by `setup`.
        transform: prepares the images.
        num_views: images of a study. Set by `setup`.
        funnel: the counts of the check. Set by `setup`.
        license_class: public, non_commercial or dua.

    Args:
        dir: the data folder; None for the value of the environment variable `dir_variable`.
        text: `max_length`, `threshold` and `cleaning` of `Tokenizer.build`.
        images: `resize`, `size`, `horizontal_flip` and `random_crop` of `ImageTransform`, and `num_views`: images of
            a study, None for the most frequent number; a study with fewer is a bad one, further images are not used.
        batch_size: studies in a batch.
        num_workers: worker processes that load data; 0 loads in the main process.
        on_bad_sample: "error" raises an error if there are bad studies, "skip" leaves them out.
        license_class: public, non_commercial or dua; None for the default of the data set.
        cache: where decoded images are kept between epochs: "none", "memory" or "disk" (`$R2CMN_CACHE/images`). The
            model's input is the same.
        cache_features: "float16" (or True) or "float32" caches the features of a frozen trunk in
            `$R2CMN_CACHE/features`, and batches carry features instead of images; "none" (or False) does not.
        allow_outside: whether images may be outside the folder, by absolute paths, `..` or links.
        max_unknown: largest share, 0 to 1, of words of a split's reports that the vocabulary may lack; 1 accepts all
            reports.

    Raises:
        DataError: if no folder is given.
        ValueError: if an option is unknown or a value is invalid; no data is read before.
    """

    text_defaults: ClassVar[dict[str, Any]] = TEXT_RULES["iu_xray"]
    images_defaults: ClassVar[dict[str, Any]] = {
        "resize": 256,
        "size": 224,
        "horizontal_flip": False,
        "random_crop": True,
        "num_views": None,
    }
    license_default: ClassVar[str] = "non_commercial"
    dataset_name: ClassVar[str] = "folder"
    """Name of the data set in predictions; that of its configuration."""
    dir_variable: ClassVar[str | None] = None
    """Environment variable that names the folder if `dir` is None."""

    def __init__(
        self,
        dir: str | Path | None = None,
        text: Mapping[str, Any] | None = None,
        images: Mapping[str, Any] | None = None,
        batch_size: int = 16,
        num_workers: int = 2,
        on_bad_sample: str = "error",
        license_class: str | None = None,
        cache: str = "none",
        cache_features: bool | str = "none",
        allow_outside: bool = False,
        max_unknown: float = 0.5,
    ):
        super().__init__()
        if not isinstance(allow_outside, bool):
            raise ValueError(f"data.allow_outside must be true or false, not {allow_outside!r}")
        license_class = self.license_default if license_class is None else license_class
        image_options = merge_options("images", self.images_defaults, images)
        self._num_views: int | None = image_options.pop("num_views")
        check_numbers(batch_size, num_workers, max_unknown, self._num_views)
        self.dir = self._find_folder(dir)
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.on_bad_sample = check_choice("data.on_bad_sample", on_bad_sample, ON_BAD_SAMPLE)
        self.license_class = check_choice("data.license_class", license_class, LICENSE_CLASSES)
        self.allow_outside = allow_outside
        self.max_unknown = max_unknown
        self.cache = check_choice("data.cache", cache, CACHES)
        self._text = merge_options("text", self.text_defaults, text)
        Tokenizer.build([], **self._text)  # checks the values before the data is read
        self.transform = ImageTransform(**image_options)
        self.cache_features = feature_precision(cache_features, self.transform.is_random)
        self.num_views: int
        self.tokenizer: Tokenizer
        self.funnel: Funnel
        self.studies: dict[str, list[Study]] = {}
        self._inputs: dict[str, Inputs] = {}
        self._datasets: dict[str, ReportDataset] = {}
        self._backbone: FrozenTrunk | None = None
        self._rewrite: Rewrite | None = None

    def _find_folder(self, dir: str | Path | None) -> Path:
        if dir is None and self.dir_variable:
            dir = os.environ.get(self.dir_variable) or None
        if dir is None or not str(dir).strip():
            variable = f" or the environment variable {self.dir_variable}" if self.dir_variable else ""
            raise DataError(
                f"no data folder is given: set data.dir=/path/to/folder (annotation.json, images/){variable}"
            )
        return expand_user(dir)

    def prepare_data(self) -> None:
        """Check the images in one process per machine; the others find the result in the index of images."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        """Read and check the data and build the tokenizer, once for all stages.

        Raises:
            DataError: if a file or a study cannot be used.
        """
        if self.studies:
            return
        studies = read_annotation(self.dir, self.allow_outside)
        rank_zero_only(warn_license)(self.dir, self.license_class)
        self.num_views = usual_views(studies) if self._num_views is None else self._num_views
        self.studies, self.funnel = check_studies(
            studies, self.num_views, self.on_bad_sample, CLEANING[self._text["cleaning"]]
        )
        self.tokenizer = Tokenizer.build((study.report for study in self.studies["train"]), **self._text)
        check_vocabulary(self.studies, self.tokenizer, self.max_unknown)
        rank_zero_only(Console(stderr=True).print)(self.funnel)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of train, shuffled anew each epoch, with random crops."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Batch]:
        """Batches of val in the order of the annotation."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Batches of test in the order of the annotation."""
        return self._loader("test")

    predict_dataloader = test_dataloader

    def describe(self) -> dict[str, Any]:
        """Return what a checkpoint needs to prepare images and decode tokens, in plain containers."""
        self.setup()
        return {
            "tokenizer": self.tokenizer.to_dict(),
            "images": {**self.transform.to_dict(), "num_views": self.num_views},
            "license_class": self.license_class,
        }

    def groundings(self, split: str, reports: Sequence[str] | None = None) -> list[list[Grounding]]:
        """Return for each study of a split the boxes of its findings and the words that name them.

        Args:
            split: train, val or test.
            reports: cleaned, in the order of the studies, in which words are found; None for the references.

        Raises:
            ValueError: if a box is not in its image.
        """
        self.setup()
        read = range(self.num_views)  # boxes of other images have no patches
        studies = [replace(s, boxes=tuple(b for b in s.boxes if b.view in read)) for s in self.studies[split]]
        facts, _ = measure_images([path for study in studies if study.boxes for path in study.images[: self.num_views]])
        sizes = {path: (each.width, each.height) for path, each in facts.items()}
        texts = [self.tokenizer.clean(study.report) for study in studies] if reports is None else reports
        return [
            ground_study(study, text, sizes, self.tokenizer.clean) for study, text in zip(studies, texts, strict=True)
        ]

    def take_features_of(self, backbone: FrozenTrunk) -> None:
        """Set the backbone whose features are cached if `cache_features` is set; `CMNModule` calls this in its setup.

        Missing features are computed when a loader is first requested, with the weights and on the device that the
        backbone has then.

        Raises:
            ValueError: if its trunk is not frozen.
        """
        check_frozen(backbone)
        self._backbone = backbone
        self._inputs.clear()
        self._datasets.clear()

    def rewrite_reports(self, rewrite: Rewrite) -> None:
        """Add the reports as a model learns to write them to each batch; `CMNModule` calls this if its model needs it.

        Args:
            rewrite: returns the ids of a report, [0, tokens..., 0].
        """
        self._rewrite = rewrite
        self._datasets.clear()

    def _read_inputs(self, split: str) -> Inputs:
        paths = view_paths(self.studies[split], self.num_views)
        preparation = self.transform.preparation(training=split == "train")
        if self.cache_features == "none":
            return StudyViews(read_images(paths, preparation, self.cache), preparation.cut, self.num_views)
        if self._backbone is None:
            raise DataError("data.cache_features needs the trunk: call take_features_of(module.model.backbone) first")
        return read_features(
            self._backbone, paths, preparation, self.num_views, self.cache_features, self.batch_size, self.num_workers
        )

    def _loader(self, split: str) -> DataLoader[Batch]:
        self.setup()
        if split not in self._datasets:
            if split not in self._inputs:
                self._inputs[split] = self._read_inputs(split)
            self._datasets[split] = ReportDataset(
                self.studies[split], self.tokenizer, self._inputs[split], self._rewrite
            )
        return DataLoader(
            self._datasets[split],  # type: ignore[arg-type]
            batch_size=self.batch_size,
            shuffle=split == "train",
            num_workers=self.num_workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=partial(start_worker, rank=self.trainer.global_rank if self.trainer else 0),
            # persistent workers keep their generators, and a resumed run would crop differently
            persistent_workers=False,
        )
