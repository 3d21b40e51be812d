"""IU X-Ray (Demner-Fushman et al., 2016) in the format and split of R2Gen."""

from __future__ import annotations

from typing import Any, ClassVar

from r2cmn.data.datamodule import ReportDataModule


class IUXRayDataModule(ReportDataModule):
    """IU X-Ray: two views per study, at most 60 ids per report, words that occur at least 3 times (section 3.1).

    The license is CC BY-NC-ND 4.0. The default of `dir` is the environment variable R2CMN_DATA.
    """

    images_defaults: ClassVar[dict[str, Any]] = {**ReportDataModule.images_defaults, "num_views": 2}
    dataset_name: ClassVar[str] = "iu_xray"
    dir_variable: ClassVar[str | None] = "R2CMN_DATA"
