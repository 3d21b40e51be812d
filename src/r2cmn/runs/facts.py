"""What the run of a checkpoint says about it: the scores of its test and the name of its data, for a model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from r2cmn.checkpoints import CheckpointError
from r2cmn.files import read_object
from r2cmn.files.words import name_some
from r2cmn.groups import choice_names, read_choices
from r2cmn.runs.folder import RunFolder
from r2cmn.sharing.card import Facts
from r2cmn.sharing.folder import is_shared


def find_model(path: Path) -> Path:
    """Return the best checkpoint of a run, its last one if none was the best; other paths are returned as they are.

    Raises:
        CheckpointError: if a folder is neither that of a run with a checkpoint nor that of a shared model, or several
            epochs of the run were kept and none was tested.
    """
    if not path.is_dir() or is_shared(path):
        return path
    run = RunFolder(path)
    best, last = run.best_checkpoint(), run.checkpoints / "last.ckpt"
    if best is None and (several := sorted(file.name for file in run.checkpoints.glob("best-*.ckpt"))):
        raise CheckpointError(f"{path} holds {name_some(several)}, and no test says which is the best: name the file")
    if best is None and not last.is_file():
        raise CheckpointError(f"{path} holds neither checkpoints of a run nor a shared model")
    return best or last


def read_facts(checkpoint: Path, data: str | None = None) -> tuple[Facts, list[str]]:
    """Return what the run folder around a checkpoint says about it, and what it does not.

    Args:
        checkpoint: a file in the folder `checkpoints` of a run; another file has no run.
        data: the data set; None for the choice of the run.

    Returns:
        The facts, and sentences about what is missing.
    """
    run = RunFolder(checkpoint.resolve().parent.parent)
    notes = []
    scores = read_object(run.scores_json) if checkpoint.resolve().parent == run.checkpoints else None
    if scores is None:
        notes.append(f"{checkpoint.name} is in no run with a test: the card has no scores")
    elif not str(scores.get("title")).endswith(f" {checkpoint.name}"):
        notes.append(f"the test of the run is not of {checkpoint.name}: the card has no scores")
        scores = None
    data = data or _name_data(run)
    if data is None:
        notes.append("the data set is not known: --data names it")
    return Facts(data, checkpoint.name, scores), notes


def _name_data(run: RunFolder) -> str | None:
    """Return the choice of `data` that a run was composed from."""
    choices = read_choices(run.path)
    if "data" in choices:
        return choices["data"]
    described: Any = run.read_config().get("data")
    target = described.get("_target_") if isinstance(described, dict) else None
    return None if target is None else choice_names().get(target)
