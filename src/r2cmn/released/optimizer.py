"""Conversion of Adam's state between the released trainer and ours: the same tensors in another order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from r2cmn.released.families import Weights
from r2cmn.released.files import ReleasedFileError
from r2cmn.released.weights import COUNTED, OUR_TRUNK, TRUNK

GROUPS = ("backbone", "rest")
"""Our names of the released optimizer's two groups, in their order."""

_BUFFERS = ("running_mean", "running_var", COUNTED)


def released_order(names: Mapping[str, str]) -> list[list[str]]:
    """Return our names of the parameters in the order of the released optimizer, by group.

    Args:
        names: of `weights.sources`, in the order of the released file.
    """
    parameters = [(key, ours) for key, ours in names.items() if not (key.endswith(_BUFFERS) or ours.startswith("("))]
    trunk = [ours for key, ours in parameters if key.startswith(TRUNK)]
    return [trunk, [ours for key, ours in parameters if not key.startswith(TRUNK)]]


def our_order(model: Iterable[str]) -> list[list[str]]:
    """Return our names of the parameters in the order of our optimizer, by group.

    Args:
        model: the state dict of a CMN.
    """
    parameters = [name for name in model if not name.endswith(_BUFFERS)]
    trunk = [name for name in parameters if name.startswith(OUR_TRUNK)]
    return [trunk, [name for name in parameters if not name.startswith(OUR_TRUNK)]]


def to_ours(state: Any, theirs: Sequence[Sequence[str]], ours: Sequence[Sequence[str]], model: Weights) -> Any:
    """Return the state dict of our optimizer.

    Args:
        state: the released `optimizer`.
        theirs: of `released_order`.
        ours: our names of the parameters in the order of our optimizer, by group.
        model: the weights, for their shapes.

    Raises:
        ReleasedFileError: if the groups do not have the model's parameters, or a moment has another shape.
    """
    groups = state["param_groups"]
    numbers = [number for group in groups for number in group["params"]]
    if [len(group["params"]) for group in groups] != [len(names) for names in theirs] or numbers != [
        *range(len(numbers))
    ]:
        raise ReleasedFileError(
            f"the optimizer's groups hold {[len(group['params']) for group in groups]} parameters, but the model has "
            f"{[len(names) for names in theirs]} in its trunk and the rest"
        )
    moments = {name: state["state"][i] for i, name in enumerate(_flat(theirs)) if i in state["state"]}
    for name, values in moments.items():
        for key, value in values.items():
            if key != "step" and value.shape != model[name].shape:
                raise ReleasedFileError(
                    f"the optimizer's '{key}' of '{name}' has the shape {tuple(value.shape)} instead of "
                    f"{tuple(model[name].shape)}"
                )
    return _numbered(moments, ours, [{**group, "name": name} for group, name in zip(groups, GROUPS, strict=True)])


def to_theirs(state: Any, ours: Sequence[Sequence[str]], theirs: Sequence[Sequence[str]]) -> Any:
    """Return the released `optimizer`; the arguments are those of `to_ours`.

    Raises:
        ReleasedFileError: if our optimizer does not have the two groups, as with a frozen trunk.
    """
    groups = state["param_groups"]
    if [len(group["params"]) for group in groups] != [len(names) for names in ours]:
        raise ReleasedFileError("the optimizer has not the released one's two groups, all of the trunk and the rest")
    moments = {name: state["state"][i] for i, name in enumerate(_flat(ours)) if i in state["state"]}
    return _numbered(moments, theirs, [{k: v for k, v in group.items() if k != "name"} for group in groups])


def _flat(groups: Sequence[Sequence[str]]) -> list[str]:
    return [name for group in groups for name in group]


def _numbered(moments: Mapping[str, Any], order: Sequence[Sequence[str]], groups: list[dict[str, Any]]) -> Any:
    start = 0
    for group, names in zip(groups, order, strict=True):
        group["params"] = [*range(start, start + len(names))]
        start += len(names)
    return {"state": {i: moments[n] for i, n in enumerate(_flat(order)) if n in moments}, "param_groups": groups}
