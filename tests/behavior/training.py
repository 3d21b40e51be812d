"""Sections that train: the main run, a killed and resumed sweep, its results, generated reports, an earlier folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

from . import reading
from .material import draw_studies
from .session import Section, Session

SMALL = (
    "data.num_studies=40", "data.batch_size=4", "data.images.resize=40", "data.images.size=32",
    "data.text.max_length=24", "dim=32", "memory.num_queried=4", "optimizer.lr=0.003", "trainer.max_epochs=6",
    "trainer.check_val_every_n_epoch=3", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false",
    "metrics.meteor=false",  # Java takes longer than the training; `evaluate` has METEOR
)  # fmt: skip
SWEPT = (
    *SMALL, "generation=greedy", "-m", "memory.num_vectors=16,32", "hydra.launcher.gpus=[]",
    "hydra.launcher.num_trials=1", "hydra.launcher.threads_per_trial=1",
)  # fmt: skip
_WAIT_S = 300


def main_run(session: Session) -> Path:
    """Return the folder of the main run; train it first if need be."""

    def train(run: Path) -> None:
        session.call("train", *SMALL, "memory.num_vectors=16", f"run_dir={run}")

    return session.once("main", train)


def best(run: Path) -> Path:
    """Return the best checkpoint of a run."""
    (path,) = (run / "checkpoints").glob("best*.ckpt")
    return path


def record_main(session: Session) -> Section:
    """Record a run."""
    run = main_run(session)
    structure, values = _run(run)
    config = reading.read_yaml(run / "config.yaml")
    columns, rows = reading.table(run / "metrics.csv")
    structure |= {"config": reading.keys_of(config), "metrics_columns": columns}
    values |= {
        "metrics": rows,
        "predictions": (run / "predictions.csv").read_text(),
        "baselines": {path.name: path.read_text() for path in sorted((run / "baselines").iterdir())},
        "config": session.without_paths(reading.stable(config)),
    }
    return {"structure": structure, "values": values}


def _run(run: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Record what a run and a trial of a sweep have in common."""
    checkpoints = {"best": reading.checkpoint(best(run)), "last": reading.checkpoint(run / "checkpoints" / "last.ckpt")}
    last = checkpoints["last"]
    result, scores = reading.read_json(run / "result.json"), reading.read_json(run / "scores.json")
    names = sorted(last["state_dict"])
    structure = {
        "files": reading.file_names(run),
        "checkpoint": sorted(last),
        "hyper_parameters": reading.keys_of(last["hyper_parameters"]),
        "state_dict": f"{len(names)} names, {reading.digest(names)}",
        "result": reading.keys_of(result),
        "scores": reading.keys_of(scores),
        "trial": reading.keys_of(reading.read_json(run / "trial.json")),
    }
    values = {
        "files": reading.file_names(run, exact=True),
        "weights": {name: reading.weights(content) for name, content in checkpoints.items()},
        "epochs": {name: [content["epoch"], content["global_step"]] for name, content in checkpoints.items()},
        "hyper_parameters": reading.stable(last["hyper_parameters"]),
        # overrides name the folder; those of trials are in the structure
        "result": {key: value for key, value in reading.stable(result).items() if key != "overrides"},
        "scores": reading.stable(scores),
    }
    return structure, values


# ---- sweep -----------------------------------------------------------------------------------------------------------


def resumed_sweep(session: Session) -> Path:
    """Return the folder of the sweep; run, kill and resume it first if need be. `killed/` keeps its state between."""
    return session.once("sweep", lambda sweep: _run_sweep(session, sweep))


def _run_sweep(session: Session, sweep: Path) -> None:
    process = session.start("train", *SWEPT, f"hydra.sweep.dir={sweep}")
    try:
        _wait_for_second(process, sweep)
    finally:
        _kill(process, sweep)
    if (sweep / "1" / "result.json").exists():
        raise RuntimeError("the second trial ended before it was killed: raise trainer.max_epochs")
    shutil.copytree(sweep, session.folder / "killed")
    session.call("train", *SWEPT, f"hydra.sweep.dir={sweep}", "sweep.resume=true")


def _wait_for_second(process: Any, sweep: Path) -> None:
    """Wait until the first trial is done and the second one has a checkpoint."""
    end = time.monotonic() + _WAIT_S
    while not ((sweep / "0" / "result.json").exists() and (sweep / "1" / "checkpoints" / "last.ckpt").exists()):
        if process.poll() is not None:
            raise RuntimeError(f"the sweep in {sweep} ended by itself: see logs/")
        if time.monotonic() > end:
            raise RuntimeError(f"the sweep in {sweep} did not get to its second trial in {_WAIT_S} s: see logs/")
        time.sleep(0.02)


def _kill(process: Any, sweep: Path) -> None:
    """Kill a sweep and its trials, which have process groups of their own, as a machine that goes down does."""
    process.kill()  # first, so that it starts nothing more
    process.wait()
    while left := _processes_of(sweep):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(os.getpgid(pid), signal.SIGKILL)
        time.sleep(0.02)


def _processes_of(folder: Path) -> list[int]:
    """Find the processes of r2cmn, zombies aside, whose command line names a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            if b"r2cmn" in words and any(str(folder).encode() in word for word in words):
                found.append(int(entry.name))
    return found


def record_sweep(session: Session) -> Section:
    """Record a sweep that was killed and resumed."""
    return _sweep(resumed_sweep(session), session.folder / "killed")


def _sweep(sweep: Path, killed: Path) -> Section:
    structure: dict[str, Any] = {
        "files": sorted(path.name for path in sweep.iterdir()),
        "killed_without_result": not (killed / "1" / "result.json").exists(),
        "first_trial_kept": _stamps(sweep / "0") == _stamps(killed / "0"),
        "starts": [_starts(sweep / number) for number in "01"],
    }
    values = {}
    for number in "01":
        structure[number], values[number] = _run(sweep / number)
        overrides = reading.read_json(sweep / number / "result.json")["overrides"]
        structure[number]["overrides"] = [o for o in overrides if "=WORK" not in o and str(sweep) not in o]
    return {"structure": structure, "values": values}


def _starts(trial: Path) -> int:
    """Count how often a trial was started: each start writes its command line into the log."""
    return sum(line.startswith("$ ") for line in (trial / "trial.log").read_text().splitlines())


def _stamps(trial: Path, *left_out: str) -> dict[str, tuple[int, str]]:
    """Return when each file of a trial was written, and its hash; not of the lock, which a resumed sweep may take."""
    names = [name for name in reading.file_names(trial, exact=True) if name not in (".lock", *left_out)]
    return {name: ((trial / name).stat().st_mtime_ns, reading.sha256(trial / name)) for name in names}


def record_results(session: Session) -> Section:
    """Record the tables, figures and page of the sweep."""
    return _results(session, resumed_sweep(session), session.folder / "results")


def _results(session: Session, sweep: Path, out: Path) -> Section:
    out.mkdir()
    session.call(
        "results", sweep, "--csv", out / "trials.csv", "--curves", out / "curves.csv", "--out", out / "table.md",
        "--html", out / "page.html", "--figures", out / "figures", "--resamples", 200,
    )  # fmt: skip
    table, curves = reading.table(out / "trials.csv"), reading.table(out / "curves.csv")
    # of a page only headings: its numbers hold durations
    structure = {
        "files": reading.file_names(out),
        "columns": {"trials": table[0], "curves": curves[0]},
        "headings": reading.headings(out / "page.html"),
    }
    values = {
        "trials": session.without_paths(table[1]),
        "curves": [row for row in curves[1] if not reading.is_volatile(row["metric"])],
        "table": (out / "table.md").read_text(),
    }
    return {"structure": structure, "values": values}


# ---- reports ---------------------------------------------------------------------------------------------------------


def generated(session: Session, checkpoint: Path, name: str, *options: object) -> dict[str, str]:
    """Write the reports of a drawn folder and of one study with a checkpoint."""
    studies = session.once("studies", draw_studies)
    out = session.folder / f"{name}.csv"
    session.call("generate", checkpoint, studies, "--out", out, "--device", "cpu", *options)
    views = sorted((studies / "study_0").iterdir())
    one = session.call("generate", checkpoint, *views, "--device", "cpu", *options)
    return {"folder": out.read_text(), "study": one}


def record_generate(session: Session) -> Section:
    """Record the reports of the trained checkpoint."""
    found = generated(session, best(main_run(session)), "generated")
    return {"structure": {"columns": found["folder"].splitlines()[0]}, "values": found}


def record_old(session: Session, old: Path) -> Section:
    """Use the checkpoints and the killed sweep of an earlier folder with the code of today."""
    checkpoint, tested, sweep = best(old / "main"), session.folder / "old_tested", session.folder / "old_sweep"
    values: dict[str, Any] = {"generated": generated(session, checkpoint, "old_generated")}
    session.call(
        "train", *SMALL, "memory.num_vectors=16", "stages=[test]", f"checkpoint={checkpoint}", f"run_dir={tested}"
    )
    values["tested"] = reading.read_json(tested / "result.json")["scores"]
    shutil.copytree(old / "killed", sweep)
    session.call("train", *SWEPT, f"hydra.sweep.dir={sweep}", "sweep.resume=true", "sweep.code=any")
    values["sweep"] = _sweep(sweep, old / "killed")["values"]
    ends = [_last_weights(place / number) for place in (sweep, old / "sweep") for number in "01"]
    structure = {
        "trials": sorted(path.name for path in sweep.iterdir() if path.is_dir()),
        "starts": [_starts(sweep / number) for number in "01"],
        # trial.json names the code that took it
        "first_trial_kept": _stamps(sweep / "0", "trial.json") == _stamps(old / "killed" / "0", "trial.json"),
        "same_weights": ends[:2] == ends[2:],
        "same_predictions": (tested / "predictions.csv").read_text() == (old / "main" / "predictions.csv").read_text(),
    }
    return {"structure": structure, "values": values}


def _last_weights(run: Path) -> dict[str, str]:
    return reading.weights(reading.checkpoint(run / "checkpoints" / "last.ckpt"))
