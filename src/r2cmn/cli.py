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
from typing import Annotated, Any

import typer

from r2cmn import __version__
from r2cmn.commands.audit import audit
from r2cmn.commands.baselines import baselines
from r2cmn.commands.checkpoints import export_checkpoint, import_checkpoint
from r2cmn.commands.configs import complete_overrides, configs
from r2cmn.commands.dashboard import dashboard
from r2cmn.commands.evaluate import evaluate
from r2cmn.commands.explain import explain
from r2cmn.commands.generate import generate
from r2cmn.commands.ground import ground
from r2cmn.commands.models import models
from r2cmn.commands.prepare import app as prepare
from r2cmn.commands.results import results
from r2cmn.commands.share import export, push, save_pretrained
from r2cmn.files import os_reason, settle_home
from r2cmn.files.words import first_line

_EMPTY = re.compile(
    r"""\s*|--[\w-]+=|\+*[\w.@/]*(dir|path|pretrained|checkpoint|storage)=\s*(''|"")?\s*"""
    r"""|\+*(run_dir|hydra\.(run|sweep)\.dir)=null"""
)

app = typer.Typer(
    help="Train, compare and use chest X-ray report generators built on cross-modal memory networks. With --here, "
    "descriptions may name classes of Python files in the current folder.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(prepare, name="prepare")
for command in (
    audit, generate, explain, evaluate, baselines, ground, results, save_pretrained, push, export, import_checkpoint,
    export_checkpoint,
):  # fmt: skip
    app.command(no_args_is_help=True)(command)
app.command()(configs)
app.command()(dashboard)
app.command()(models)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        print(f"r2cmn {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Options of `r2cmn` itself."""


def main() -> None:
    """Run the command line; bad input ends with one sentence on stderr and a non-zero exit code."""
    settle_home()
    codecs.register_error("r2cmn", _unwritable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="r2cmn")
    _import_from_here(sys.argv)
    try:
        _check_arguments(sys.argv[1:])
        app()
    except (ValueError, OSError) as error:
        fail(error)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


def _import_from_here(arguments: list[str]) -> None:
    """If `--here` is given, remove it and make the current folder importable, also in the processes of trials."""
    if "--here" in arguments:
        arguments.remove("--here")
        here = str(Path.cwd())
        sys.path.insert(0, here)
        os.environ["PYTHONPATH"] = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])


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
def train(
    arguments: Annotated[list[str] | None, typer.Argument(autocompletion=complete_overrides)] = None,
) -> None:
    """Pass the arguments to Hydra."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from r2cmn.config import conf_dir
    from r2cmn.overrides import composition_error
    from r2cmn.sweeps.arguments import complete

    given = sys.argv
    completed, notes = complete(arguments or [])
    for note in notes:
        print(f"r2cmn: note: {note}", file=sys.stderr)
    sys.argv = [given[0], *completed]

    @hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")
    def task(config: Any) -> float | None:
        sys.argv = given  # Lightning starts the other ranks of DDP by repeating the command line
        return _train(config)

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises errors as they are instead of printing them
    try:
        task()
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        fail(composition_error(error))


def _quiet(config: Any) -> None:
    """Silence warnings of other libraries that a user cannot act on."""
    backbone = config.get("backbone") or {}
    if backbone.get("frozen"):  # a frozen trunk is in evaluation mode on purpose
        warnings.filterwarnings("ignore", message=r".*Found \d+ module\(s\) in eval mode at the start of training.*")
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

    from r2cmn.overrides import write_override
    from r2cmn.runs.folder import RunFolder, own_overrides
    from r2cmn.runs.privacy import private_folder
    from r2cmn.runs.training import InterruptedRunError, train
    from r2cmn.runs.trial import record_failure

    log = logging.getLogger("r2cmn")
    folder = Path(HydraConfig.get().runtime.output_dir)
    if HydraConfig.get().mode == RunMode.MULTIRUN:  # the launcher `pool` sets it itself
        os.environ.setdefault("R2CMN_SWEEP", Path(HydraConfig.get().sweep.dir).resolve().name)
    _quiet(config)
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
