"""Drawn chest X-rays with reports, labels and boxes: a data set that needs no download and no agreement."""

from r2cmn.phantom.datamodule import PhantomDataModule

__all__ = ["PhantomDataModule"]
