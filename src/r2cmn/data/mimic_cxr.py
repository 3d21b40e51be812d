"""MIMIC-CXR (Johnson et al., 2019) in the format and split of R2Gen."""

from __future__ import annotations

from typing import Any, ClassVar

from r2cmn.data.datamodule import ReportDataModule
from r2cmn.data.tokenizer import TEXT_RULES


class MIMICCXRDataModule(ReportDataModule):
    """MIMIC-CXR: one view per entry, at most 100 ids per report, words that occur at least 10 times (section 3.1).

    PhysioNet's data use agreement covers its reports, its images and the weights trained on them.
    """

    text_defaults: ClassVar[dict[str, Any]] = TEXT_RULES["mimic_cxr"]
    images_defaults: ClassVar[dict[str, Any]] = {**ReportDataModule.images_defaults, "num_views": 1}
    license_default: ClassVar[str] = "dua"
    dataset_name: ClassVar[str] = "mimic_cxr"
