"""r2cmn: cross-modal memory networks for radiology report generation.

The names below are imported when they are first asked for, so that `import r2cmn` costs nothing and changes nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "CMN": "r2cmn.model",
    "CMNModule": "r2cmn.module",
    "ClinicalEfficacy": "r2cmn.metrics.clinical",
    "NLGMetrics": "r2cmn.metrics.nlg_metrics",
    "ReportDataModule": "r2cmn.data.datamodule",
    "IUXRayDataModule": "r2cmn.data.iu_xray",
    "CheXpertPlusDataModule": "r2cmn.data.chexpert_plus",
    "MIMICCXRDataModule": "r2cmn.data.mimic_cxr",
    "PhantomDataModule": "r2cmn.phantom",
    "Significance": "r2cmn.metrics.significance",
    "allow_targets": "r2cmn.build",
    "compose": "r2cmn.config",
}

__all__ = [
    "CMN",
    "CMNModule",
    "CheXpertPlusDataModule",
    "ClinicalEfficacy",
    "IUXRayDataModule",
    "MIMICCXRDataModule",
    "NLGMetrics",
    "PhantomDataModule",
    "ReportDataModule",
    "Significance",
    "__version__",
    "allow_targets",
    "compose",
]

if TYPE_CHECKING:
    from r2cmn.build import allow_targets
    from r2cmn.config import compose
    from r2cmn.data.chexpert_plus import CheXpertPlusDataModule
    from r2cmn.data.datamodule import ReportDataModule
    from r2cmn.data.iu_xray import IUXRayDataModule
    from r2cmn.data.mimic_cxr import MIMICCXRDataModule
    from r2cmn.metrics.clinical import ClinicalEfficacy
    from r2cmn.metrics.nlg_metrics import NLGMetrics
    from r2cmn.metrics.significance import Significance
    from r2cmn.model import CMN
    from r2cmn.module import CMNModule
    from r2cmn.phantom import PhantomDataModule


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'r2cmn' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
