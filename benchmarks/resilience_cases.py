"""What the resilience campaign does to a run: small trainings in forked processes, kills, full disks, damaged files."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import resource
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Case = dict[str, Any]
Ending = dict[str, Any]

ROOT = Path(__file__).resolve().parents[1]
TRAINING = [
    "data.num_studies=20", "data.side=64", "data.images={resize: 40, size: 32}", "data.text={max_length: 16}",
    "data.batch_size=4", "dim=16", "memory.num_vectors=8", "memory.num_queried=2", "memory.num_threads=2",
    "num_layers=1", "num_heads=2", "metrics.meteor=false", "generation=greedy", "baselines=false",
    "trainer.accelerator=cpu", "trainer.max_epochs=3", "trainer.check_val_every_n_epoch=1",
    "trainer.log_every_n_steps=1", "trainer.enable_progress_bar=false",
]  # fmt: skip
"""14 training studies, 3 epochs."""
CACHED = ["backbone.frozen=true", "data.images.random_crop=false"]
"""What a cache of features needs."""
DAMAGED = ("last", "all", "features", "images", "index")
"""What is damaged: the last checkpoint, all of them, a cache, or the index of images."""
SWEPT = ["seed=0,1", "hydra.launcher.num_trials=2", "hydra.launcher.gpus=[]"]
PRELOADED = [
    "r2cmn.cli",
    "r2cmn.runs.training",
    "r2cmn.phantom",
    "r2cmn.data.datamodule",
    "r2cmn.sweeps.settings",
    "timm",
]
LIMIT_S = 300.0

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(PRELOADED)


class Runner:
    """Starts trainings that share one cache.

    Args:
        folder: of the campaign.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
        self.environment = {
            **os.environ, "OMP_NUM_THREADS": "1", "R2CMN_CACHE": str(folder / "cache"),
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }  # fmt: skip

    def start(self, run: Path, *more: str, largest: int | None = None, **environment: str) -> Any:
        """Start a training in a forked process, whose output goes to a file beside its folder.

        Args:
            run: its folder.
            more: further overrides.
            largest: bytes of the largest file that it may write.
            environment: further variables.
        """
        options = {
            "arguments": ["train", *TRAINING, f"run_dir={run}", *more], "cwd": str(self.folder),
            "out": str(log_of(run)), "err": str(log_of(run)), "environment": {**self.environment, **environment},
        }  # fmt: skip
        process = _context.Process(target=_run, args=(options, largest))
        process.start()
        return process

    def finish(self, run: Path, *more: str, **options: Any) -> int | None:
        """Run a training to its end and return its exit code."""
        process = self.start(run, *more, **options)
        process.join(LIMIT_S)
        if process.exitcode is None:
            process.kill()
            process.join()
        return process.exitcode

    def start_sweep(self, sweep: Path, *more: str) -> subprocess.Popen[bytes]:
        """Start a sweep of two trials at once; it starts their processes by the command line."""
        command = [sys.executable, "-m", "r2cmn", "train", "-m", *TRAINING, *SWEPT, f"hydra.sweep.dir={sweep}", *more]
        with log_of(sweep).open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=self.environment, cwd=self.folder)


def _run(options: dict[str, Any], largest: int | None) -> None:
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    runpy.run_path(str(ROOT / "tests" / "forked.py"), {"options": options})


def log_of(run: Path) -> Path:
    """Return the file for the output of a run or sweep; that of a run on a disk of its own is beside the disk."""
    base = run.parent if run.name == "run" else run
    return base.with_name(base.name + ".out")


# ---- how a run ended -------------------------------------------------------------------------------------------------


def ending(run: Path) -> Ending:
    """Return what must be equal after an interruption: weights, best checkpoint, scores, reports, log, file names."""
    import torch

    from r2cmn.files.metrics_log import read_log

    digest = hashlib.sha256()
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    for name, value in sorted(content["state_dict"].items()):
        digest.update(name.encode() + value.numpy().tobytes())
    return {
        "weights": digest.hexdigest(),
        "step": content["global_step"],
        "scores": json.loads((run / "result.json").read_text(encoding="utf-8"))["scores"],
        "reports": hashlib.sha256((run / "predictions.csv").read_bytes()).hexdigest(),
        "log": read_log(run / "metrics.csv")[1],
        "files": sorted(
            path.relative_to(run).as_posix() for path in run.rglob("*") if path.suffix in (".ckpt", ".part")
        ),
    }


def compare(run: Path, expected: Ending) -> str:
    """Return "equal", or what of a finished run differs."""
    try:
        found = ending(run)
    except Exception as error:  # whatever a damaged file raises is the result of the case
        return f"unreadable: {type(error).__name__}: {error}"[:200]
    differing = [name for name in expected if found[name] != expected[name]]
    return f"differs: {', '.join(differing)}" if differing else "equal"


def phase(run: Path) -> str:
    """Return how far a run had come."""
    for name, reached in (
        ("result.json", "after the result"), ("predictions.csv", "after the test"),
        ("checkpoints/last.ckpt", "in training or test"), ("trial.json", "before the first checkpoint"),
    ):  # fmt: skip
        if (run / name).exists():
            return reached
    return "before the start"


def resume(runner: Runner, run: Path, *more: str, **options: Any) -> int | None:
    """Finish a run from its checkpoint, or anew without one."""
    last = ["checkpoint=last"] if any((run / "checkpoints").glob("*.ckpt")) else []
    return runner.finish(run, *last, *more, **options)


def judge(code: int | None, run: Path, expected: Ending) -> str:
    """Return the outcome of a resumed run."""
    return compare(run, expected) if code == 0 else f"exit code {code}: {last_line(run)}"


def last_line(run: Path) -> str:
    """Return the end of a run's output."""
    lines = log_of(run).read_text(encoding="utf-8", errors="replace").split("\n") if log_of(run).exists() else []
    return next((line for line in reversed(lines) if line.strip()), "no output")[:300]


# ---- the cases -------------------------------------------------------------------------------------------------------


def kill_run(runner: Runner, run: Path, dice: random.Random, expected: Ending, seconds: float) -> Case:
    """Kill a run at a random moment, a third of them again while it resumes, and finish it."""
    moment = dice.uniform(0.05, 1.0) * seconds
    process = runner.start(run)
    _kill_after(process, moment)
    reached, kills = phase(run), 1
    if dice.random() < 1 / 3 and any((run / "checkpoints").glob("*.ckpt")):
        _kill_after(runner.start(run, "checkpoint=last"), dice.uniform(0.05, 1.0) * seconds)
        kills += 1
    outcome = judge(resume(runner, run), run, expected)
    return {"moment_s": round(moment, 2), "phase": reached, "kills": kills, "outcome": outcome}


def kill_sweep(runner: Runner, sweep: Path, dice: random.Random, expected: Sequence[Ending], seconds: float) -> Case:
    """Kill a sweep at a random moment, alone or with its trials, and resume it."""
    moment, with_trials = dice.uniform(0.3, 1.0) * seconds, dice.random() < 0.5
    process = runner.start_sweep(sweep)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for number in processes_of(sweep) if with_trials else ():
        _signal(number, signal.SIGKILL)
    reached = ", ".join(phase(sweep / name) for name in ("0", "1"))
    _wait_until(lambda: not processes_of(sweep))  # trials that outlive their sweep end by themselves
    resumed = runner.start_sweep(sweep, "sweep.resume=true")
    code = resumed.wait(LIMIT_S)
    outcomes = {judge(code, sweep / name, each) for name, each in zip(("0", "1"), expected, strict=True)}
    outcome = "equal" if outcomes == {"equal"} else "; ".join(sorted(outcomes - {"equal"}))
    what = "sweep and trials" if with_trials else "sweep alone"
    return {"moment_s": round(moment, 2), "phase": f"{what}: {reached}", "kills": 1, "outcome": outcome}


def fill_disk(runner: Runner, run: Path, dice: random.Random, expected: Ending, size: int) -> Case:
    """Run on a disk that is too small, then resume with room; without rights to mount, limit the size of a file."""
    place = run.with_name(run.name + "_disk")
    place.mkdir()
    own, share = place / "run", dice.uniform(0.02, 1.3)
    room = int(share * size)
    is_mounted = _mount(place, room)
    options = {} if is_mounted else {"largest": max(4096, room // 2)}
    try:
        code = runner.finish(own, **options)
        said = last_line(own)
        if is_mounted:
            subprocess.run(["mount", "-o", "remount,size=1g", str(place)], check=True)
        has_traceback, reached = "Traceback" in log_of(own).read_text(encoding="utf-8", errors="replace"), phase(own)
        outcome = judge(resume(runner, own) if code != 0 else 0, own, expected)
        if has_traceback:
            outcome = f"traceback, then {outcome}"
    finally:
        if is_mounted:
            subprocess.run(["umount", "-l", str(place)], check=False)
    what = "tmpfs" if is_mounted else "RLIMIT_FSIZE"
    detail = {"disk": what, "bytes": room, "full": code != 0, "said": said if code != 0 else ""}
    return {**detail, "phase": reached, "kills": 0, "outcome": outcome}


def corrupt(runner: Runner, run: Path, dice: random.Random, expected: Ending, kind: str) -> Case:
    """Damage a checkpoint of a run that was stopped, or a cache, and resume.

    The end is equal, or the damaged file is named in one sentence and nothing is trained from it.
    """
    cache = run.with_name(run.name + "_cache")
    options = CACHED + (["data.cache_features=float32"] if kind == "features" else ["data.cache=disk"])
    more = options if kind in DAMAGED[2:] else []
    _stop_after_epoch(runner.start(run, *more, R2CMN_CACHE=str(cache)), run, 1)
    patterns = {"features": "features/*.rows", "images": "images/*.rows", "index": "image_index*.sqlite"}
    if kind in patterns:
        files = sorted(cache.glob(patterns[kind]))
    else:
        files = sorted((run / "checkpoints").glob("last.ckpt" if kind == "last" else "*.ckpt"))
    damages = [_damage(file, dice) for file in files]
    start = log_of(run).stat().st_size
    code = resume(runner, run, *more, R2CMN_CACHE=str(cache))
    said = log_of(run).read_bytes()[start:].decode(errors="replace")
    if code == 0:
        outcome = compare(run, expected)
    elif any(file.name in said or "intact" in said for file in files) and "Traceback" not in said:
        outcome = "refused by name"
    else:
        outcome = f"exit code {code}: {last_line(run)}"
    return {"damage": ", ".join(damages) or "no file", "phase": kind, "kills": 0, "outcome": outcome}


def _damage(file: Path, dice: random.Random) -> str:
    content = bytearray(file.read_bytes())
    kind = dice.choice(["a bit flipped", "a block zeroed", "cut short", "emptied"])
    place = dice.randrange(len(content))
    if kind == "a bit flipped":
        content[place] ^= 1 << dice.randrange(8)
    elif kind == "a block zeroed":
        content[place : place + 512] = bytes(len(content[place : place + 512]))
    else:
        del content[place if kind == "cut short" else 0 :]
    file.write_bytes(content)
    return f"{file.name}: {kind}"


# ---- processes and disks ---------------------------------------------------------------------------------------------


def _kill_after(process: Any, seconds: float) -> None:
    process.join(seconds)
    process.kill()
    process.join()


def _stop_after_epoch(process: Any, run: Path, epoch: int) -> None:
    log = run / "train.log"
    _wait_until(
        lambda: (
            process.exitcode is not None or (log.exists() and f"epoch {epoch}: " in log.read_text(encoding="utf-8"))
        ),
        0.02,
    )
    _kill_after(process, 0)


def _signal(number: int, signum: int) -> None:
    try:
        os.kill(number, signum)
    except ProcessLookupError:
        return


def processes_of(folder: Path) -> list[int]:
    """Return the processes whose command line names a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"{folder}".encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def _wait_until(is_so: Callable[[], bool], every_s: float = 0.2) -> None:
    end = time.monotonic() + LIMIT_S
    while not is_so() and time.monotonic() < end:
        time.sleep(every_s)


def _mount(place: Path, size: int) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={max(size, 4096)}", "none", str(place)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
