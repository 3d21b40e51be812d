"""All trials as one tidy table, a row a trial, and their learning curves in long form: for pandas, R, a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from r2cmn.evaluation.result import write_whole
from r2cmn.sweeps.results.extra import load
from r2cmn.sweeps.results.metrics_file import read_metrics
from r2cmn.sweeps.results.settings import shown
from r2cmn.sweeps.results.trial import Trial, key_of

Row = dict[str, Any]
_PARTS = ("config", "data", "code")


def rows(trials: Sequence[Trial]) -> list[Row]:
    """Return a row a trial, all with the same columns in the same order; what is not known is None.

    Columns: sweep, trial, status, `override:KEY` for every override of any trial, memory, num_vectors, num_queried,
    num_threads, dim, seed, data, objective, val_loss, epochs, seconds, `score:NAME` of the test, `parameters:NAME`,
    speeds in studies per second, fingerprint and its parts, version, commit, started, reason, directory.
    """
    made = [_row(trial) for trial in trials]
    columns = list(dict.fromkeys(name for row in made for name in row))
    order = sorted(columns, key=lambda name: _PLACES.index(name.partition(":")[0] + ":" * (":" in name)))
    return [{name: row.get(name) for name in order} for row in made]


_PLACES = (
    "sweep", "trial", "status", "override:", "memory", "num_vectors", "num_queried", "num_threads", "dim", "seed",
    "data", "objective", "val_loss", "epochs", "seconds", "score:", "parameters:", "train_studies_per_second",
    "test_studies_per_second", "fingerprint", "part:", "version", "commit", "started", "reason", "directory",
)  # fmt: skip


def _row(trial: Trial) -> Row:
    memory = trial.config.get("memory") or {}
    data = trial.config.get("data") or {}
    row: Row = {"sweep": trial.sweep, "trial": trial.directory.name, "status": trial.status}
    row |= {f"override:{key_of(each)}": each.partition("=")[2] for each in trial.overrides}
    row |= {"memory": shown(memory["_target_"]) if "_target_" in memory else None}
    row |= {name: memory.get(name) for name in ("num_vectors", "num_queried", "num_threads")}
    row |= {"dim": trial.config.get("dim"), "seed": trial.seed}
    row |= {"data": shown(data["_target_"]) if "_target_" in data else None}
    row |= {name: trial.value.get(name) for name in ("objective", "val_loss", "epochs", "seconds")}
    row |= {f"score:{name}": value for name, value in trial.scores.items()}
    row |= {f"parameters:{name}": int(value) for name, value in trial.parameters.items()}
    row |= {
        f"{stage}_studies_per_second": trial.speed.get(f"{stage}_studies_per_second") for stage in ("train", "test")
    }
    row |= {"fingerprint": trial.result.get("fingerprint") or trial.start.get("fingerprint")}
    row |= {f"part:{name}": trial.parts.get(name) for name in _PARTS}
    row |= {name: trial.start.get(name) for name in ("version", "commit", "started")}
    return row | {"reason": trial.reason or None, "directory": str(trial.directory)}


def curves(trials: Sequence[Trial]) -> Iterator[Row]:
    """Yield every logged value of every trial: sweep, trial, seed, epoch, step, metric, value."""
    for trial in trials:
        for line in read_metrics(trial.directory / "metrics.csv"):
            where = {"sweep": trial.sweep, "trial": trial.directory.name, "seed": trial.seed,
                     "epoch": line.get("epoch"), "step": line.get("step")}  # fmt: skip
            for name, value in line.items():
                if name not in ("epoch", "step"):
                    yield where | {"metric": name, "value": value}


def write_csv(path: Path, table: Sequence[Row]) -> None:
    """Write rows as CSV, whole or not at all."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(table[0]) if table else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    write_whole(path, text.getvalue())


def write_parquet(path: Path, table: Sequence[Row]) -> None:
    """Write rows as Parquet, whole or not at all; a column of numbers and texts becomes one of texts.

    Raises:
        ValueError: without pyarrow.
    """
    arrow = load("pyarrow", "--parquet")
    parquet = load("pyarrow.parquet", "--parquet")
    columns = {name: _one_type([row[name] for row in table]) for name in (table[0] if table else {})}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    try:
        parquet.write_table(arrow.table(columns), temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _one_type(values: list[Any]) -> list[Any]:
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) > 1 and kinds <= {int, float}:
        return [None if value is None else float(value) for value in values]
    return [None if value is None else str(value) for value in values] if len(kinds) > 1 else values
