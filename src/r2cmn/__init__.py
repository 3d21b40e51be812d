"""r2cmn: cross-modal memory networks for radiology report generation.

The names below are imported when they are first asked for, so that `import r2cmn` costs nothing and changes nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "AdaAtt": "r2cmn.encoder_decoder.adaatt",
    "Att2In": "r2cmn.encoder_decoder.att2in",
    "Backbone": "r2cmn.backbone",
    "Batch": "r2cmn.types",
    "BeamSearch": "r2cmn.generation",
    "CMAS": "r2cmn.encoder_decoder.cmas",
    "CMN": "r2cmn.model",
    "CMNModule": "r2cmn.module",
    "CheXpertPlusDataModule": "r2cmn.data.chexpert_plus",
    "ClinicalEfficacy": "r2cmn.metrics.clinical",
    "CoAtt": "r2cmn.encoder_decoder.coatt",
    "CrossEntropy": "r2cmn.objectives",
    "CrossModalMemory": "r2cmn.memory",
    "Described": "r2cmn.described",
    "Greedy": "r2cmn.generation",
    "HRGR": "r2cmn.encoder_decoder.hrgr",
    "IUXRayDataModule": "r2cmn.data.iu_xray",
    "M2": "r2cmn.encoder_decoder.m2",
    "MIMICCXRDataModule": "r2cmn.data.mimic_cxr",
    "MemoryNetwork": "r2cmn.memory",
    "NLGMetrics": "r2cmn.metrics.nlg_metrics",
    "NoMemory": "r2cmn.memory",
    "PhantomDataModule": "r2cmn.phantom",
    "R2Gen": "r2cmn.encoder_decoder.r2gen",
    "ReportDataModule": "r2cmn.data.datamodule",
    "RuleLabeler": "r2cmn.metrics.labeler",
    "Sample": "r2cmn.generation",
    "SelfCritical": "r2cmn.objectives",
    "SeparateMemory": "r2cmn.memory",
    "ShowTell": "r2cmn.encoder_decoder.show_tell",
    "Significance": "r2cmn.metrics.significance",
    "TopDown": "r2cmn.encoder_decoder.topdown",
    "Transformer": "r2cmn.encoder_decoder.transformer",
    "allow_targets": "r2cmn.build",
    "compose": "r2cmn.config",
}

__all__ = [
    "CMAS",
    "CMN",
    "HRGR",
    "M2",
    "AdaAtt",
    "Att2In",
    "Backbone",
    "Batch",
    "BeamSearch",
    "CMNModule",
    "CheXpertPlusDataModule",
    "ClinicalEfficacy",
    "CoAtt",
    "CrossEntropy",
    "CrossModalMemory",
    "Described",
    "Greedy",
    "IUXRayDataModule",
    "MIMICCXRDataModule",
    "MemoryNetwork",
    "NLGMetrics",
    "NoMemory",
    "PhantomDataModule",
    "R2Gen",
    "ReportDataModule",
    "RuleLabeler",
    "Sample",
    "SelfCritical",
    "SeparateMemory",
    "ShowTell",
    "Significance",
    "TopDown",
    "Transformer",
    "__version__",
    "allow_targets",
    "compose",
]

if TYPE_CHECKING:
    from r2cmn.backbone import Backbone
    from r2cmn.build import allow_targets
    from r2cmn.config import compose
    from r2cmn.data.chexpert_plus import CheXpertPlusDataModule
    from r2cmn.data.datamodule import ReportDataModule
    from r2cmn.data.iu_xray import IUXRayDataModule
    from r2cmn.data.mimic_cxr import MIMICCXRDataModule
    from r2cmn.described import Described
    from r2cmn.encoder_decoder.adaatt import AdaAtt
    from r2cmn.encoder_decoder.att2in import Att2In
    from r2cmn.encoder_decoder.cmas import CMAS
    from r2cmn.encoder_decoder.coatt import CoAtt
    from r2cmn.encoder_decoder.hrgr import HRGR
    from r2cmn.encoder_decoder.m2 import M2
    from r2cmn.encoder_decoder.r2gen import R2Gen
    from r2cmn.encoder_decoder.show_tell import ShowTell
    from r2cmn.encoder_decoder.topdown import TopDown
    from r2cmn.encoder_decoder.transformer import Transformer
    from r2cmn.generation import BeamSearch, Greedy, Sample
    from r2cmn.memory import CrossModalMemory, MemoryNetwork, NoMemory, SeparateMemory
    from r2cmn.metrics.clinical import ClinicalEfficacy
    from r2cmn.metrics.labeler import RuleLabeler
    from r2cmn.metrics.nlg_metrics import NLGMetrics
    from r2cmn.metrics.significance import Significance
    from r2cmn.model import CMN
    from r2cmn.module import CMNModule
    from r2cmn.objectives import CrossEntropy, SelfCritical
    from r2cmn.phantom import PhantomDataModule
    from r2cmn.types import Batch
else:

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'r2cmn' has no attribute '{name}'")
        return getattr(importlib.import_module(_HOMES[name]), name)

    def __dir__() -> list[str]:
        return __all__
