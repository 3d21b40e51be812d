"""`r2cmn models`: every choice of `model=`, with its paper, size, needs and what it was verified against."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

PRESETS = {"iu_xray": ("iu_xray_paper", 760), "mimic_cxr": ("mimic_cxr_paper", 4335)}
"""By data set: the experiment with the paper's sizes, and the number of words of its vocabulary."""
_INVENTED = 100  # reports of one sentence each, for models whose size depends on the sentences of the training set


def models(
    names: Annotated[list[str] | None, typer.Argument(help="Choices of model.", show_default="all")] = None,
    data: Annotated[str, typer.Option(help="Count parameters for the vocabulary of iu_xray or mimic_cxr.")] = "iu_xray",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the systems of the paper's tables: parameters at the paper's size, what they need, how to train each.

    r2cmn models
    r2cmn models cmn r2gen --data mimic_cxr --json
    """
    from r2cmn.groups import ConfigError, conf_dir

    if data not in PRESETS:
        raise ConfigError(f"--data is one of {', '.join(PRESETS)}, not '{data}'")
    known = _ordered([path.stem for path in (conf_dir() / "model").glob("*.yaml")])
    for name in names or []:
        if name not in known:
            raise ConfigError(f"there is no model '{name}': there are {', '.join(known)}")
    rows = [describe(name, data) for name in names or known]
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        _show(rows, data)


def describe(name: str, data: str) -> dict[str, Any]:
    """Return the facts of a model, its number of parameters at the paper's size, and the command that trains it."""
    from r2cmn.groups import conf_dir, read_facts

    facts = read_facts(conf_dir() / "model" / f"{name}.yaml")
    total = count_parameters(name, data)
    return {"model": name, **facts, "parameters": total, "command": f"r2cmn train model={name}"}


def count_parameters(name: str, data: str) -> int:
    """Count the parameters at the paper's size, the ResNet-101 included, on the meta device.

    Models that add a token per template get templates of invented reports: as many as their option says.
    """
    import torch

    from r2cmn.config import compose, plain
    from r2cmn.data.reports import Study
    from r2cmn.data.tokenizer import UNKNOWN, Tokenizer
    from r2cmn.encoder_decoder.wording import annotate
    from r2cmn.groups import MODEL
    from r2cmn.model import build_model
    from r2cmn.model import count_parameters as count

    preset, num_words = PRESETS[data]
    config = compose([f"experiment={preset}", f"model={name}", "data.dir=.", "backbone.pretrained=false"])
    parts = {group: plain(config[group]) for group in MODEL if group != "init"}
    tokenizer = Tokenizer([".", UNKNOWN, *(f"word{n}" for n in range(num_words - 2))])
    reports = [f"word{2 * n} word{2 * n + 1} ." for n in range(_INVENTED)]
    studies = [Study(str(n), report, (), "train") for n, report in enumerate(reports)]
    with torch.device("meta"):
        model = build_model(parts, tokenizer, annotate(parts["encoder_decoder"], studies, tokenizer))
    return count(model)["total"]


def _ordered(names: list[str]) -> list[str]:
    """Return names in the order of the paper's tables, others last."""
    from r2cmn.sweeps.results.paper import rank

    return sorted(names, key=lambda name: (rank(name), name))


def _show(rows: list[dict[str, Any]], data: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table

    from r2cmn.evaluation.show import console
    from r2cmn.groups import FACTS

    columns = ("model", *FACTS, "parameters")
    table = Table(
        *(Column("millions of parameters" if name == "parameters" else name, overflow="fold") for name in columns),
        box=SIMPLE_HEAD,
        pad_edge=False,
        caption=f"Parameters at the paper's size on {data}, ResNet-101 included. Train one: r2cmn train model=NAME",
        caption_justify="left",
    )
    for row in rows:
        table.add_row(*(f"{row[name] / 1e6:.1f}" if name == "parameters" else str(row[name]) for name in columns))
    console().print(table)
