"""What is kept of a W&B run: its id and number of rows in the run folder, its summary, and predictions without text."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import IO, Any

from r2cmn.files import read_object, write_json


class RunIdentity:
    """Id and number of rows of the W&B run of a run folder, stored in `wandb_run.json`.

    Args:
        folder: the run folder.
        continued: whether to continue the stored W&B run; otherwise a new one starts.
    """

    def __init__(self, folder: Path, continued: bool) -> None:
        self._file = folder / "wandb_run.json"
        kept = (read_object(self._file) or {}) if continued else {}
        found, rows = kept.get("id"), kept.get("rows")
        self.id: str | None = found if isinstance(found, str) and found else None
        self._rows = rows if self.id and isinstance(rows, int) else 0
        self.starts_at: int | None = self._rows or None
        """First row of a continued run, until that row is logged; None for a new run."""

    def keep(self, id: str) -> None:
        """Store the id; a new id starts at row 0."""
        if id != self.id:
            self.id, self._rows, self.starts_at = id, 0, None
        self._write()

    def count(self) -> None:
        """Count a logged row."""
        self._rows += 1
        self.starts_at = None
        self._write()

    def _write(self) -> None:
        write_json(self._file, {"id": self.id, "rows": self._rows})


def summary_of(result: dict[str, Any]) -> dict[str, float]:
    """Return best validation score, epochs, time and speeds from `result.json`."""
    speed = result.get("speed")
    flat = {key: result.get(key) for key in ("objective", "epochs", "seconds")}
    flat |= {f"speed/{key}": value for key, value in (speed if isinstance(speed, dict) else {}).items()}
    return {key: value for key, value in flat.items() if isinstance(value, int | float)}


def without_references(predictions: Path, out: IO[str]) -> None:
    """Copy the columns id and generated of `predictions.csv`; the others hold text of the data set."""
    with predictions.open(encoding="utf-8", newline="") as file:
        rows = csv.writer(out)
        rows.writerow(["id", "generated"])
        rows.writerows([row["id"], row["generated"]] for row in csv.DictReader(file))
