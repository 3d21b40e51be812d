"""The command `r2cmn`."""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from r2cmn.commands.audit import audit
from r2cmn.commands.baselines import baselines
from r2cmn.commands.checkpoints import export_checkpoint, import_checkpoint
from r2cmn.commands.dashboard import dashboard
from r2cmn.commands.evaluate import evaluate
from r2cmn.commands.prepare import app as prepare
from r2cmn.commands.results import results

app = typer.Typer(
    help="Train, compare and use chest X-ray report generators built on cross-modal memory networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(prepare, name="prepare")
app.command(no_args_is_help=True)(audit)


def main() -> None:
    """Run the command line; a wrong input is one sentence on stderr and a non-zero exit."""
    try:
        app()
    except (ValueError, OSError) as error:
        fail(error)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


def fail(error: Exception) -> None:
    """Say what is wrong in one sentence and leave."""
    reason = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.filename else str(error)
    print(f"r2cmn: error: {reason}", file=sys.stderr)
    sys.exit(1)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    help="Train a model, then test it (a Hydra application; -m sweeps). Examples: r2cmn train --help",
)
def train(context: typer.Context) -> None:
    """Hand the arguments to Hydra."""
    import hydra
    from hydra.errors import HydraException

    from r2cmn.config import compose, conf_dir

    arguments = _in_one_block(context.args)
    _check_arguments(arguments, compose)
    given = sys.argv
    sys.argv = [given[0], *arguments]

    @hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")
    def task(config: Any) -> float | None:
        sys.argv = given  # Lightning starts the other ranks of DDP by repeating the command line
        return _train(config)

    os.environ["HYDRA_FULL_ERROR"] = "1"  # an error comes here as it is, without Hydra's advice around it
    try:
        task()
    except HydraException as error:
        fail(error)


def _in_one_block(arguments: list[str]) -> list[str]:
    """Put the overrides before the options: Hydra takes one block, and Lightning appends those of a rank at the end."""
    from hydra._internal.utils import get_args_parser

    overrides = get_args_parser().parse_known_intermixed_args(arguments)[0].overrides
    left, options = list(overrides), []
    for argument in arguments:
        if argument in left:
            left.remove(argument)
        else:
            options.append(argument)
    return [*overrides, *options]


def _check_arguments(arguments: list[str], compose: Any) -> None:
    """Compose once before Hydra does, for an error of one sentence; of a sweep, its first trial.

    The folder that `sweep.resume=true` means is added where none is named.
    """
    from hydra._internal.utils import get_args_parser
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    from r2cmn.sweeps.newest import name_sweep

    parsed = get_args_parser().parse_args(arguments)
    if parsed.help or parsed.hydra_help or parsed.shell_completion:
        return
    overrides = list(parsed.overrides)
    if parsed.multirun:
        try:
            first = [(o, _first_value(o)) for o in OverridesParser.create().parse_overrides(overrides)]
        except HydraException as error:
            raise ValueError(str(error).splitlines()[0]) from error
        overrides = [f"{o.get_key_element()}={v}" if v is not None else str(o.input_line) for o, v in first]
    compose(overrides, config_dir=parsed.config_dir, config_name=parsed.config_name or "config")
    folder = name_sweep(parsed.overrides, parsed.multirun)
    if folder is not None:
        arguments.insert(0, folder)


def _first_value(override: Any) -> str | None:
    """Return the first value of a sweep, of an interval of a search its start; None for what is no sweep."""
    if not override.is_sweep_override():
        return None
    return str(override.value().start) if override.is_interval_sweep() else next(iter(override.sweep_string_iterator()))


def _quiet() -> None:
    """Keep other libraries' remarks on their own insides out of the user's sight."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message=r".*LeafSpec.*")
    warnings.filterwarnings("ignore", message=r".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=r".*does not have many workers.*")
    # scores are of all processes already, and a study that a sampler repeats counts once
    warnings.filterwarnings("ignore", message=r".*sync_dist=True.*")
    warnings.filterwarnings("ignore", message=r".*Using `DistributedSampler` with the dataloaders.*")
    # where SLURM is installed: a run without it is meant, and under submitit SLURM has started it
    warnings.filterwarnings("ignore", message=r".*The `srun` command is available.*")
    warnings.filterwarnings("ignore", message=r".*Checkpoint directory .* exists and is not empty.*")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


def _train(config: Any) -> float | None:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from r2cmn.runs.folder import own_overrides
    from r2cmn.runs.training import InterruptedRunError, train
    from r2cmn.runs.trial import record_failure

    log = logging.getLogger("r2cmn")
    folder = Path(HydraConfig.get().runtime.output_dir)
    if HydraConfig.get().mode == RunMode.MULTIRUN:  # the launcher pool says so itself
        os.environ.setdefault("R2CMN_SWEEP", Path(HydraConfig.get().sweep.dir).resolve().name)
    _quiet()
    try:
        result = train(config)
    except InterruptedRunError:
        given = own_overrides(HydraConfig.get().overrides.task)
        kept = " ".join(o for o in given if not o.startswith(("run_dir=", "checkpoint=")))
        log.warning("stopped; to go on: r2cmn train %s run_dir=%s checkpoint=last", kept, folder)
        sys.exit(130)
    except (ValueError, OSError) as error:
        _keep_traceback(folder)
        log.error("%s", str(error).strip())
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            record_failure(folder, error)
            raise  # a launcher that runs trials in this process goes on with the next
        sys.exit(1)
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(folder)
    objective = result["objective"]
    return objective if objective is not None else result["scores"].get("BLEU_4")


def _keep_traceback(folder: Path) -> None:
    try:
        (folder / "error.txt").write_text(traceback.format_exc())
    except OSError:
        return  # the disk that is full is the error itself


@app.command(no_args_is_help=True)
def generate(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint of r2cmn.")],
    images: Annotated[
        list[Path], typer.Argument(help="The views of one study (PNG, JPEG, DICOM), or one folder or CSV of studies.")
    ],
    out: Annotated[Path, typer.Option(help="Where the reports of a folder or CSV go.")] = Path("reports.csv"),
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, or auto.")] = "auto",
    allow: Annotated[
        list[str] | None, typer.Option(help="A package of your own whose classes the checkpoint may name.")
    ] = None,
) -> None:
    """Write the report of one study, or of a folder or CSV of studies.

    r2cmn generate best.ckpt frontal.png lateral.png
    r2cmn generate best.ckpt studies/ --out reports.csv       a subfolder a study (or a file a study)
    r2cmn generate best.ckpt studies.csv --out reports.csv    columns id, images (files joined by ;)
    """
    from r2cmn.inference import find_studies, load_module, write_reports

    module = load_module(checkpoint, device, allow or [])
    if len(images) == 1 and (images[0].is_dir() or images[0].suffix.lower() == ".csv"):
        studies = find_studies(images[0])
        write_reports(module, studies, out, batch_size)
        print(out)
        return
    if len(images) != module.num_views:
        print(
            f"r2cmn: note: the model was trained on {module.num_views} view(s), this study has {len(images)}",
            file=sys.stderr,
        )
    print(module.generate([images])[0])


app.command(no_args_is_help=True)(evaluate)
app.command(no_args_is_help=True)(baselines)
app.command()(dashboard)
app.command(no_args_is_help=True)(results)


@app.command()
def doctor() -> None:
    """Say what is installed, which devices and data there are, what is missing and how to get it.

    r2cmn doctor
    """
    from r2cmn.commands.doctor import print_findings

    print_findings()


app.command(no_args_is_help=True)(import_checkpoint)
app.command(no_args_is_help=True)(export_checkpoint)
