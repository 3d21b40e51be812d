"""A folder to work in, and calls of the command line from it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("R2CMN_SHARED", ROOT.parent / "shared")).resolve()

Section = dict[str, dict[str, Any]]
"""What a section records: `structure` and `values`."""


class CallError(RuntimeError):
    """A command ended with another exit status than expected."""


class Session:
    """Runs `python -m r2cmn` in a folder of its own.

    Args:
        folder: where commands run and write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        inherited = {k: v for k, v in os.environ.items() if k not in ("R2CMN_SWEEP", "HYDRA_FULL_ERROR", "R2CMN_DATA")}
        paths = [str(Path(path).resolve()) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        self.environment = inherited | {
            "PYTHONPATH": os.pathsep.join(paths),
            "R2CMN_CACHE": str(self.folder / "cache"),
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "WANDB_MODE": "offline",
            "COLUMNS": "160",
        }

    def command(self, *arguments: object) -> list[str]:
        """Return the command line of a call."""
        return [sys.executable, "-m", "r2cmn", *map(str, arguments)]

    def start(self, *arguments: object) -> subprocess.Popen[bytes]:
        """Start a command in a process group of its own; its output goes to `logs/`."""
        (self.folder / "logs").mkdir(exist_ok=True)
        number = len(list((self.folder / "logs").iterdir()))
        with (self.folder / "logs" / f"{number:02d}.txt").open("wb") as log:
            return subprocess.Popen(
                self.command(*arguments), cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip

    def call(self, *arguments: object, code: int = 0) -> str:
        """Run a command to its end.

        Returns:
            its stdout.

        Raises:
            CallError: with the end of its output, if its exit status is not `code`.
        """
        done = subprocess.run(
            self.command(*arguments), cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != code:
            end = (done.stdout + done.stderr)[-3000:]
            raise CallError(f"exit status {done.returncode} of r2cmn {' '.join(map(str, arguments))}\n{end}")
        return done.stdout

    def once(self, name: str, make: Callable[[Path], None]) -> Path:
        """Return the folder `name`; `make` fills it unless an earlier section has done so."""
        place = self.folder / name
        if not place.exists():
            make(place)
        return place

    def plain(self, text: str) -> str:
        """Replace the absolute path of the folder."""
        return text.replace(str(self.folder), "WORK")

    def without_paths(self, content: Any) -> Any:
        """Replace the absolute path of the folder in all texts of nested values."""
        if isinstance(content, dict):
            return {key: self.without_paths(value) for key, value in content.items()}
        if isinstance(content, list):
            return [self.without_paths(value) for value in content]
        return self.plain(content) if isinstance(content, str) else content
