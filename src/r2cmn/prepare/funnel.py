"""The images that are left of a collection, and what each step lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from r2cmn.prepare.summary import Step


class ImageRow(Protocol):
    """One image of a table, with its study and patient."""

    @property
    def study_id(self) -> Any:
        """Id of the study."""

    @property
    def subject_id(self) -> Any:
        """Id of the patient."""


Image = TypeVar("Image", bound=ImageRow)


class Funnel(Generic[Image]):
    """The remaining images, and the loss of images and studies at each step.

    Attributes:
        rows: the remaining images.
        steps: the steps so far.
        totals: images, studies and patients before the first step.

    Args:
        what: the first step, such as "in the official split".
        rows: all images.
    """

    def __init__(self, what: str, rows: Sequence[Image]):
        self.rows = list(rows)
        self.steps = [Step(what, num_studies(rows), len(rows))]
        self.totals = {"images": len(rows), "studies": num_studies(rows),
                       "patients": len({row.subject_id for row in rows})}  # fmt: skip

    def drop(self, why: str, is_lost: Callable[[Image], bool]) -> None:
        """Drop images, if there are such."""
        kept = [row for row in self.rows if not is_lost(row)]
        if len(kept) < len(self.rows):
            self.steps.append(self.steps[-1].then(why, num_studies(kept), len(kept)))
        self.rows = kept

    def finish(self) -> tuple[Step, ...]:
        """Return all steps, with what was kept."""
        return (*self.steps, self.steps[-1].then("kept", num_studies(self.rows), len(self.rows)))

    def losses(self, left_out: Iterable[str]) -> str:
        """Return the first reasons why nothing is left, as the end of a sentence."""
        lost = [f"{step.lost} studies: {step.what}" for step in self.steps if step.lost]
        return "; ".join([*lost, *left_out][:5])


def num_studies(rows: Iterable[ImageRow]) -> int:
    """Return the number of studies of images."""
    return len({row.study_id for row in rows})
