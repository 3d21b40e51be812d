"""IU X-Ray (Demner-Fushman et al., 2016) in the format and the split of R2Gen."""

from __future__ import annotations

from typing import Any, ClassVar

from r2cmn.data.datamodule import ReportDataModule


class IUXRayDataModule(ReportDataModule):
    """IU X-Ray: two views a study, at most 60 ids a report, words used three times or more (section 3.1).

    Its licence is CC BY-NC-ND 4.0. The folder is `dir` or what R2CMN_DATA names.
    """

    text_defaults: ClassVar[dict[str, Any]] = {"max_length": 60, "threshold": 3, "cleaning": "iu_xray"}
    images_defaults: ClassVar[dict[str, Any]] = {**ReportDataModule.images_defaults, "num_views": 2}
    license_default: ClassVar[str] = "non_commercial"
    dir_variable: ClassVar[str | None] = "R2CMN_DATA"
