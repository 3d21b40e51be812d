"""`r2cmn dashboard`: the ablations as a saved W&B workspace."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_OUT = Path("r2cmn_dashboard.json")


def dashboard(
    project: Annotated[str, typer.Option(help="W&B project of the runs.")] = "r2cmn",
    entity: Annotated[str | None, typer.Option(help="User or team. [default: the account's own]")] = None,
    group: Annotated[str | None, typer.Option(help="Show one sweep alone: the name of its folder.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the workspace to this JSON file; nothing is sent.")] = None,
) -> None:
    """Make the W&B dashboard of the ablations: curves, bars, parallel coordinates, memory use, reports, system.

    r2cmn dashboard --project r2cmn --group memory_size
    r2cmn dashboard --project r2cmn --out dashboard.json

    A new saved view is made each time; none is changed. Without a W&B account the workspace is written to a file.
    """
    from r2cmn.loggers.workspace import build, find_entity, has_account, save, write

    if out is None and has_account():
        print(save(build(project, entity or find_entity(), group)))
        return
    out = out or DEFAULT_OUT
    write(build(project, entity or "", group), out)
    print(out)
    print("r2cmn: note: to save it in W&B, run `wandb login`, then the same command without --out", file=sys.stderr)
