"""The command `r2cmn`: its subcommands, and `train`, which is a Hydra application."""

from __future__ import annotations

import codecs
import io
import logging
import os
import re
import shlex
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import typer

from r2cmn.commands.audit import audit
from r2cmn.commands.baselines import baselines
from r2cmn.commands.checkpoints import export_checkpoint, import_checkpoint
from r2cmn.commands.dashboard import dashboard
from r2cmn.commands.evaluate import evaluate
from r2cmn.commands.explain import explain
from r2cmn.commands.generate import generate
from r2cmn.commands.ground import ground
from r2cmn.commands.models import models
from r2cmn.commands.prepare import app as prepare
from r2cmn.commands.results import results
from r2cmn.files import os_reason, settle_home
from r2cmn.files.words import first_line

_EMPTY = re.compile(
    r"""\s*|--[\w-]+=|\+*[\w.@/]*(dir|path|pretrained|checkpoint|storage)=\s*(''|"")?\s*"""
    r"""|\+*(run_dir|hydra\.(run|sweep)\.dir)=null"""
)

app = typer.Typer(
    help="Train, compare and use chest X-ray report generators built on cross-modal memory networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(prepare, name="prepare")
for command in (audit, generate, explain, evaluate, baselines, ground, results, import_checkpoint, export_checkpoint):
    app.command(no_args_is_help=True)(command)
app.command()(dashboard)
app.command()(models)


def main() -> None:
    """Run the command line; bad input ends with one sentence on stderr and a non-zero exit code."""
    settle_home()
    codecs.register_error("r2cmn", _unwritable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="r2cmn")
    try:
        _check_arguments(sys.argv[1:])
        app()
    except (ValueError, OSError) as error:
        fail(error)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


def _check_arguments(arguments: list[str]) -> None:
    """Reject empty arguments: an empty path is the current folder, and nobody asks for it in this way."""
    for argument in arguments:
        if _EMPTY.fullmatch(argument):
            raise ValueError(f"the argument '{argument}' has no value: is a variable of the shell unset?")


def _unwritable(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write a letter that the locale lacks as an escape instead of ending the command; bytes of a path as they are."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.backslashreplace_errors(error)


def fail(error: Exception) -> None:
    """Print an error in one sentence and exit with code 1."""
    reason = os_reason(error) if isinstance(error, OSError) else str(error).strip() or first_line(error)
    print(f"r2cmn: error: {reason}", file=sys.stderr)
    sys.exit(1)


@app.command()
def doctor() -> None:
    """Show installed packages, devices and data folders, and how to get what is missing.

    r2cmn doctor
    """
    from r2cmn.commands.doctor import print_findings

    print_findings()


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    help="Train a model, then test it (a Hydra application; -m sweeps). Examples: r2cmn train --help",
)
def train(context: typer.Context) -> None:
    """Pass the arguments to Hydra."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from r2cmn.config import composition_error, conf_dir

    given = sys.argv
    sys.argv = [given[0], *_hydra_arguments(context.args)]

    @hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")
    def task(config: Any) -> float | None:
        sys.argv = given  # Lightning starts the other ranks of DDP by repeating the command line
        return _train(config)

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises errors as they are instead of printing them
    try:
        task()
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        fail(composition_error(error))


def _hydra_arguments(arguments: list[str]) -> list[str]:
    """Return the arguments with all overrides before the options, and the folder of the sweep that is to be resumed.

    Hydra takes one block of overrides, but Lightning appends those of a rank at the end.

    Raises:
        ValueError: if the first trial of a sweep cannot be composed; Hydra would create the sweep's folder first.
    """
    from hydra._internal.utils import get_args_parser

    from r2cmn.sweeps.settings import find_sweep

    parsed = get_args_parser().parse_known_intermixed_args(arguments)[0]
    left, options = list(parsed.overrides), []
    for argument in arguments:
        if argument in left:
            left.remove(argument)
        else:
            options.append(argument)
    if not (parsed.help or parsed.hydra_help or parsed.shell_completion):
        if parsed.multirun:
            _check_first_trial(parsed)
        folder = find_sweep(parsed.overrides, parsed.multirun)
        options += [folder] if folder is not None else []
    return [*parsed.overrides, *options]


def _check_first_trial(parsed: Any) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    from r2cmn.config import compose, composition_error

    try:
        first = [(o, _first_value(o)) for o in OverridesParser.create().parse_overrides(parsed.overrides)]
    except HydraException as error:
        raise composition_error(error) from error
    overrides = [f"{o.get_key_element()}={v}" if v is not None else str(o.input_line) for o, v in first]
    compose(overrides, config_dir=parsed.config_dir, config_name=parsed.config_name or "config")


def _first_value(override: Any) -> str | None:
    """Return the first value of a sweep, or the start of an interval; None if the override is not a sweep."""
    if not override.is_sweep_override():
        return None
    return str(override.value().start) if override.is_interval_sweep() else next(iter(override.sweep_string_iterator()))


def _quiet() -> None:
    """Silence warnings of other libraries that a user cannot act on."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message=r".*LeafSpec.*")
    warnings.filterwarnings("ignore", message=r".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=r".*does not have many workers.*")
    # scores are computed over all processes, and a study that a sampler repeats counts once
    warnings.filterwarnings("ignore", message=r".*sync_dist=True.*")
    warnings.filterwarnings("ignore", message=r".*Using `DistributedSampler` with the dataloaders.*")
    # if SLURM is installed: running without it is intended, and under submitit SLURM started the run
    warnings.filterwarnings("ignore", message=r".*The `srun` command is available.*")
    warnings.filterwarnings("ignore", message=r".*Checkpoint directory .* exists and is not empty.*")
    logging.raiseExceptions = False  # if the disk is full, its error ends the run, not a traceback a log line
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


def _train(config: Any) -> float | None:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from r2cmn.config import write_override
    from r2cmn.runs.folder import RunFolder, own_overrides
    from r2cmn.runs.privacy import private_folder
    from r2cmn.runs.training import InterruptedRunError, train
    from r2cmn.runs.trial import record_failure

    log = logging.getLogger("r2cmn")
    folder = Path(HydraConfig.get().runtime.output_dir)
    if HydraConfig.get().mode == RunMode.MULTIRUN:  # the launcher `pool` sets it itself
        os.environ.setdefault("R2CMN_SWEEP", Path(HydraConfig.get().sweep.dir).resolve().name)
    _quiet()
    try:
        with private_folder(folder, config):
            result = train(config)
    except InterruptedRunError:
        given = own_overrides(HydraConfig.get().overrides.task)
        kept = [o for o in given if not o.startswith(("run_dir=", "checkpoint="))]
        again = shlex.join([*kept, write_override("run_dir", str(folder)), "checkpoint=last"])
        log.warning("stopped; to resume: r2cmn train %s", again)
        sys.exit(130)
    except (ValueError, OSError) as error:
        _keep_traceback(RunFolder(folder).error_txt)
        log.error("%s", os_reason(error) if isinstance(error, OSError) else str(error).strip() or first_line(error))
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            record_failure(folder, error)
            raise  # a launcher that runs trials in this process continues with the next
        sys.exit(1)
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(folder)
    objective = result["objective"]
    return objective if objective is not None else result["scores"].get("BLEU_4")


def _keep_traceback(file: Path) -> None:
    try:
        file.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError:
        return  # a full disk may be the error itself
