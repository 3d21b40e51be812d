"""Objects built from plain descriptions, and the packages whose classes a description may name.

A description is a dict with `_target_`, the full path of a class, and the keyword arguments of its constructor. A
checkpoint contains descriptions, and a checkpoint is data, never code: only classes of the allowed packages are built,
and any other name is refused before it is imported.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r2cmn.files.limits import find_excess
from r2cmn.files.words import first_line

if TYPE_CHECKING:  # types imports torch, and Hydra's plugins import this module
    from r2cmn.types import Config

_ALLOWED = ["r2cmn.", "torch.optim."]
RENAMED = {
    "r2cmn.data.phantom.PhantomDataModule": "r2cmn.phantom.PhantomDataModule",
    "r2cmn.initialization.Independent": "r2cmn.released.init.Independent",
    "r2cmn.initialization.Released": "r2cmn.released.init.Released",
    "r2cmn.speed.Speed": "r2cmn.callbacks.speed.Speed",
}
"""Classes that have moved: their path in older checkpoints and configurations, and their path now."""
_SCALARS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", type(None): "null"}
_CONTAINERS = (dict, list, tuple)


MISSING = "_missing_"
"""Key of a description that cannot be built, and why: `CMNModule.from_parts` got an object without its arguments."""


class DescriptionError(ValueError):
    """A description names an unknown class or option, or lacks a required option."""


class NotAllowedError(DescriptionError):
    """A description names a class outside the allowed packages."""


def allow_targets(*prefixes: str) -> None:
    """Allow descriptions to name classes of further packages.

    Args:
        prefixes: packages, such as "my_project".
    """
    for prefix in prefixes:
        dotted = prefix if prefix.endswith(".") else prefix + "."
        if dotted not in _ALLOWED:
            _ALLOWED.append(dotted)


def check_allowed(description: Any) -> None:
    """Check that a description names only classes of the allowed packages, nested descriptions included.

    Raises:
        NotAllowedError: naming the first other class; nothing has been imported then.
    """
    if isinstance(description, dict):
        target = description.get("_target_")
        if target is not None and not (isinstance(target, str) and target.startswith(tuple(_ALLOWED))):
            raise NotAllowedError(
                f"{_shown(target)} is not one of the classes that a description may name ({', '.join(_ALLOWED)}…): if "
                f"you trust it, add --allow {_package(target)} to the command, or call "
                f"r2cmn.allow_targets('{_package(target)}') first"
            )
        for value in description.values():
            check_allowed(value)
    elif isinstance(description, list | tuple):
        for value in description:
            check_allowed(value)


def _shown(target: Any) -> str:
    return repr(target) if isinstance(target, str) else f"a {type(target).__name__}"


def _package(target: Any) -> str:
    package = str(target).partition(".")[0]
    return package if package.isidentifier() else "its_package"


def find_class(target: str) -> type:
    """Import the class that `target` names.

    Raises:
        NotAllowedError: if the class is outside the allowed packages, even if an allowed module imports it.
        DescriptionError: if there is no such class.
    """
    check_allowed({"_target_": target})
    found = import_class(RENAMED.get(target, target))
    if not inspect.isclass(found):
        raise DescriptionError(f"{target!r} is not a class")
    check_allowed({"_target_": f"{found.__module__}.{found.__qualname__}"})
    return found


def import_class(target: str) -> Any:
    """Import what `target` names, of any package.

    Raises:
        DescriptionError: if there is no such class.
    """
    module_name, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), name)
    except (ImportError, ValueError, AttributeError) as error:
        is_here = any(map(Path.exists, [Path(f"{_package(target)}.py"), Path(_package(target))]))
        hint = " (--here makes the current folder importable)" if is_here else ""
        raise DescriptionError(f"there is no class {target!r}: {first_line(error)}{hint}") from error


def options_of(description: Config) -> Config:
    """Return the keyword arguments of a description."""
    return {name: value for name, value in description.items() if name != "_target_"}


def check_options(cls: type, options: Config, named: str, offered: Collection[str] = ()) -> None:
    """Check the options of a description against the constructor's parameters and their types.

    Args:
        cls: the class to build.
        options: the keyword arguments, without `_target_`.
        named: what to call the description in an error, such as "memory".
        offered: parameters that get a value beside the description.

    Raises:
        DescriptionError: naming the option that is unknown, missing or of another type.
    """
    parameters = [p for name, p in inspect.signature(cls.__init__).parameters.items() if name != "self"]  # type: ignore[misc]
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    known = [p.name for p in parameters if p.kind is not p.VAR_POSITIONAL]
    for key in options:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            has = f"did you mean '{near[0]}'?" if near else f"its options: {', '.join(known[:12]) or 'none'}"
            raise DescriptionError(f"{named}.{key}: {cls.__name__} has no option '{key}' ({has})")
    for parameter in parameters:
        if (
            parameter.default is parameter.empty
            and parameter.name in known
            and parameter.name not in (*options, *offered)
        ):
            raise DescriptionError(f"{named}.{parameter.name}: {cls.__name__} needs a value for '{parameter.name}'")
    _check_types(cls, options, named)


def _check_types(cls: type, options: Config, named: str) -> None:
    try:
        hints = typing.get_type_hints(cls.__init__)  # type: ignore[misc]
    except (NameError, TypeError):  # hints of another package that cannot be resolved here
        return
    for key, value in options.items():
        if key in hints and not _fits(value, hints[key]):
            wanted = " or ".join(_names(hints[key]))
            raise DescriptionError(f"{named}.{key}: {value!r} is not {wanted}")


def _fits(value: Any, hint: Any) -> bool:
    """Return whether a plain value fits a type hint; values for other classes are left to the constructor."""
    origin = dict if typing.get_origin(hint) is Mapping else typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if isinstance(value, str) and "${" in value:  # not resolved yet
        return True
    if not isinstance(value, bool | int | float | str | type(None)):
        wrong_container = origin in _CONTAINERS and isinstance(value, dict) != (origin is dict)
        return hint not in (*_SCALARS, Path) and not wrong_container
    if hint in (int, float):
        return isinstance(value, (int, float) if hint is float else int) and not isinstance(value, bool)
    return isinstance(value, hint) if hint in _SCALARS else (origin or hint) not in _CONTAINERS


def _names(hint: Any) -> list[str]:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return [name for each in typing.get_args(hint) for name in _names(each)]
    if origin is typing.Literal:
        return [repr(value) for value in typing.get_args(hint)]
    containers: dict[Any, str] = {list: "a list", tuple: "a list", dict: "a set of keys", Mapping: "a set of keys"}
    words: dict[Any, str] = {**_SCALARS, **containers, Path: "a path"}
    return [words.get(origin or hint, getattr(hint, "__name__", str(hint)))]


def has_option(function: Callable[..., Any], name: str) -> bool:
    """Return whether a class's constructor, or a function, has a parameter of this name."""
    return name in inspect.signature(function).parameters


def build(
    description: Config, named: str = "description", offered: Mapping[str, Any] | None = None, **more: Any
) -> Any:
    """Build the object that a description names.

    Args:
        description: `_target_` and keyword arguments; nested descriptions are passed on as they are.
        named: what to call the description in an error.
        offered: keyword arguments to pass only if the constructor names them, such as the tokenizer.
        more: keyword arguments that the description cannot hold, such as the parameters of an optimizer.

    Raises:
        DescriptionError: naming the class or the option at fault.
    """
    if not isinstance(description, dict):
        raise DescriptionError(f"{named}: {description!r} is not a description with '_target_', the path of a class")
    if MISSING in description:
        raise DescriptionError(str(description[MISSING]))
    if "_target_" not in description:
        raise DescriptionError(f"{named} has no '_target_', the full path of a class")
    check_allowed(description)
    excess = find_excess(options_of(description), named, is_part=not named.startswith("optimizer"))
    if excess is not None:
        raise DescriptionError(excess)
    cls = find_class(description["_target_"])
    taken = {name: value for name, value in (offered or {}).items() if has_option(cls, name)}
    options = {**options_of(description), **taken, **more}
    check_options(cls, options, named)
    try:
        return cls(**options)
    except ValueError as error:
        if type(error) is not ValueError or f"{named}." in str(error):
            raise
        raise DescriptionError(f"{named}: {error}") from error
    except (TypeError, ArithmeticError, RuntimeError) as error:  # torch may compute before it checks arguments
        raise DescriptionError(f"{named} cannot be built: {first_line(error)}") from error
