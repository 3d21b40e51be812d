"""CheXpert Plus (Chambon et al., 2024), as `r2cmn prepare chexpert-plus` writes it."""

from __future__ import annotations

from typing import Any, ClassVar

from r2cmn.data.datamodule import ReportDataModule
from r2cmn.data.tokenizer import TEXT_RULES


class CheXpertPlusDataModule(ReportDataModule):
    """CheXpert Plus: the first view of each entry, text rules of MIMIC-CXR.

    Stanford's data use agreement covers its reports and images.
    """

    text_defaults: ClassVar[dict[str, Any]] = TEXT_RULES["chexpert_plus"]
    images_defaults: ClassVar[dict[str, Any]] = {**ReportDataModule.images_defaults, "num_views": 1}
    license_default: ClassVar[str] = "dua"
    dataset_name: ClassVar[str] = "chexpert_plus"
