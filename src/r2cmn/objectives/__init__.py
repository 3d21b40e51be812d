"""Losses to minimize in training: callables `(context, batch) -> loss`, see `r2cmn.types.Objective`."""

from __future__ import annotations

from typing import Any

from r2cmn.objectives.cross_entropy import CrossEntropy
from r2cmn.objectives.imitation import Imitation
from r2cmn.objectives.reinforce import ReinforceCMAS, ReinforceHRGR
from r2cmn.objectives.self_critical import SelfCritical
from r2cmn.objectives.tags_and_words import TagsAndWords

__all__ = ["CrossEntropy", "Imitation", "ReinforceCMAS", "ReinforceHRGR", "SelfCritical", "TagsAndWords", "check_model"]


def check_model(objective: Any, encoder_decoder: Any) -> None:
    """Check that an encoder-decoder is of the class that an objective `needs`, if it has such an attribute.

    Raises:
        ValueError: if it is of another.
    """
    needs = getattr(objective, "needs", object)
    if not isinstance(encoder_decoder, needs):
        raise ValueError(
            f"objective: {type(objective).__name__} needs an encoder-decoder of class {needs.__name__}, not "
            f"{type(encoder_decoder).__name__}: choose a model and an objective that fit"
        )
