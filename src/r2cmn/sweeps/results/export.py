"""All runs as tables for pandas, R or a spreadsheet: a row a run, and every logged value in long form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r2cmn.files import load_optional, whole_file, write_whole
from r2cmn.runs.folder import override_key
from r2cmn.sweeps.results.trial import Trial

if TYPE_CHECKING:
    from pandas import DataFrame, Series

_SPEEDS = ("train_studies_per_second", "test_studies_per_second")


def runs(trials: Sequence[Trial]) -> DataFrame:
    """Return a row a trial; what is not known is None.

    Columns: sweep, trial, status, `override:KEY` for every override of any trial, memory, num_vectors, num_queried,
    num_threads, dim, seed, data, objective, val_loss, epochs, seconds, `score:NAME` of the test, `parameters:NAME`,
    speeds in studies per second, fingerprint and its parts, version, commit, started, reason, directory.
    """
    import pandas as pd

    columns = [
        ("", [{"sweep": trial.sweep, "trial": trial.directory.name, "status": trial.status} for trial in trials]),
        ("override:", [dict(_split(override) for override in trial.overrides) for trial in trials]),
        ("", [_values(trial) for trial in trials]),
        ("score:", [trial.scores for trial in trials]),
        ("parameters:", [{name: int(count) for name, count in trial.parameters.items()} for trial in trials]),
        ("", [{name: trial.speed.get(name) for name in _SPEEDS} for trial in trials]),
        ("", [{"fingerprint": trial.result.get("fingerprint") or trial.start.get("fingerprint")} for trial in trials]),
        ("part:", [{name: trial.parts.get(name) for name in ("config", "data", "code")} for trial in trials]),
        ("", [{name: trial.start.get(name) for name in ("version", "commit", "started")} for trial in trials]),
        ("", [{"reason": trial.reason or None, "directory": str(trial.directory)} for trial in trials]),
    ]
    return pd.concat([_frame(rows).add_prefix(prefix) for prefix, rows in columns], axis=1)


def curves(trials: Sequence[Trial]) -> DataFrame:
    """Return every logged value of every trial: sweep, trial, seed, epoch, step, metric, value."""
    rows = []
    for trial in trials:
        known: dict[str, Any] = {"sweep": trial.sweep, "trial": trial.directory.name, "seed": trial.seed}
        for line in trial.metrics:
            known |= {name: line.get(name) for name in ("epoch", "step")}
            rows += [{**known, "metric": name, "value": value} for name, value in line.items() if name not in known]
    return _frame(rows)


def write_csv(path: Path, frame: DataFrame) -> None:
    """Write a frame as CSV, whole or not at all."""
    write_whole(path, frame.to_csv(index=False, lineterminator="\n"))


def write_parquet(path: Path, frame: DataFrame) -> None:
    """Write a frame as Parquet, whole or not at all; a column of numbers and texts becomes one of texts.

    Raises:
        ValueError: without pyarrow.
    """
    load_optional("pyarrow", "--parquet", "results")
    with whole_file(path) as file:
        frame.apply(_one_type).to_parquet(file, index=False)


def _frame(rows: Sequence[dict[str, Any]]) -> DataFrame:
    """Return rows as a frame of Python objects, None for what a row lacks: integers stay integers beside gaps."""
    import pandas as pd

    columns = list(dict.fromkeys(name for row in rows for name in row))
    values = [[row.get(name) for name in columns] for row in rows]
    return pd.DataFrame(values, columns=columns, index=range(len(rows)), dtype=object)


def _one_type(column: Series) -> Series:
    """Return a column of one type: floats if it has integers, too, else texts."""
    kinds = {type(value) for value in column if value is not None}
    if len(kinds) < 2:
        return column
    return column.map(float if kinds <= {int, float} else str, na_action="ignore").astype(object)


def _split(override: str) -> tuple[str, str]:
    return override_key(override), override.partition("=")[2]


def _values(trial: Trial) -> dict[str, Any]:
    memory = trial.config.get("memory")
    options = memory if isinstance(memory, dict) else {}
    return {
        "memory": trial.choices.get("memory"),
        **{name: options.get(name) for name in ("num_vectors", "num_queried", "num_threads")},
        "dim": trial.config.get("dim"),
        "seed": trial.seed,
        "data": trial.choices.get("data"),
        **{name: trial.value.get(name) for name in ("objective", "val_loss", "epochs", "seconds")},
    }
