"""The paper's printed numbers and statements on its ablations, read from `experiments/published.yaml`."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from r2cmn.evaluation.published import Published, published, published_file


class Claim(NamedTuple):
    """One published number.

    Attributes:
        value: the score.
        at: the value of the ablated key.
        text: its data set, values and source.
    """

    value: float
    at: float
    text: str


class Ablation(NamedTuple):
    """A key with numbers as values that the paper ablates.

    Attributes:
        name: the name of the key in tables.
        value: the paper's.
        axis: the label of the axis in a figure.
        file: the name of the figure's file, without suffix.
        stated: what the text of the paper says.
    """

    name: str
    value: float
    axis: str
    file: str
    stated: str


@functools.cache
def paper() -> dict[str, Any]:
    """Return the content of `published.yaml`: ablations, default_system, base_system, data, systems."""
    import yaml

    content: dict[str, Any] = yaml.safe_load(published_file().with_suffix(".yaml").read_text(encoding="utf-8"))
    return content


@functools.cache
def ablations() -> dict[str, Ablation]:
    """Return the ablations by key, in the paper's order."""
    return {key: Ablation(**entry) for key, entry in paper()["ablations"].items()}


def ablation(key: str) -> Ablation:
    """Return the ablation of a key; of a key that the paper does not ablate, its names alone."""
    return ablations().get(key) or Ablation(key, math.nan, key, key.replace(".", "_"), "")


def full_key(name: str) -> str:
    """Return the key that has a name in tables; any other text as it is."""
    return next((key for key, each in ablations().items() if each.name == name), name)


def system_of(choices: Mapping[str, str]) -> dict[str, str] | None:
    """Return the entry of `published.yaml` whose choices a run has; choices of groups that it does not name are free.

    Args:
        choices: of the run, by group.
    """
    return next((row for row in paper()["systems"] if _choices(row).items() <= choices.items()), None)


def compared_groups() -> set[str]:
    """Return the groups whose choices tell the published systems apart."""
    return {group for row in paper()["systems"] for group in _choices(row)}


def rank(choice: str) -> int:
    """Return the place of a choice in the paper's tables; 99 for one that is not in them."""
    named = (name for row in paper()["systems"] for name in (row["model"], *_choices(row).values()))
    choices = list(dict.fromkeys(named))
    return choices.index(choice) if choice in choices else 99


def published_system(data: str, row: Mapping[str, str]) -> Published | None:
    """Return the published scores of an entry of `published.yaml`; None if there are none for the data set.

    Args:
        data: the choice of `data`.
        row: of `system_of`.
    """
    if data not in paper()["data"]:
        return None
    wanted = row["system"], row["source"]
    return next((each for each in published(data) if (each.system, each.source) == wanted), None)


def claim(data: str, key: str, metric: str) -> Claim | None:
    """Return the published score at the paper's default values; None for another data set, key or score.

    Args:
        data: the choice of `data`.
        key: the ablated key.
        metric: the score.
    """
    row = next(row for row in paper()["systems"] if row["system"] == paper()["default_system"])
    found = published_system(data, row)
    if found is None or metric not in found.scores or key not in ablations():
        return None
    value = found.scores[metric]
    values = ", ".join(f"{each.name} {each.value}" for each in ablations().values())
    return Claim(value, ablation(key).value, f"{row['source']}, {paper()['data'][data]}, {values}: {value:.3f}")


def _choices(row: Mapping[str, str]) -> dict[str, str]:
    return {group: choice for group, choice in row.items() if group not in ("system", "source", "model")}
