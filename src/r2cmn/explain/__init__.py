"""What a memory is used for, in numbers: plain classes that a notebook can feed as well as a training run."""

from r2cmn.explain.alignment import Alignment, Boxes
from r2cmn.explain.use import VectorUse

__all__ = ["Alignment", "Boxes", "VectorUse"]
