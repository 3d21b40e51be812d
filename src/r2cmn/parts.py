"""The parts that a module works with: built from descriptions, or given as objects and described."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from r2cmn.build import MISSING, DescriptionError, allow_targets, build, check_options
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.encoder_decoder.wording import max_tokens
from r2cmn.model import CMN, build_model
from r2cmn.objectives import check_model
from r2cmn.protocols import PartError, check_is_object, check_model_shapes, check_part
from r2cmn.types import Config, Generation, Objective

GENERATION: Config = {"_target_": "r2cmn.generation.BeamSearch", "num_beams": 3}
OBJECTIVE: Config = {"_target_": "r2cmn.objectives.CrossEntropy"}
METRICS: Config = {"_target_": "r2cmn.metrics.report.ReportMetrics"}

MODEL = ("backbone", "memory", "encoder_decoder")
_OFFERED = ("tokenizer", "vocabulary_size", "annotations")
"""Arguments of a constructor that a checkpoint holds with the data, see `build_model`."""


@dataclass(frozen=True)
class Parts:
    """The objects that a module works with."""

    model: CMN
    generation: Generation
    objective: Objective
    val_metrics: Any
    test_metrics: Any


def build_parts(described: Mapping[str, Any]) -> Parts:
    """Build all parts from the hyperparameters of a module."""
    data = described["data"]
    tokenizer = Tokenizer(**data["tokenizer"])
    model = build_model(described["model"], tokenizer, data.get("annotations"), data["images"].get("size"))
    return _with_model(model, described, tokenizer, {})


def _with_model(model: CMN, described: Mapping[str, Any], tokenizer: Tokenizer, given: Mapping[str, Any]) -> Parts:
    """Build the other parts, except those that are given."""
    generation = given.get("generation") or build_generation(described["generation"], model, tokenizer)
    data = described["data"]
    offered = {"annotations": data["objective_annotations"]} if "objective_annotations" in data else {}
    objective = given.get("objective") or build(described["objective"] or OBJECTIVE, "objective", offered)
    check_part(generation, Generation, "generation")
    check_part(objective, Objective, "objective")
    check_model(objective, model.encoder_decoder)
    metrics = given.get("metrics") or build(described["metrics"] or METRICS, "metrics")
    return Parts(model, generation, objective, metrics, copy.deepcopy(metrics))


def build_generation(description: Config | None, model: CMN, tokenizer: Tokenizer) -> Generation:
    """Build a way to write reports, by default as long as the reports of the tokenizer."""
    length = max_tokens(model.encoder_decoder, tokenizer)
    generation: Generation = build({"max_length": length, **(description or GENERATION)}, "generation")
    return generation


def take_parts(given: Mapping[str, Any], data: Any, describe: Mapping[str, Config]) -> tuple[dict[str, Any], Parts]:
    """Check objects, describe them and build what is not given.

    Args:
        given: the objects of the model by name, and `generation`, `objective`, `optimizer` and `metrics`, each an
            object, a description or None.
        data: a data module, or its `describe()`.
        describe: arguments of constructors by the name of the part.

    Returns:
        The hyperparameters of the module, and its parts.

    Raises:
        PartError: if a part does not follow its protocol.
        DescriptionError: if `describe` does not fit the class of a part.
    """
    unknown = sorted(set(describe) - set(given))
    if unknown:
        raise DescriptionError(f"describe has no part '{unknown[0]}': there are {', '.join(given)}")
    model = CMN(*(given[name] for name in MODEL))
    for name in MODEL:
        if not isinstance(given[name], nn.Module):
            raise PartError(f"{name} is a {type(given[name]).__name__}, not an nn.Module: its weights would not train")
    given = {**given, "optimizer": describe_optimizer(given["optimizer"])}
    objects = {name: part for name, part in given.items() if part is not None and not isinstance(part, dict)}
    described: dict[str, Any] = {"model": {}, "data": _describe_data(data), **given}
    for name, part in objects.items():
        description = describe_part(part, name, describe.get(name))
        if name in ("encoder_decoder", "objective"):
            _move_annotations(name, description, described["data"])
        (described["model"] if name in MODEL else described)[name] = description
    described = {name: part for name, part in described.items() if name not in MODEL}
    tokenizer = Tokenizer(**described["data"]["tokenizer"])
    images = described["data"]["images"]
    shape = (1, images["num_views"], 3, images["size"], images["size"])
    check_model_shapes(model, next(model.parameters(), torch.empty(0)).new_zeros(shape), tokenizer.vocabulary_size)
    return described, _with_model(model, described, tokenizer, objects)


def _describe_data(data: Any) -> dict[str, Any]:
    if isinstance(data, dict):
        return copy.deepcopy(data)
    if not hasattr(data, "describe"):
        raise PartError(
            f"data: {type(data).__name__} has no method describe(), which returns tokenizer, images and license_class: "
            "give a r2cmn.ReportDataModule, or such a dict"
        )
    described: dict[str, Any] = data.describe()
    return described


def _move_annotations(name: str, description: Config, data: dict[str, Any]) -> None:
    key = "annotations" if name == "encoder_decoder" else "objective_annotations"
    if "annotations" in description:
        data[key] = description.pop("annotations")


def describe_part(part: Any, named: str, arguments: Config | None = None) -> Config:
    """Describe an object by its class and the arguments of its constructor.

    Args:
        part: the object.
        named: the name of the part.
        arguments: of the constructor; None takes those of the part's `description()`.

    Returns:
        A description; with the key `MISSING`, a sentence, if the part cannot be built again from it.

    Raises:
        DescriptionError: if the arguments do not fit the constructor.
    """
    check_is_object(part, named)
    cls = type(part)
    if inspect.isroutine(part):
        return {MISSING: f"{named} is a function, which a checkpoint cannot hold: make it a class with a __call__"}
    if cls.__module__ == "__main__":
        return {MISSING: f"{named}: class {cls.__name__} is in a script or notebook: move it to a module to import it"}
    if "." in cls.__qualname__:
        return {MISSING: f"{named}: class {cls.__qualname__} cannot be imported: define it at the top of a module"}
    if arguments is None and callable(getattr(part, "description", None)):
        arguments = part.description()
    target = _trusted_target(cls)
    if arguments is None and (asked := _parameters(cls)):
        reason = (
            f"{named}: the arguments of {target} are unknown ({', '.join(asked)}): give CMNModule.from_parts "
            f"describe={{'{named}': {{...}}}}, or give the class a method description() that returns them"
        )
        return {"_target_": target, MISSING: reason}
    return _describe(cls, arguments or {}, named)


def describe_optimizer(optimizer: Any) -> Config | None:
    """Describe an optimizer that is given as a class or a `functools.partial` of one.

    Raises:
        PartError: if it is something else.
    """
    if optimizer is None or isinstance(optimizer, dict):
        return optimizer
    cls, options = (optimizer.func, optimizer.keywords) if isinstance(optimizer, functools.partial) else (optimizer, {})
    if not (inspect.isclass(cls) and issubclass(cls, torch.optim.Optimizer)):
        raise PartError(
            "optimizer: give a description, {'_target_': 'torch.optim.AdamW', 'lr': 1e-3}, or "
            "functools.partial(torch.optim.AdamW, lr=1e-3): the module passes the parameters"
        )
    return _describe(cls, options, "optimizer", ("params",))


def find_missing(described: Mapping[str, Any]) -> list[str]:
    """Return why the parts of a module cannot be built from its hyperparameters, a sentence each; [] if they can."""
    return [part[MISSING] for part in [*described["model"].values(), *described.values()] if MISSING in (part or {})]


def _trusted_target(cls: type) -> str:
    allow_targets(cls.__module__)  # an object of the class is at hand
    return f"{cls.__module__}.{cls.__qualname__}"


def _parameters(cls: type) -> list[str]:
    """Return the parameters of a constructor but for those that the data give."""
    if cls.__init__ in (object.__init__, nn.Module.__init__):  # type: ignore[misc]
        return []
    return [name for name in list(inspect.signature(cls.__init__).parameters)[1:] if name not in _OFFERED]  # type: ignore[misc]


def _describe(cls: type, arguments: Config, named: str, offered: Sequence[str] = _OFFERED) -> Config:
    target = _trusted_target(cls)
    if arguments.get("_target_", target) != target:
        raise DescriptionError(f"{named} is described as {arguments['_target_']}, but is of class {target}")
    options = {
        key: value for key, value in arguments.items() if key not in ("_target_", "tokenizer", "vocabulary_size")
    }
    check_options(cls, options, named, offered)
    for key, value in options.items():
        if not _is_plain(value):
            reason = (
                f"{named}.{key} is a {type(value).__name__}, which a checkpoint cannot hold: describe {named} by "
                "numbers, texts, lists and dicts"
            )
            return {"_target_": target, MISSING: reason}
    return {"_target_": target, **copy.deepcopy(options)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str | int) and _is_plain(each) for key, each in value.items())
    if isinstance(value, list | tuple):
        return type(value) in (list, tuple) and all(map(_is_plain, value))
    return type(value) in (int, float, bool, str, type(None))
