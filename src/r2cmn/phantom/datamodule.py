"""The drawn set as a data module."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from r2cmn.data.datamodule import ReportDataModule
from r2cmn.phantom.draw import describe
from r2cmn.phantom.grounding import ground
from r2cmn.phantom.make import PhantomOptions, cache_dir, make_phantom
from r2cmn.types import Grounding


class PhantomDataModule(ReportDataModule):
    """Drawn chest X-rays, two views a study, whose reports and labels follow the drawing.

    It needs no download and no agreement. It is drawn once, into a folder under `$R2CMN_CACHE` or `~/.cache/r2cmn`, by
    `prepare_data` or by whatever asks first. It shows that a model reads images; it says nothing of how well one would
    do in a clinic.

    Args:
        num_studies: at least 10; 7 of 10 are train, 1 val and 2 test.
        seed: another seed gives other patients.
        side: height and width of an image in pixels, at least 64.
        text: as for `ReportDataModule`.
        images: as for `ReportDataModule`; `resize` and `size` are small by default, for small trunks without a GPU.
        batch_size: studies of a batch.
        num_workers: processes that load; 0 loads in the process that trains.
        cache: as for `ReportDataModule`.
        cache_features: as for `ReportDataModule`.

    Raises:
        ValueError: for an unknown option or an impossible value, before anything is drawn.
    """

    text_defaults: ClassVar[dict[str, Any]] = {"max_length": 60, "threshold": 3, "cleaning": "iu_xray"}
    images_defaults: ClassVar[dict[str, Any]] = {
        "resize": 128,
        "size": 112,
        "horizontal_flip": False,
        "random_crop": True,
        "num_views": 2,
    }
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
        folder = cache_dir() / self.phantom.folder
        kept = {"cache": cache, "cache_features": cache_features}
        super().__init__(folder, text, images, batch_size, num_workers, **kept)  # type: ignore[arg-type]

    def setup(self, stage: str | None = None) -> None:
        """Draw the set where it does not stand yet, then read it."""
        if not self.studies:
            make_phantom(self.phantom, self.dir.parent)
        super().setup(stage)

    def groundings(self, split: str) -> list[list[Grounding]]:
        """Return for each study of a split the boxes of its findings and the words of its report that name them."""
        self.setup()
        annotation = json.loads((self.dir / "annotation.json").read_text(encoding="utf-8"))
        boxes = {entry["id"]: entry["boxes"] for entry in annotation[split]}
        found = []
        for study in self.studies[split]:
            _, findings = describe(self.phantom.seed, int(study.id.rpartition("_")[2]))
            report = self.tokenizer.clean(study.report)
            found.append(ground(report, findings, boxes[study.id], self.phantom.side))
        return found
