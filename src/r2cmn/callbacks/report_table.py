"""Callback that logs generated reports beside their references and images."""

from __future__ import annotations

import logging
from typing import Any

import pytorch_lightning as pl
from PIL import Image
from pytorch_lightning.loggers import WandbLogger

from r2cmn.data.image_errors import ImageError
from r2cmn.data.images import load_image

log = logging.getLogger("r2cmn")

MAX_SIDE = 256
"""Longer side of a logged view in pixels."""

SHOWN_BY_DEFAULT = ("public",)
"""License classes whose images are logged by default."""


class ReportTable(pl.Callback):
    """Logs a few generated reports beside their references, the same studies in each validation.

    Under a data use agreement (`license_class: dua`) no text, id or image is passed to any logger. W&B also gets small
    images of the views if the license allows it; TensorBoard gets the text.

    Args:
        num_reports: number of reports.
        images: whether images are logged to W&B; None logs those of `license_class: public` only.

    Raises:
        ValueError: for another value of `images`, or in `setup`, if images under a data use agreement are requested.
    """

    def __init__(self, num_reports: int = 8, images: bool | None = None) -> None:
        if images is not None and not isinstance(images, bool):
            raise ValueError(f"callbacks.report_table.images must be true, false or null, not {images!r}")
        self.num_reports = num_reports
        self.images = images
        self._views: dict[int, Image.Image | None] = {}

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        if self.images and pl_module.license_class == "dua":
            raise ValueError(
                "callbacks.report_table.images=true is refused under a data use agreement (data.license_class=dua): "
                "no image may reach a logger"
            )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero or pl_module.license_class == "dua":
            return
        rows = [[index, generated, reference] for index, generated, reference in pl_module.reports[: self.num_reports]]
        shown = pl_module.license_class in SHOWN_BY_DEFAULT if self.images is None else self.images
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
    """Join the views of a study into one gray image; None if one of them cannot be read.

    Args:
        views: image files; each is scaled to at most `MAX_SIDE` pixels.
    """
    try:
        pictures = [load_image(path).convert("L") for path in views]
    except ImageError as error:  # a training must not end because a table lacks an image
        log.warning("the report table shows a study without images: %s", error)
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
