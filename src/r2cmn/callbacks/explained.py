"""Callback that logs what the words of a few test reports depend on: figures and explorer pages for W&B."""

from __future__ import annotations

import io
import logging
from typing import Any

import pytorch_lightning as pl
from PIL import Image

from r2cmn.callbacks.report_table import SHOWN_BY_DEFAULT
from r2cmn.explain.explanation import ROUTES, Explanation
from r2cmn.explain.page import explorer
from r2cmn.explain.rights import Rights
from r2cmn.explain.study import explain_batch
from r2cmn.files.words import first_line
from r2cmn.loggers import Wandb
from r2cmn.types import Grounded

log = logging.getLogger("r2cmn")

_DPI = 150


class ExplainedStudies(pl.Callback):
    """Logs Figure 5 and Figure 6 of a few test studies to W&B as images, and their explorer pages as an artifact.

    Figures and pages hold images and reports. They are logged for `license_class: public`, on request for
    `non_commercial`, and under a data use agreement (`dua`) never. Without W&B nothing is computed.

    Args:
        num_studies: number of studies, spread over the test set.
        images: whether to log them; None logs those of public data only.
        pages: whether to log the explorer pages, too.
        occlusion: whether to compute maps of occlusion, which take a decoding for each patch.

    Raises:
        ValueError: for a value of another type, or in `setup`, if images under a data use agreement are requested.
    """

    def __init__(
        self, num_studies: int = 3, images: bool | None = None, pages: bool = True, occlusion: bool = True
    ) -> None:
        if images is not None and not isinstance(images, bool):
            raise ValueError(f"callbacks.explained.images must be true, false or null, not {images!r}")
        if type(num_studies) is not int or num_studies < 1:
            raise ValueError(f"callbacks.explained.num_studies must be a whole number from 1, not {num_studies!r}")
        self.num_studies = num_studies
        self.images = images
        self.pages = pages
        self.occlusion = occlusion

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        if self.images and pl_module.license_class == "dua":
            raise ValueError(
                "callbacks.explained.images=true is refused under a data use agreement (data.license_class=dua): no "
                "image may reach a logger"
            )

    def on_test_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        shown = pl_module.license_class in SHOWN_BY_DEFAULT if self.images is None else self.images
        loggers = [logger for logger in trainer.loggers if isinstance(logger, Wandb)]
        # a test may run under another license than the training, so the class is checked again
        if not loggers or not shown or pl_module.license_class == "dua" or not trainer.is_global_zero:
            return
        try:
            explained = self._explain(trainer, pl_module)
            for logger in loggers:
                self._log(logger, pl_module, explained, trainer.global_step)
        except (ValueError, OSError) as error:  # the result of a long training must not be lost
            log.warning("callbacks.explained logs nothing: %s", first_line(error))

    def _explain(self, trainer: pl.Trainer, module: Any) -> list[Explanation]:
        data: Any = getattr(trainer, "datamodule", None)
        studies = getattr(data, "studies", {}).get("test", [])
        chosen = list(range(len(studies)))[:: max(1, len(studies) // self.num_studies)][: self.num_studies]
        if not chosen:
            raise ValueError("the trainer has no data module with test studies")
        routes = [route for route in ROUTES if self.occlusion or route != "occlusion"]
        files = [list(studies[place].images[: module.num_views]) for place in chosen]
        boxes = data.groundings("test") if isinstance(data, Grounded) else [[]] * len(studies)
        found = explain_batch(module, files, routes=routes, names=[studies[place].id for place in chosen])
        for number, (explanation, place) in enumerate(zip(found, chosen, strict=True), 1):
            explanation.reference = studies[place].report
            for box in boxes[place]:
                if box.view < len(explanation.views):
                    explanation.views[box.view].boxes.append({"finding": box.finding, "box": list(box.box)})
            if not Rights(module.license_class).shows_names:
                _remove_names(explanation, number)
        return found

    def _log(self, logger: Wandb, module: Any, explained: list[Explanation], step: int) -> None:
        captions = [explanation.study for explanation in explained]
        figures = [draw_figures(explanation, module) for explanation in explained]
        for name in figures[0]:
            logger.log_image(f"test/{name}", [each[name] for each in figures], step=step, caption=captions)
        if self.pages:
            rights = Rights(module.license_class)
            pages = {f"study_{n}.html": explorer([each], rights) for n, each in enumerate(explained, 1)}
            logger.log_pages("explorer", pages)


def _remove_names(explanation: Explanation, number: int) -> None:
    """Replace the ids of study and images, which figures and pages would show."""
    explanation.study = f"study {number}"
    for place, view in enumerate(explanation.views, 1):
        view.name, view.file = f"view {place}", None


def draw_figures(explanation: Explanation, module: Any) -> dict[str, Image.Image]:
    """Return Figure 5 and, of a model with a memory, Figure 6 as pictures."""
    from r2cmn.explain.figures import figure5
    from r2cmn.explain.memory_map import figure6

    drawn = {"figure5": figure5(explanation)}
    if explanation.vectors is not None:
        drawn["figure6"] = figure6(explanation, module)
    found: dict[str, Image.Image] = {}
    for name, figure in drawn.items():
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=_DPI)
        found[name] = Image.open(content)
    return found
