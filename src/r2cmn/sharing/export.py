"""Writes a model as graphs that run without r2cmn: ONNX files or programs of torch.export.

A folder holds the encoder, one step of the decoder with a cache of fixed length, and `export.json`: how images are
prepared, what the values of the state are called, and the text of each column. docs/share/export.md describes it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch
from torch.export import Dim, ExportedProgram

from r2cmn.data.images import IMAGENET_MEAN, IMAGENET_STD
from r2cmn.encoder_decoder.wording import max_tokens, to_words
from r2cmn.files import PRIVATE_FILE, PUBLIC_FILE, load_optional, whole_file, write_whole
from r2cmn.files.folders import make_private_folder
from r2cmn.files.words import first_line
from r2cmn.sharing.steps import Steps, split

FORMAT = "r2cmn.export/1"
DESCRIPTION = "export.json"
MAX_VIEWS = 3
"""The largest number of images of a study that the encoder reads, unless the model was trained on more."""

Write = Callable[[ExportedProgram, list[str], list[str], IO[bytes]], None]
"""Writes a program, whose inputs and outputs have names, to a file."""


class ExportError(ValueError):
    """A model cannot be exported."""


def export_onnx(module: Any, folder: Path) -> list[Path]:
    """Write `encoder.onnx`, `step.onnx` and `export.json`; return the files.

    Args:
        module: a `CMNModule`.
        folder: where to; it is created. Under a data use agreement only its owner can read it.

    Raises:
        ExportError: if the model cannot be recorded, or has an operation that ONNX lacks.
        ValueError: if onnx or onnxscript is not installed.
    """
    for library in ("onnx", "onnxscript"):
        load_optional(library, "an export to ONNX", "onnx")
    return _export(module, folder, ".onnx", _write_onnx)


def export_torch(module: Any, folder: Path) -> list[Path]:
    """Write `encoder.pt2`, `step.pt2` and `export.json`; `torch.export.load` reads the programs.

    Args and raises: as `export_onnx`.
    """
    return _export(module, folder, ".pt2", lambda program, _, __, file: torch.export.save(program, file))


def _export(module: Any, folder: Path, suffix: str, write: Write) -> list[Path]:
    steps = split(module.model, module.transform.size, _room(module))
    files = [folder / f"{part}{suffix}" for part in ("encoder", "step")]
    mode = PRIVATE_FILE if module.license_class == "dua" else PUBLIC_FILE
    if mode == PRIVATE_FILE:
        make_private_folder(folder)
    names, changed = steps.step.names, steps.step.changed
    sides = [(["images"], names), (["tokens", *names], ["log_p", *(f"next.{name}" for name in changed)])]
    records: tuple[Callable[[Steps], ExportedProgram], ...] = partial(_encoder, num_views=module.num_views), _step
    for file, record, (inputs, outputs) in zip(files, records, sides, strict=True):
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                program = record(steps)
                with whole_file(file, mode) as opened:
                    write(program, inputs, outputs, opened)
        except OSError:
            raise
        except Exception as error:  # recording a model of one's own can fail in many ways
            what = type(module.model.encoder_decoder).__name__
            raise ExportError(f"the {file.stem} of {what} cannot be exported: {_reason(error)}") from error
    description = folder / DESCRIPTION
    write_whole(description, json.dumps(describe(module, steps, [file.name for file in files]), indent=1) + "\n", mode)
    return [*files, description]


def describe(module: Any, steps: Steps, files: list[str]) -> dict[str, Any]:
    """Return what a program needs to decode with the two graphs, in plain containers."""
    decoder, tokenizer = module.model.encoder_decoder, module.tokenizer
    state = steps.encoder.state(steps.images)
    with torch.no_grad():
        columns = steps.step(torch.zeros(len(steps.images), dtype=torch.long), *state.values())[0].shape[1]
    return {
        "format": FORMAT,
        "encoder": files[0],
        "step": files[1],
        "images": {
            "size": module.transform.size,
            "mean": IMAGENET_MEAN.flatten().tolist(),
            "std": IMAGENET_STD.flatten().tolist(),
            "views": module.num_views,
        },
        "state": list(state),
        "changed": steps.step.changed,
        "max_length": _room(module),
        "max_words": tokenizer.max_length,
        "texts": ["", *(to_words(decoder, [number], tokenizer) for number in range(1, columns))],
        "license_class": module.license_class,
    }


def _room(module: Any) -> int:
    """Return the largest number of tokens of a report, the places of the cache."""
    return int(getattr(module.generation, "max_length", max_tokens(module.model.encoder_decoder, module.tokenizer)))


def _encoder(steps: Steps, num_views: int) -> ExportedProgram:
    dims = {0: Dim("batch", min=1), 1: Dim("views", min=1, max=max(MAX_VIEWS, num_views))}
    return torch.export.export(steps.encoder, (steps.images,), dynamic_shapes=(dims,))


def _step(steps: Steps) -> ExportedProgram:
    # no two inputs are one tensor, such as the zeros of a start: torch.export would take them for one input
    state, batch = steps.encoder(steps.images), Dim("batch", min=1)
    # AUTO: the number of patches, of which some models make a multiple
    dims = tuple({0: batch, **dict.fromkeys(steps.axes[name], Dim.AUTO)} for name in steps.step.names)
    tokens = torch.zeros(len(steps.images), dtype=torch.long)
    return torch.export.export(steps.step, (tokens, *state), dynamic_shapes=({0: batch}, dims))


def _write_onnx(program: ExportedProgram, inputs: list[str], outputs: list[str], file: IO[bytes]) -> None:
    written: Any = torch.onnx.export(program, dynamo=True, input_names=inputs, output_names=outputs, verbose=False)
    file.write(written.model_proto.SerializeToString())


def _reason(error: BaseException) -> str:
    """Return the first line of the innermost error, which names the operation."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)
