"""`r2cmn baselines`: what a report generator has to beat on a data set."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer


def baselines(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="A checkpoint of r2cmn, if any, and the data: data=NAME data.KEY=VALUE ..."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder for NAME.csv of each baseline and scores.json.")] = Path(
        "baselines"
    ),
    draws: Annotated[int, typer.Option(min=1, help="How often what is random is drawn; scores are means.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of what is random.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, or auto.")] = "auto",
    meteor: Annotated[bool, typer.Option(help="Compute METEOR, too: Java starts once a draw, seconds each.")] = False,
) -> None:
    """Score what looks at no image, the nearest training study, and a model on the images of other patients.

    r2cmn baselines data=iu_xray data.dir=PATH         reports and pixels alone
    r2cmn baselines RUN/checkpoints/last.ckpt          a model, on its run's data
    r2cmn baselines best.ckpt data=iu_xray data.dir=PATH --meteor --out FOLDER
    """
    from r2cmn.evaluation.baselines import Baselines, captions, notes, print_table
    from r2cmn.metrics.nlg import nlg_scores
    from r2cmn.metrics.report import degeneracy

    checkpoint, overrides = _sort(arguments or [])
    module = _load(checkpoint, device)
    data = _data(checkpoint, overrides)
    data.setup()
    if module is not None:
        data.tokenizer, data.transform, data.num_views = module.tokenizer, module.transform, module.num_views
    found = Baselines(data, num_draws=draws, seed=seed)
    found.add_texts()
    choice: Any = "auto" if meteor else False
    columns = {}
    if module is None:
        found.add_nearest()
    else:
        written = _add_model(found, module)
        columns["model"] = nlg_scores(written, found.references, choice) | degeneracy(written)
    columns |= found.scores(choice)
    said = notes(columns["model"], columns) if "model" in columns else []
    print_table(columns, f"test, {len(found.references)} reports", captions(found, said))
    license_class = "dua" if "dua" in (data.license_class, getattr(module, "license_class", "")) else data.license_class
    found.write(out, license_class)
    _write_scores(out / "scores.json", columns, found, said)
    print(out)


def _sort(arguments: list[str]) -> tuple[Path | None, list[str]]:
    """Tell the checkpoint from the overrides."""
    files = [each for each in arguments if "=" not in each or Path(each).is_file()]
    overrides = [each for each in arguments if each not in files]
    if len(files) > 1:
        raise ValueError(f"one checkpoint at most, not {len(files)}: {', '.join(files)}")
    if files and not Path(files[0]).is_file():
        raise ValueError(f"there is no checkpoint {files[0]}")
    for override in overrides:
        if not override.lstrip("+").startswith(("data=", "data.")):
            raise ValueError(f"'{override}' does not concern the data: give data=NAME and data.KEY=VALUE")
    return (Path(files[0]) if files else None), overrides


def _load(checkpoint: Path | None, device: str) -> Any:
    if checkpoint is None:
        return None
    from r2cmn.inference import load_module

    return load_module(checkpoint, device)


def _data(checkpoint: Path | None, overrides: list[str]) -> Any:
    """Build the data module that the overrides name, or that of the run which wrote the checkpoint."""
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
    """Read the data of a run's configuration and change the values that the overrides name."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from r2cmn.config import ConfigError

    try:
        data = OmegaConf.create({"data": OmegaConf.load(path).data})
        OmegaConf.set_struct(data, True)
        return OmegaConf.merge(data, OmegaConf.from_dotlist(overrides)).data
    except (OmegaConfBaseException, AttributeError) as error:
        raise ConfigError(f"{path}: {str(error).splitlines()[0]}") from error


def _add_model(found: Any, module: Any) -> list[str]:
    """Write the test reports, add what needs a model, and return them."""
    from r2cmn.evaluation import baseline_images

    images = baseline_images.batches(found.data, found.studies, "reports")
    generated = [report for batch in images for report in module.generate(batch)]
    found.add_nearest(baseline_images.patches(module, module.device))
    found.add_shuffled(generated)
    return generated


def _write_scores(path: Path, columns: dict[str, Any], found: Any, said: list[str]) -> None:
    for note in said:
        print(f"r2cmn: note: {note}", file=sys.stderr)
    content = {
        "reports": len(found.references),
        "reference": "reference",
        "scores": {name: {k: v for k, v in each.items() if v == v} for name, each in columns.items()},
        "repeated": found.repeated,
        "num_draws": found.num_draws,
        "notes": said,
    }
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(content, indent=2))
    temporary.replace(path)
