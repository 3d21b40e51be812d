"""Arguments of a command that name data: `data=NAME data.KEY=VALUE ...`, or the data of a checkpoint's run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def split_arguments(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Separate files from overrides of the data.

    Raises:
        ValueError: if an override is not one of the data.
    """
    files = [each for each in arguments if "=" not in each or Path(each).is_file()]
    overrides = [each for each in arguments if each not in files]
    for override in overrides:
        if not override.lstrip("+").startswith(("data=", "data.")):
            raise ValueError(f"'{override}' is not an override of the data: give data=NAME and data.KEY=VALUE")
    return [Path(file) for file in files], overrides


def check_checkpoint(path: Path) -> Path:
    """Return the checkpoint or the folder of a shared model that a path names; of a run folder its best checkpoint.

    Raises:
        ValueError: if there is nothing at the path.
        CheckpointError: if a folder holds no model, or several checkpoints of which none was tested.
    """
    from r2cmn.runs.facts import find_model

    if not path.exists():
        raise ValueError(f"there is no checkpoint {path}")
    return find_model(path)


def read_data(
    overrides: Sequence[str], checkpoint: Path | None, example: str, allow: Sequence[str] | None = None
) -> Any:
    """Build the data module of the overrides, or that of the run of the checkpoint.

    The classes of the overrides are the user's own choice. Those of a run's `config.yaml` may be a stranger's: they
    must be of the allowed packages, as those of a checkpoint.

    Args:
        overrides: `data=NAME` and `data.KEY=VALUE`; without `data=NAME` they change the data of the run.
        checkpoint: a file in a run's `checkpoints` folder; a shared model and None have no run.
        example: a command line with data, for the error message.
        allow: packages whose classes the run's configuration may name.

    Raises:
        ConfigError: if no data are given, or an override does not fit them.
        NotAllowedError: if the run's configuration names a class outside the allowed packages; nothing of it has been
            imported then.
    """
    from r2cmn.build import allow_targets, build
    from r2cmn.config import ConfigError, compose, plain

    if any(override.startswith("data=") for override in overrides):
        description = plain(compose(list(overrides)).data)
        allow_targets(description["_target_"].rpartition(".")[0])
    elif checkpoint is not None and checkpoint.is_file() and (checkpoint.parent.parent / "config.yaml").is_file():
        description = plain(change_data(checkpoint.parent.parent / "config.yaml", overrides))
    else:
        raise ConfigError(f"say which data: {example}")
    allow_targets(*(allow or []))
    return build(description, "data")


def change_data(path: Path, overrides: Sequence[str]) -> Any:
    """Read the data of a run's configuration and apply the overrides.

    Raises:
        ConfigError: naming the file, if it has no data or an override does not fit them.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from r2cmn.config import ConfigError
    from r2cmn.files.words import first_line
    from r2cmn.files.yaml import read_yaml

    try:
        data = OmegaConf.create({"data": read_yaml(path)["data"]})
        OmegaConf.set_struct(data, True)
        return OmegaConf.merge(data, OmegaConf.from_dotlist(list(overrides))).data
    except (OmegaConfBaseException, AttributeError, LookupError, TypeError) as error:
        raise ConfigError(f"{path}: {first_line(error)}") from error


def use_model_of(data: Any, module: Any) -> None:
    """Set up a data module and let it read reports and images as a module does: its words, its images, its views."""
    data.setup()
    data.tokenizer, data.transform, data.num_views = module.tokenizer, module.transform, module.num_views
