"""Checks of a user's parts against the protocols of `r2cmn.types`, each with a sentence that says what is missing.

Shapes: B studies, I views, S patches of all views, T words, D `dim`, W columns of the output.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from r2cmn.types import Batch


class PartError(ValueError):
    """A part of a model lacks a method, or returns something else than its protocol asks for."""


def check_part(part: Any, protocol: type, named: str, optional: Collection[str] = ()) -> None:
    """Check that a part has the methods of a protocol and that they take its arguments.

    Args:
        part: the object.
        protocol: of `r2cmn.types`.
        named: what to call the part in an error, such as "memory".
        optional: further parameters of its methods that get a value.

    Raises:
        PartError: naming the methods that are missing, or the one that takes other arguments.
    """
    check_is_object(part, named)
    asked = _methods(protocol)
    found = {name: _method(part, name) for name in asked}
    missing = [name for name, method in found.items() if method is None]
    if missing:
        meaning = " ".join(f"{_shown_name(part, name)}: {_first_line(asked[name])}" for name in missing)
        names = ", ".join(_shown_name(part, name) for name in missing)
        raise PartError(f"{named}: {type(part).__name__} lacks {names} of r2cmn.types.{protocol.__name__}. {meaning}")
    for name, method in found.items():
        arguments = list(inspect.signature(asked[name]).parameters)[1:]
        fault = _argument_fault(method, arguments, optional)
        if fault is not None:
            raise PartError(
                f"{named}: {type(part).__name__}.{_shown_name(part, name)} does not take ({', '.join(arguments)}) as "
                f"r2cmn.types.{protocol.__name__}: {fault}"
            )


def check_is_object(part: Any, named: str) -> None:
    """Raise PartError if a part is a class."""
    if inspect.isclass(part):
        raise PartError(f"{named}: {part.__name__} is a class: give an object, {part.__name__}(...)")


def _argument_fault(method: Any, arguments: list[str], optional: Collection[str]) -> str | None:
    """Return why a method cannot be called with these arguments, in order; None if it can."""
    try:
        signature = inspect.signature(method)
        signature.bind(*arguments, **{name: None for name in optional if name in signature.parameters})
    except TypeError as error:
        return str(error)
    except ValueError:  # compiled, without a signature
        return None
    return None


def _methods(protocol: type) -> dict[str, Callable[..., Any]]:
    """Return the methods of a protocol and of those that it extends, in order."""
    classes = [cls for cls in reversed(protocol.__mro__) if cls.__module__ == protocol.__module__]
    found = {name: value for cls in classes for name, value in vars(cls).items() if inspect.isfunction(value)}
    return {name: value for name, value in found.items() if name == "__call__" or not name.startswith("_")}


def _method(part: Any, name: str) -> Callable[..., Any] | None:
    """Return a method of a part, or None; the call of an nn.Module is its `forward`."""
    method = getattr(part, _shown_name(part, name), None)
    is_abstract = isinstance(part, nn.Module) and getattr(method, "__func__", None) is nn.Module.forward
    return method if callable(method) and not is_abstract else None


def _shown_name(part: Any, name: str) -> str:
    return "forward" if name == "__call__" and isinstance(part, nn.Module) else name


def _first_line(method: Callable[..., Any]) -> str:
    return (inspect.getdoc(method) or "").partition("\n")[0]


def check_model_shapes(model: Any, images: Tensor, vocabulary_size: int) -> None:
    """Run a model once on a study and check what each part returns.

    Args:
        model: the `CMN`; it runs in evaluation mode, without gradients, and returns to its mode.
        images: (1, I, 3, H, W).
        vocabulary_size: V + 1, the least number of columns of the output.

    Raises:
        PartError: naming the part, what it returned and what was expected.
    """
    with _evaluating(model), torch.no_grad():
        patches = _run("backbone", model.backbone, images)
        _check_shape("backbone", patches, (1, "S", "D"))
        responses = _run("memory.visual", model.memory.visual, patches)
        _check_shape("memory.visual", responses, (1, patches.shape[1], "D"))
        source = _run("encoder_decoder.encode", model.encode, images)
        _check_values("encoder_decoder.encode", source)
        tokens = torch.zeros(1, 2, dtype=torch.long, device=images.device)
        words = _run("encoder_decoder.embed", model.encoder_decoder.embed, tokens, tokens.new_zeros(1))
        _check_shape("encoder_decoder.embed", words, (1, 2, "D"))
        answers = _run("memory.textual", model.memory.textual, words)
        _check_shape("memory.textual", answers, (1, 2, "D"))
        log_p = _run("encoder_decoder.decode", model.encoder_decoder.decode, tokens, answers, source)
        _check_columns("encoder_decoder.decode", log_p, (1, 2, "W"), vocabulary_size)
        state = _run("encoder_decoder.start", model.start, source)
        _check_values("encoder_decoder.start", state)
        if "position" not in state:
            raise PartError("encoder_decoder.start returned no 'position' (B,) int64, the number of words read so far")
        stepped = _run("encoder_decoder.step", model.step, tokens[:, 0], state)
        if not isinstance(stepped, tuple) or len(stepped) != 2:
            raise PartError(f"encoder_decoder.step returned a {type(stepped).__name__}, not (log-probabilities, state)")
        _check_columns("encoder_decoder.step", stepped[0], (1, "W"), vocabulary_size)
        _check_values("encoder_decoder.step", stepped[1])


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _run(named: str, method: Callable[..., Any], *given: Any) -> Any:
    try:
        return method(*given)
    except (RuntimeError, TypeError, IndexError, AttributeError) as error:
        shapes = ", ".join(str(tuple(value.shape)) for value in given if isinstance(value, Tensor))
        raise PartError(f"{named} fails on {shapes or 'what the part before it returned'}: {error}") from error


def _check_shape(named: str, value: Any, shape: tuple[int | str, ...]) -> None:
    """Check a tensor's dimensions; a letter stands for any size."""
    expected = f"({', '.join(map(str, shape))})"
    if not isinstance(value, Tensor):
        raise PartError(f"{named} returned a {type(value).__name__}, not a tensor {expected}")
    fits = [isinstance(size, str) or size == found for size, found in zip(shape, value.shape, strict=False)]
    if value.dim() != len(shape) or not all(fits):
        raise PartError(f"{named} returned {tuple(value.shape)}, not {expected}")


def _check_values(named: str, values: Any) -> None:
    if not hasattr(values, "items"):
        raise PartError(f"{named} returned a {type(values).__name__}, not a dict of tensors")
    for name, value in values.items():
        if not isinstance(value, Tensor) or value.dim() == 0 or len(value) != 1:
            found = tuple(value.shape) if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise PartError(f"{named} returned '{name}' as {found}: each value is a tensor with a row per study")


def _check_columns(named: str, log_p: Any, shape: tuple[int | str, ...], vocabulary_size: int) -> None:
    _check_shape(named, log_p, shape)
    if log_p.shape[-1] < vocabulary_size:
        raise PartError(
            f"{named} returned {log_p.shape[-1]} columns, but the tokenizer has {vocabulary_size}, the words and id 0: "
            "build it with data.tokenizer.vocabulary_size"
        )
    if not torch.allclose(log_p.float().exp().sum(-1), torch.ones(()).to(log_p.device), atol=1e-3):
        raise PartError(f"{named} returned no log-probabilities: end with log_softmax(-1)")


def check_batch(batch: Any) -> Batch:
    """Return a batch.

    Raises:
        PartError: if it is something else, such as the tuple or the dict of another library's data set.
    """
    if not isinstance(batch, Batch):
        raise PartError(
            f"a batch is a {type(batch).__name__}, not a r2cmn.types.Batch: let the collate_fn of your loader return "
            f"Batch(index=..., images=..., tokens=...); its fields: {', '.join(Batch._fields)}"
        )
    return batch
