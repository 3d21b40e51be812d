"""`r2cmn dashboard`: saves a W&B workspace with the panels of the ablations."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_OUT = Path("r2cmn_dashboard.json")


def dashboard(
    project: Annotated[str, typer.Option(help="W&B project of the runs.")] = "r2cmn",
    entity: Annotated[str | None, typer.Option(help="User or team [default: that of the account].")] = None,
    group: Annotated[str | None, typer.Option(help="Show only one sweep, by the name of its folder.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the workspace to this JSON file instead of W&B.")] = None,
) -> None:
    """Create the W&B dashboard of the ablations: curves, bars, parallel coordinates, memory use, reports, system.

    r2cmn dashboard --project r2cmn --group memory_size
    r2cmn dashboard --project r2cmn --out dashboard.json

    Each call saves a new view; existing ones are not changed. Without a W&B account the workspace is written to a file.
    """
    from r2cmn.loggers.workspace import build, find_entity, has_account, save, write

    if out is None and has_account():
        print(save(build(project, entity or find_entity(), group)))
        return
    out = out or DEFAULT_OUT
    write(build(project, entity or "", group), out)
    print(out)
    print("r2cmn: note: to save it to W&B, run `wandb login`, then this command without --out", file=sys.stderr)
