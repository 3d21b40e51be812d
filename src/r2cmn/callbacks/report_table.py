"""Generated reports beside their references, and the images they describe, on the dashboard."""

from __future__ import annotations

import logging
from typing import Any

import pytorch_lightning as pl
from PIL import Image
from pytorch_lightning.loggers import WandbLogger

from r2cmn.data.images import ImageError, load_image

log = logging.getLogger("r2cmn")

MAX_SIDE = 256
"""Pixels of the longer side of a view that is shown."""

SHOWN_UNASKED = ("public",)
"""Licence classes whose images are shown without being asked for."""


class ReportTable(pl.Callback):
    """Shows a few generated reports beside their references on the dashboard, each validation the same studies.

    Under a data use agreement (`license_class: dua`) no text, id or image is handed to any logger. W&B shows the views
    of a study, side by side and small, where the licence allows; TensorBoard shows the text.

    Args:
        num_reports: how many.
        images: whether W&B is given images; None for those of `license_class: public` alone.

    Raises:
        ValueError: for another value of `images`; in `setup`, where images of data under an agreement are asked for.
    """

    def __init__(self, num_reports: int = 8, images: bool | None = None) -> None:
        if images is not None and not isinstance(images, bool):
            raise ValueError(f"callbacks.report_table.images must be true, false or null, not {images!r}")
        self.num_reports = num_reports
        self.images = images
        self._views: dict[int, Image.Image | None] = {}

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Refuse what an agreement forbids before anything is trained."""
        if self.images and pl_module.license_class == "dua":
            raise ValueError(
                "callbacks.report_table.images=true is refused under a data use agreement (data.license_class=dua): "
                "no image may reach a logger"
            )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Log a table where a logger takes one, or text."""
        if trainer.sanity_checking or not trainer.is_global_zero or pl_module.license_class == "dua":
            return
        rows = [[index, generated, reference] for index, generated, reference in pl_module.reports[: self.num_reports]]
        shown = pl_module.license_class in SHOWN_UNASKED if self.images is None else self.images
        logger: Any
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and shown:
                self._log_with_images(logger, trainer, rows)
            elif hasattr(logger, "log_table"):
                columns = ["study", "generated", "reference"]
                logger.log_table("val/reports", columns=columns, data=rows, step=trainer.global_step)
            elif hasattr(logger.experiment, "add_text"):
                text = "\n\n".join(f"**{i}** {g}\n\n*{r}*" for i, g, r in rows)
                logger.experiment.add_text("val/reports", text, trainer.global_step)

    def _log_with_images(self, logger: WandbLogger, trainer: pl.Trainer, rows: list[list[Any]]) -> None:
        import wandb

        data: Any = getattr(trainer, "datamodule", None)
        studies = getattr(data, "studies", {}).get("val", [])
        views = getattr(data, "num_views", None)
        table = []
        for index, generated, reference in rows:
            if index not in self._views:
                self._views[index] = side_by_side(studies[index].images[:views]) if index < len(studies) else None
            picture = self._views[index]
            table.append(
                [index, None if picture is None else wandb.Image(picture, file_type="jpg"), generated, reference]
            )
        columns = ["study", "images", "generated", "reference"]
        logger.log_table("val/reports", columns=columns, data=table, step=trainer.global_step)


def side_by_side(views: Any) -> Image.Image | None:
    """Return the views of a study in one gray picture, each at most 256 pixels wide and high; None if one is unread.

    Args:
        views: the files, in the order of the study.
    """
    try:
        pictures = [load_image(path).convert("L") for path in views]
    except ImageError as error:  # a training does not end for a picture of it
        log.warning("the table of reports shows a study without its images: %s", error)
        return None
    if not pictures:
        return None
    for picture in pictures:
        picture.thumbnail((MAX_SIDE, MAX_SIDE))
    row = Image.new("L", (sum(p.width for p in pictures), max(p.height for p in pictures)))
    left = 0
    for picture in pictures:
        row.paste(picture, (left, 0))
        left += picture.width
    return row
