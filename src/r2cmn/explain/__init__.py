"""Measures of how a memory is used, for training runs and notebooks."""

from r2cmn.explain.alignment import Alignment, Boxes
from r2cmn.explain.use import VectorUse

__all__ = ["Alignment", "Boxes", "VectorUse"]
