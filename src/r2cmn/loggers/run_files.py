"""What W&B is told from the files of a run folder, and the file that keeps the identity of its W&B run."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import IO, Any


class RunIdentity:
    """Id and number of rows of the W&B run of a run folder, in `wandb_run.json`.

    Args:
        folder: of the run.
        continued: whether the W&B run that was kept there goes on; otherwise a new one begins.
    """

    def __init__(self, folder: Path, continued: bool) -> None:
        self._file = folder / "wandb_run.json"
        kept = read_json(self._file) if continued else {}
        found, rows = kept.get("id"), kept.get("rows")
        self.id: str | None = found if isinstance(found, str) and found else None
        self._rows = rows if self.id and isinstance(rows, int) else 0
        self.starts_at: int | None = self._rows or None
        """The row at which a continued run begins, until it has begun; None for a new run."""

    def keep(self, id: str) -> None:
        """Write the id; one that is not the one kept begins at row 0."""
        if id != self.id:
            self.id, self._rows, self.starts_at = id, 0, None
        self._write()

    def count(self) -> None:
        """Count a row that was logged."""
        self._rows += 1
        self.starts_at = None
        self._write()

    def _write(self) -> None:
        temporary = self._file.with_suffix(".part")
        temporary.write_text(json.dumps({"id": self.id, "rows": self._rows}))
        temporary.replace(self._file)


def read_json(path: Path) -> dict[str, Any]:
    """Return what a JSON file of a run folder holds; nothing where it is absent or not whole."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def summary_of(result: dict[str, Any]) -> dict[str, float]:
    """Return the numbers of `result.json` that W&B does not know yet: best validation score, epochs, time, speeds."""
    speed = result.get("speed")
    flat = {key: result.get(key) for key in ("objective", "epochs", "seconds")}
    flat |= {f"speed/{key}": value for key, value in (speed if isinstance(speed, dict) else {}).items()}
    return {key: value for key, value in flat.items() if isinstance(value, int | float)}


def without_references(predictions: Path, out: IO[str]) -> None:
    """Copy the columns id and generated of `predictions.csv`: the other two are text of the data set."""
    with predictions.open(newline="") as file:
        rows = csv.writer(out)
        rows.writerow(["id", "generated"])
        rows.writerows([row["id"], row["generated"]] for row in csv.DictReader(file))
