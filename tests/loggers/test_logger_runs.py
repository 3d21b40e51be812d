"""Loggers in real runs: nobody is asked, all is kept, and a protected data set's text reaches none of them."""

import json
import os
import pty
import re
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.slow


TINY = [
    "data=folder", "data.images={resize: 40, size: 32}", "data.text={threshold: 1}", "data.batch_size=4",
    "data.num_workers=0", "dim=16", "memory.num_vectors=8", "memory.num_queried=2", "memory.num_threads=2",
    "encoder_decoder.num_layers=1", "encoder_decoder.num_heads=2", "metrics.meteor=false", "trainer.accelerator=cpu",
    "trainer.max_epochs=2", "trainer.check_val_every_n_epoch=1",
    "trainer.enable_progress_bar=false", "generation=greedy",
]  # fmt: skip

# Keeps all that a logger is ever handed, whatever the method is called.
RECORDING = '''
import os, time
from pathlib import Path
from pytorch_lightning import Callback
from pytorch_lightning.loggers import Logger

class Anything:
    def __init__(self, file): self.file = file
    def __getattr__(self, name):
        def record(*args, **kwargs):
            with self.file.open("a") as out:
                print(name, args, kwargs, file=out)
        return record

class Recording(Logger):
    def __init__(self, file): self.file = Path(file)
    name = version = "recording"
    @property
    def experiment(self): return Anything(self.file)
    def log_metrics(self, *args, **kwargs): self.experiment.log_metrics(*args, **kwargs)
    def log_hyperparams(self, *args, **kwargs): self.experiment.log_hyperparams(*args, **kwargs)
    def log_graph(self, *args, **kwargs): self.experiment.log_graph(*args, **kwargs)
    def log_table(self, *args, **kwargs): self.experiment.log_table(*args, **kwargs)
    def log_text(self, *args, **kwargs): self.experiment.log_text(*args, **kwargs)
    def log_image(self, *args, **kwargs): self.experiment.log_image(*args, **kwargs)
    def after_save_checkpoint(self, *args): self.experiment.after_save_checkpoint(*args)

class Stop(Callback):
    def __init__(self, epoch, signal): self.epoch, self.signal = epoch, signal
    def on_train_batch_start(self, trainer, *args):
        if trainer.current_epoch == self.epoch:
            time.sleep(1)  # W&B writes every tenth of a second here
            os.kill(os.getpid(), self.signal)
'''  # fmt: skip
WORD, ID, DIR = "canaryword", "canaryid", "canarydir"


def make_canaries(make_dataset, folder):
    """Put marks on all that is text: words of the reports, ids, paths of images, the folder."""
    data = make_dataset(folder / DIR, num_studies=16, size=48)
    annotation = json.loads((data / "annotation.json").read_text())
    for split in annotation.values():
        for entry in split:
            number = entry["id"].rpartition("_")[2]
            (data / "images" / entry["id"]).rename(data / "images" / f"{ID}{number}")
            entry["image_path"] = [path.replace(entry["id"], f"{ID}{number}") for path in entry["image_path"]]
            entry["id"] = f"{ID}{number}"
            entry["report"] += f" {WORD} is seen."
    (data / "annotation.json").write_text(json.dumps(annotation))
    return data


def environment(folder, **more):
    """Of somebody who never heard of W&B."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
    # so that a run of seconds has system metrics, and one that is killed has rows
    more = {"WANDB_X_STATS_SAMPLING_INTERVAL": "0.5", "WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL": "0.1", **more}
    home = {"HOME": str(folder), "NETRC": str(folder / "none"), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return {**clean, **home, "R2CMN_CACHE": str(folder / "cache"), **more}


def options(data, run, *more):
    return ["train", *more, *TINY, f"data.dir={data}", f"run_dir={run}"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("loggers")
    (path / "recording.py").write_text(RECORDING)
    return path


@pytest.fixture(scope="module")
def data(folder, make_dataset):
    return make_canaries(make_dataset, folder)


def all_loggers(run):
    return [
        "logger=wandb", "+logger.tensorboard._target_=r2cmn.loggers.TensorBoard",
        f"+logger.tensorboard.save_dir={run}", "+logger.recording._target_=recording.Recording",
        f"+logger.recording.file={run}.recorded",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def public(folder, data):
    """A run in a terminal, where W&B would ask and wait for the answer."""
    run = folder / "public"
    ours, theirs = pty.openpty()
    more = ["data.license_class=public", "trainer.log_every_n_steps=1", "callbacks.memory_use.per_thread=true"]
    process = subprocess.Popen(
        [sys.executable, "-m", "r2cmn", *options(data, run, *all_loggers(run), *more)], stdin=theirs, stdout=theirs,
        stderr=theirs, env=environment(folder, R2CMN_SWEEP="my_sweep"), start_new_session=True, close_fds=True,
    )  # fmt: skip
    os.close(theirs)
    said = bytearray()
    reader = threading.Thread(target=_read, args=(ours, said), daemon=True)
    reader.start()
    try:
        returncode = process.wait(timeout=120)
    finally:
        process.kill()
    reader.join(timeout=10)
    text = said.decode(errors="replace")
    assert returncode == 0, text
    return run, text


def _read(terminal, said):
    try:
        while chunk := os.read(terminal, 4096):
            said.extend(chunk)
    except OSError:  # how Linux says that the other side is closed
        return


@pytest.fixture(scope="module")
def protected(folder, data, run_r2cmn):
    """A run under a data use agreement, without a terminal or standard input."""
    run = folder / "protected"
    more = ["data.license_class=dua", "print_reports=true", "callbacks=explained"]
    arguments = options(data, run, *all_loggers(run), *more)
    done = run_r2cmn(*arguments, environment=environment(folder))
    assert done.code == 0, done.out + done.err
    return run, done.out


def wandb_folder(run):
    (found,) = (run / "wandb").glob("offline-run-*")
    return found


def marks_in(folder):
    """The marks found in the names and bytes of a folder or file."""
    files = [folder] if folder.is_file() else [p for p in folder.rglob("*") if p.is_file()]
    assert files
    everything = b"".join(str(p.relative_to(folder.parent)).encode() + p.read_bytes() for p in files)
    return {mark for mark in (WORD, ID, DIR) if mark.encode() in everything}


# ---- a public data set: everything is shown ----------------------------------------------------------------------


def test_in_a_terminal_nobody_is_asked(public):
    run, said = public
    assert "no W&B account is set up" in said
    assert "Enter your choice" not in said
    assert said.replace("\r", "").split()[-1] != "choice:"
    assert (run / "result.json").exists()


def test_wandb_holds_scores_config_and_group(public, wandb_runs):
    (kept,) = wandb_runs(public[0])
    for key in ("val/BLEU_4", "val/loss", "val/distinct", "lr/rest"):
        assert any(key in row for row in kept.history), key
    result = json.loads((public[0] / "result.json").read_text())
    (tested,) = [row for row in kept.history if "test/BLEU_1" in row]
    assert tested["test/BLEU_1"] == pytest.approx(result["scores"]["BLEU_1"])
    assert [row["epoch"] for row in kept.history if "val/BLEU_4" in row] == [0, 1]
    assert kept.config["memory"]["num_vectors"] == 8
    assert kept.config["encoder_decoder"]["dim"] == 16  # ${dim} is resolved
    assert "${" not in json.dumps({k: v for k, v in kept.config.items() if k != "_wandb"})
    parameters = kept.config["parameters"]
    assert parameters["total"] >= parameters["trainable"] > parameters["memory"] > 0
    assert kept.group == "my_sweep"
    assert kept.exit_code == 0
    assert kept.summary["objective"] == pytest.approx(result["objective"])


def test_wandb_knows_what_the_run_is(public, wandb_runs):
    (kept,) = wandb_runs(public[0])
    assert kept.job_type == "train"
    chosen = ["memory=cross_modal", "encoder_decoder=transformer", "objective=cross_entropy", "data=folder"]
    assert kept.tags == chosen
    assert kept.config["choices"]["memory"] == "cross_modal"
    assert "memory.num_vectors=8" in kept.name
    assert "run_dir" not in kept.name
    assert DIR not in kept.name


def test_the_identity_in_the_trial_folder_is_logged(public, wandb_runs):
    (kept,) = wandb_runs(public[0])
    trial = public[0] / "trial.json"
    if not trial.is_file():
        pytest.skip("this run wrote no trial.json")
    said = json.loads(trial.read_text())
    for key in ("fingerprint", "parts", "version", "commit", "parameters"):
        assert kept.config[key] == said[key], key
    speed = json.loads((public[0] / "result.json").read_text()).get("speed", {})
    assert {f"speed/{key}": value for key, value in speed.items()}.items() <= kept.summary.items()


def test_wandb_shows_reports_beside_images_and_references(public, wandb_runs):
    tables = sorted((wandb_folder(public[0]) / "files" / "media" / "table" / "val").glob("*.json"))
    assert len(tables) == 2
    rows = [json.loads(table.read_text())["data"] for table in tables]
    assert json.loads(tables[0].read_text())["columns"] == ["study", "images", "generated", "reference"]
    assert [row[0] for row in rows[0]] == [row[0] for row in rows[1]] == [0, 1, 2, 3]  # the same studies
    assert all(WORD in reference for _, _, _, reference in rows[0])
    (kept,) = wandb_runs(public[0])
    images = [e for a in kept.artifacts for e in a.manifest.contents if e.path.startswith("media/images/")]
    assert len({e.path for e in images}) == 4
    assert all(Path(e.local_path).is_relative_to(public[0]) for e in images)
    for entry in images:
        with Image.open(entry.local_path) as picture:
            assert picture.size == (96, 48)  # two views


def test_nothing_is_uploaded_that_was_not_asked_for(public, wandb_runs):
    (kept,) = wandb_runs(public[0])
    assert {artifact.type for artifact in kept.artifacts} == {"run_table"}


def test_every_key_of_the_dashboard_is_one_that_a_run_logs(public, wandb_runs):
    pytest.importorskip("wandb_workspaces", reason="pip install 'r2cmn[dashboard]'")
    from r2cmn.loggers import workspace as dashboard

    (kept,) = wandb_runs(public[0])
    logged = {"epoch", "_absolute_runtime", *kept.summary, *(key for row in kept.history for key in row)}
    logged |= {f"summary:{key}" for key in kept.summary} | {f"system/{key}" for key in kept.system}
    logged |= {f"config:{part}.value.{key}" for part, of in kept.config.items() if isinstance(of, dict) for key in of}
    shown = dashboard.keys(dashboard.build("p", "e"))
    missing = {key for key in shown if not key.startswith("/") and key not in logged and f"{key}._type" not in logged}
    missing |= {key for key in shown if key.startswith("/") and not any(re.fullmatch(key[1:-1], k) for k in logged)}
    # METEOR is switched off here, there may be no GPU, and these data have no boxes
    missing = {key for key in missing if "alignment" not in key}
    speed = json.loads((public[0] / "result.json").read_text())["speed"]
    missing -= {f"speed/{key}" for key in ("train_studies_per_second",) if key not in speed}  # too few steps to say
    missing -= {"val/METEOR", "test/METEOR", *(f"/{key}/" for key in dashboard.SYSTEM.values() if "gpu" in key)}
    assert missing == set()


def test_tensorboard_holds_scalars_and_text(public):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, _ = public
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert {"val/BLEU_4", "test/BLEU_4", "lr/rest"} <= set(events.Tags()["scalars"])
    assert len(events.Scalars("val/BLEU_4")) == 2
    (tag,) = [tag for tag in events.Tags()["tensors"] if tag.startswith("val/reports")]
    assert WORD in events.Tensors(tag)[0].tensor_proto.string_val[0].decode()


def test_the_marks_are_found_where_text_may_be_shown(public):
    # or the tests of privacy below could not fail
    run, _ = public
    assert {WORD, DIR} <= marks_in(wandb_folder(run))
    assert {WORD, DIR} <= marks_in(run / "tensorboard")
    assert {WORD, DIR} <= marks_in(Path(f"{run}.recorded"))
    assert {WORD, ID} <= marks_in(run / "predictions.csv")
    assert stat.S_IMODE((run / "predictions.csv").stat().st_mode) & 0o400


# ---- a data set under an agreement: only numbers -----------------------------------------------------------------


@pytest.mark.parametrize("where", ["wandb", "tensorboard"])
def test_under_an_agreement_no_text_id_or_path_is_in_a_loggers_folder(protected, where):
    run, stdout = protected
    assert WORD in stdout, "the three printed reports show no mark: this shows nothing"
    assert marks_in(run / where) == set()


def test_under_an_agreement_no_call_of_a_logger_holds_text(protected):
    run, _ = protected
    recorded = Path(f"{run}.recorded")
    assert marks_in(recorded) == set()
    names = {line.split()[0] for line in recorded.read_text(encoding="utf-8").splitlines()}
    assert {"log_metrics", "log_hyperparams"} <= names
    assert not names & {"log_table", "log_text", "log_image", "add_text", "add_image"}


def test_under_an_agreement_the_numbers_are_still_logged(protected, wandb_runs):
    (kept,) = wandb_runs(protected[0])
    assert any("val/BLEU_4" in row for row in kept.history)
    assert any("test/BLEU_4" in row for row in kept.history)
    assert not (kept.folder / "files" / "media").exists()
    assert not (kept.folder / "files" / "output.log").exists()


def test_under_an_agreement_the_system_is_numbers_without_a_name(protected, wandb_runs):
    (kept,) = wandb_runs(protected[0])
    assert {"cpu", "memory_percent", "proc.memory.rssMB"} <= kept.system
    assert kept.environment == []
    assert kept.host == "private"
    assert kept.artifacts == []


def test_under_an_agreement_only_the_owner_reads_the_predictions(protected):
    run, _ = protected
    assert stat.S_IMODE((run / "predictions.csv").stat().st_mode) == 0o600
    assert {WORD, ID} <= marks_in(run / "predictions.csv")


def test_a_public_checkpoint_tested_under_an_agreement_is_as_private(public, folder, data, run_r2cmn):
    checkpoint = next((public[0] / "checkpoints").glob("best*.ckpt"))
    run = folder / "tested"
    more = ["logger=wandb", "data.license_class=dua", "stages=[test]", f"checkpoint={checkpoint}"]
    done = run_r2cmn(*options(data, run, *more), environment=environment(folder))
    assert done.code == 0, done.out + done.err
    assert marks_in(wandb_folder(run)) == set()
    assert stat.S_IMODE((run / "predictions.csv").stat().st_mode) == 0o600


# ---- several runs in one process -----------------------------------------------------------------------------------


def test_two_trainings_of_one_process_are_two_runs(folder, data, wandb_runs, run_r2cmn):
    sweep = folder / "sweep"
    more = ["-m", "hydra/launcher=basic", "logger=wandb", "seed=0,1", f"hydra.sweep.dir={sweep}", "stages=[fit]",
            "trainer.max_epochs=1"]  # fmt: skip
    tiny = [option for option in TINY if option != "trainer.max_epochs=2"]
    arguments = ["train", *more, *tiny, f"data.dir={data}"]
    done = run_r2cmn(*arguments, environment=environment(folder, WANDB_MODE="offline"))
    assert done.code == 0, done.out + done.err
    assert "already in progress" not in done.err
    kept = [wandb_runs(sweep / str(seed))[0] for seed in (0, 1)]
    assert [run.config["seed"] for run in kept] == [0, 1]
    assert [run.exit_code for run in kept] == [0, 0]
    assert kept[0].id != kept[1].id
    assert [run.group for run in kept] == ["sweep", "sweep"]
    assert [run.name.split()[0] for run in kept] == ["#0", "#1"]


# ---- a run that is stopped and continued ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def continued(folder, data, run_r2cmn):
    """A run that was killed, continued, stopped with Ctrl-C and continued again, all in one folder."""
    run = folder / "continued"
    tiny = [option for option in TINY if option != "trainer.max_epochs=2"]
    said = []
    for epoch, number in ((1, signal.SIGKILL), (2, signal.SIGINT), (None, None)):
        more = ["logger=wandb", "stages=[fit]", "trainer.max_epochs=3", "trainer.log_every_n_steps=1",
                "data.license_class=public", *(["checkpoint=last"] if said else [])]  # fmt: skip
        if epoch is not None:
            more += [f"+callbacks.stop={{_target_: recording.Stop, epoch: {epoch}, signal: {int(number)}}}"]
        arguments = ["train", *more, *tiny, f"data.dir={data}", f"run_dir={run}"]
        done = run_r2cmn(*arguments, environment=environment(folder, WANDB_MODE="offline"))
        said.append((done.code, done.err))
    assert [code for code, _ in said] == [-signal.SIGKILL, 130, 0], said
    return run


@pytest.mark.timeout(900)  # the fixture starts three processes
def test_a_continued_run_is_one_run(continued, wandb_runs):
    kept = wandb_runs(continued)
    assert len(kept) == 3
    assert len({run.id for run in kept}) == 1
    assert [run.exit_code for run in kept] == [None, 1, 0]


def test_a_resumed_run_appends_its_rows(continued, wandb_runs):
    rows = [run.history for run in wandb_runs(continued)]
    steps = [[row["_step"] for row in part] for part in rows]
    assert all(part for part in steps)
    every = [step for part in steps for step in part]
    assert every == sorted(set(every))
    assert [row["epoch"] for part in rows for row in part if "val/BLEU_4" in row] == [0, 1, 2]
    trained = [[row["trainer/global_step"] for row in part if "train/loss" in row] for part in rows]
    assert trained[0][-1] < trained[1][0] <= trained[1][-1] < trained[2][0]
