"""Data module of drawn chest X-rays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from r2cmn.data.datamodule import ReportDataModule
from r2cmn.files import cache_dir, read_json
from r2cmn.phantom.grounding import ground
from r2cmn.phantom.make import PhantomOptions, describe, make_phantom
from r2cmn.types import Grounding


class PhantomDataModule(ReportDataModule):
    """Drawn chest X-rays, two views per study, with reports, labels and boxes.

    The set is drawn once, in `setup`, into `$R2CMN_CACHE/phantom` or `~/.cache/r2cmn/phantom`. It shows whether a model
    reads its images; it does not show how good a model is in clinical use.

    Args:
        num_studies: at least 10; 7 of 10 are train, 1 val and 2 test.
        seed: another seed gives other patients.
        side: height and width of an image in pixels, at least 64.
        text: see `ReportDataModule`.
        images: see `ReportDataModule`; the defaults of `resize` and `size` are small, for small trunks without a GPU.
        batch_size: see `ReportDataModule`.
        num_workers: see `ReportDataModule`.
        cache: see `ReportDataModule`.
        cache_features: see `ReportDataModule`.

    Raises:
        ValueError: if an option is unknown or a value is invalid; nothing is drawn before.
    """

    dataset_name: ClassVar[str] = "phantom"
    images_defaults: ClassVar[dict[str, Any]] = {
        **ReportDataModule.images_defaults, "resize": 128, "size": 112, "num_views": 2
    }  # fmt: skip
    license_default: ClassVar[str] = "public"

    def __init__(
        self,
        num_studies: int = 1200,
        seed: int = 0,
        side: int = 128,
        text: Mapping[str, Any] | None = None,
        images: Mapping[str, Any] | None = None,
        batch_size: int = 16,
        num_workers: int = 2,
        cache: str = "none",
        cache_features: bool | str = "none",
    ):
        self.phantom = PhantomOptions(num_studies, seed, side)
        folder = cache_dir("phantom", self.phantom.folder)
        kept = {"cache": cache, "cache_features": cache_features}
        super().__init__(folder, text, images, batch_size, num_workers, **kept)  # type: ignore[arg-type]

    def setup(self, stage: str | None = None) -> None:
        """Draw the set if it does not exist yet, then read it."""
        if not self.studies:
            make_phantom(self.phantom, self.dir.parent)
        super().setup(stage)

    def groundings(self, split: str, reports: Sequence[str] | None = None) -> list[list[Grounding]]:
        """Return for each study of a split the boxes of its findings and the words that name them.

        Args:
            split: train, val or test.
            reports: cleaned, in the order of the studies, in which words are found; None for the references.
        """
        self.setup()
        annotation = read_json(self.dir / "annotation.json")
        boxes = {entry["id"]: entry["boxes"] for entry in annotation[split]}
        found = []
        for number, study in enumerate(self.studies[split]):
            _, findings = describe(self.phantom.seed, int(study.id.rpartition("_")[2]))
            report = self.tokenizer.clean(study.report) if reports is None else reports[number]
            found.append(ground(report, findings, boxes[study.id], self.phantom.side))
        return found
