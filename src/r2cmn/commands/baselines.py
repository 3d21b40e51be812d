"""`r2cmn baselines`: scores of baselines on a data set, and of a model beside them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from r2cmn.files.limits import MAX_NUMBER


def baselines(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="A checkpoint (optional) and the data: data=NAME data.KEY=VALUE ..."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for NAME.csv of each baseline and scores.json.")] = Path(
        "baselines"
    ),
    draws: Annotated[
        int, typer.Option(min=1, max=MAX_NUMBER, help="Draws of the random baselines; their scores are means.")
    ] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, or auto.")] = "auto",
    meteor: Annotated[bool, typer.Option(help="Compute METEOR, too; starts Java for each draw, for seconds.")] = False,
) -> None:
    """Score reports that ignore the image, the nearest training study, and a model on the images of other patients.

    r2cmn baselines data=iu_xray data.dir=PATH         reports and pixels alone
    r2cmn baselines RUN/checkpoints/last.ckpt          a model, on its run's data
    r2cmn baselines best.ckpt data=iu_xray data.dir=PATH --meteor --out FOLDER
    """
    from r2cmn.evaluation.baselines import Baselines, Scores, notes, print_table
    from r2cmn.files import check_writable, write_json

    checkpoint, overrides = _sort(arguments or [])
    module = _load(checkpoint, device)
    data = _data(checkpoint, overrides)
    data.setup()
    if module is not None:
        data.tokenizer, data.transform, data.num_views = module.tokenizer, module.transform, module.num_views
    check_writable(out / "scores.json")
    found = Baselines(data, num_draws=draws, seed=seed)
    found.add_texts()
    choice: Any = "auto" if meteor else False
    columns: dict[str, Scores] = {}
    if module is None:
        found.add_nearest()
    else:
        columns["model"] = found.score(found.add_model(module), choice)
    columns |= found.scores(choice)
    sentences = notes(columns["model"], columns) if module is not None else []
    print_table(columns, f"test, {len(found.references)} reports", found.captions(sentences))
    license_class = "dua" if "dua" in (data.license_class, getattr(module, "license_class", "")) else data.license_class
    found.write(out, license_class)
    for sentence in sentences:
        print(f"r2cmn: note: {sentence}", file=sys.stderr)
    summary = found.summary(columns, sentences)
    write_json(out / "scores.json", {"reports": len(found.references), "reference": "reference", **summary})
    print(out)


def _sort(arguments: list[str]) -> tuple[Path | None, list[str]]:
    """Separate the checkpoint from the overrides."""
    files = [each for each in arguments if "=" not in each or Path(each).is_file()]
    overrides = [each for each in arguments if each not in files]
    if len(files) > 1:
        raise ValueError(f"one checkpoint at most, not {len(files)}: {', '.join(files)}")
    if files and not Path(files[0]).is_file():
        raise ValueError(f"there is no checkpoint {files[0]}")
    for override in overrides:
        if not override.lstrip("+").startswith(("data=", "data.")):
            raise ValueError(f"'{override}' is not an override of the data: give data=NAME and data.KEY=VALUE")
    return (Path(files[0]) if files else None), overrides


def _load(checkpoint: Path | None, device: str) -> Any:
    if checkpoint is None:
        return None
    from r2cmn.inference import load_module

    return load_module(checkpoint, device)


def _data(checkpoint: Path | None, overrides: list[str]) -> Any:
    """Build the data module of the overrides, or that of the run of the checkpoint."""
    from r2cmn.build import allow_targets, build
    from r2cmn.config import ConfigError, compose, plain

    if any(override.startswith("data=") for override in overrides):
        description = plain(compose(overrides).data)
    elif checkpoint is not None and (checkpoint.parent.parent / "config.yaml").is_file():
        description = plain(_changed(checkpoint.parent.parent / "config.yaml", overrides))
    else:
        raise ConfigError("say which data: r2cmn baselines data=iu_xray data.dir=PATH")
    allow_targets(description["_target_"].rpartition(".")[0])
    return build(description, "data")


def _changed(path: Path, overrides: list[str]) -> Any:
    """Read the data of a run's configuration and apply the overrides."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from r2cmn.config import ConfigError
    from r2cmn.files.words import first_line
    from r2cmn.files.yaml import read_yaml

    try:
        data = OmegaConf.create({"data": read_yaml(path)["data"]})
        OmegaConf.set_struct(data, True)
        return OmegaConf.merge(data, OmegaConf.from_dotlist(overrides)).data
    except (OmegaConfBaseException, AttributeError, LookupError, TypeError) as error:
        raise ConfigError(f"{path}: {first_line(error)}") from error
