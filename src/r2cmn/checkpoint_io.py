"""Checkpoints on disk: written whole or not at all, and opened as data, never as code."""

from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO


class CheckpointError(ValueError):
    """A file is not a checkpoint of r2cmn."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its target, flushes it to the disk and renames it into place.

    Lightning writes to the temporary folder and moves; where that is another file system the move is a copy, and a
    run killed within it leaves a torn `last.ckpt` from which nothing resumes.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`; on failure nothing is left at `path` that was not there before.

        Raises:
            OSError: where the disk is full or the folder cannot be written.
        """
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(target)
        except RuntimeError as error:
            # torch's zip writer turns a full disk into "PytorchStreamWriter failed writing file"
            raise OSError(f"the checkpoint {target} could not be written: {error}") from error
        finally:
            Path(temporary).unlink(missing_ok=True)


def newest_intact(folder: Path) -> Path | None:
    """Return the newest checkpoint in a folder that is a whole file, or None."""
    files = sorted(folder.glob("*.ckpt"), key=lambda path: path.stat().st_mtime, reverse=True)
    return next((path for path in files if zipfile.is_zipfile(path)), None)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of r2cmn with torch's safe loader.

    Raises:
        CheckpointError: where the file is missing, empty, torn, holds code, or comes from another program.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}")
    if not zipfile.is_zipfile(path):
        what = "is empty" if path.stat().st_size == 0 else "is not a whole torch file: it is torn or of another kind"
        raise CheckpointError(f"{path} {what}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path} holds more than plain data and is not opened: {str(error).splitlines()[0]}"
        ) from None
    if isinstance(content, dict) and "monitor_best" in content and "state_dict" in content:
        raise CheckpointError(
            f"{path} is a checkpoint of the released R2Gen family's trainer, not one of r2cmn: "
            "see r2cmn import-checkpoint"
        )
    if not isinstance(content, dict) or "model" not in content.get("hyper_parameters", {}):
        raise CheckpointError(f"{path} is a torch file, but not a checkpoint of r2cmn's CMNModule")
    return content


def find_checkpoint(choice: str | None, folder: Path) -> Path | None:
    """Return the file that `checkpoint=` names; `last` is the newest intact one of the run folder.

    Raises:
        CheckpointError: where there is none.
    """
    if choice is None:
        return None
    if choice == "last":
        found = newest_intact(folder / "checkpoints")
        if found is None:
            raise CheckpointError(
                f"checkpoint=last: there is no intact checkpoint in {folder / 'checkpoints'}; "
                "name the run to go on with: run_dir=RUN checkpoint=last"
            )
        return found
    path = Path(choice).expanduser()
    if not path.is_file():
        raise CheckpointError(f"checkpoint={choice}: there is no such file")
    return path
