"""`r2cmn save-pretrained`, `r2cmn push` and `r2cmn export`: a trained model for others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from r2cmn.commands.options import Allow, Model

Data = Annotated[
    str | None,
    typer.Option(help="Data set for the model card: iu_xray, mimic_cxr or a title.", show_default="the run's"),
]


def save_pretrained(
    checkpoint: Model,
    folder: Annotated[Path, typer.Argument(help="Folder to write.")],
    data: Data = None,
    allow: Allow = None,
) -> None:
    """Write a model as a folder that holds neither code nor pickles: description, weights and a model card.

    r2cmn save-pretrained runs/NAME shared/cmn
    r2cmn save-pretrained best.ckpt shared/cmn --data "My hospital, 2015 to 2020"
    """
    from r2cmn.inference import load_module
    from r2cmn.runs.facts import find_model, read_facts
    from r2cmn.sharing.folder import save

    found = find_model(checkpoint)
    facts, notes = read_facts(found, data)
    files = save(load_module(found, "cpu", allow), folder, facts)
    _report(notes)
    for file in files:
        print(file)


def push(
    model: Model,
    repository: Annotated[str, typer.Argument(help="OWNER/NAME; it is created if it does not exist.")],
    data: Data = None,
    private: Annotated[bool, typer.Option("--private", help="Create a private repository.")] = False,
    i_have_permission: Annotated[
        bool, typer.Option("--i-have-permission", help="You may share a model that is under a data use agreement.")
    ] = False,
    allow: Allow = None,
) -> None:
    """Push a model to the Hugging Face Hub, or to the one that HF_ENDPOINT names; log in with `hf auth login`.

    A folder of `r2cmn save-pretrained` is pushed as it is, with what you wrote into its model card.

    r2cmn push runs/NAME OWNER/NAME --private
    r2cmn push shared/cmn OWNER/NAME
    """
    from r2cmn.inference import load_module
    from r2cmn.runs.facts import find_model, read_facts
    from r2cmn.sharing.folder import is_shared
    from r2cmn.sharing.hub import push as push_model

    found = find_model(model)
    module = load_module(found, "cpu", allow)  # a folder, too: a damaged one is not pushed
    facts, notes = (None, []) if is_shared(found) else read_facts(found, data)
    given = found if is_shared(found) else module
    _report(notes)
    print(push_model(given, repository, facts, private or None, i_have_permission, option="--i-have-permission"))


def export(
    model: Model,
    onnx: Annotated[Path | None, typer.Option(help="Folder for the files of ONNX.")] = None,
    torch_export: Annotated[Path | None, typer.Option(help="Folder for the programs of torch.export.")] = None,
    allow: Allow = None,
) -> None:
    """Export the encoder and one step of the decoder as graphs that run without r2cmn.

    r2cmn export runs/NAME --onnx exported/cmn
    python examples/onnx/decode.py exported/cmn frontal.png lateral.png --beams 3
    """
    from r2cmn.inference import load_module
    from r2cmn.runs.facts import find_model
    from r2cmn.sharing.export import ExportError, export_onnx, export_torch

    if onnx is None and torch_export is None:
        raise ExportError("nothing to export to: give --onnx FOLDER, --torch-export FOLDER, or both")
    module = load_module(find_model(model), "cpu", allow)
    for folder, write in ((onnx, export_onnx), (torch_export, export_torch)):
        for file in write(module, folder) if folder is not None else ():
            print(file)


def _report(notes: list[str]) -> None:
    for note in notes:
        print(f"r2cmn: note: {note}", file=sys.stderr)
