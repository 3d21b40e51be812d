"""Loggers in real runs: nobody is asked, all is kept, and a protected data set's text reaches none of them."""

import json
import os
import pty
import stat
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

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
from pathlib import Path
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
    home = {"HOME": str(folder), "NETRC": str(folder / "none"), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return {**clean, **home, "R2CMN_CACHE": str(folder / "cache"), **more}


def command(data, run, *more):
    return [sys.executable, "-m", "r2cmn", "train", *more, *TINY, f"data.dir={data}", f"run_dir={run}"]


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
    process = subprocess.Popen(
        command(data, run, *all_loggers(run), "data.license_class=public"), stdin=theirs, stdout=theirs, stderr=theirs,
        env=environment(folder, R2CMN_SWEEP="my_sweep"), start_new_session=True, close_fds=True,
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
def protected(folder, data):
    """A run under a data use agreement, without a terminal or standard input."""
    run = folder / "protected"
    done = subprocess.run(
        command(data, run, *all_loggers(run), "data.license_class=dua"), stdin=subprocess.DEVNULL, capture_output=True,
        text=True, env=environment(folder), timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return run, done.stdout


def wandb_folder(run):
    (found,) = (run / "wandb").glob("offline-run-*")
    return found


def records(run):
    """All records of the run's binary file, which is a log of LevelDB: blocks of 32 KiB, 7 bytes before every piece."""
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = wandb_folder(run).glob("*.wandb")
    content, place, found, whole = file.read_bytes(), 7, [], b""
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768  # too little room for a piece is filled with zeros
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last piece of one
            found.append(Record.FromString(whole))
            whole = b""
    assert any(record.HasField("run") for record in found), f"{file} was not understood"
    return found


def key_of(item):
    return item.key or ".".join(item.nested_key)


def history(run):
    rows = [r.history.item for r in records(run) if r.HasField("history")]
    return [{key_of(item): json.loads(item.value_json) for item in row} for row in rows]


def marks_in(folder):
    """The marks found in the names and bytes of a folder or file."""
    files = [folder] if folder.is_file() else [p for p in folder.rglob("*") if p.is_file()]
    assert files
    everything = b"".join(str(p.relative_to(folder.parent)).encode() + p.read_bytes() for p in files)
    return {mark for mark in (WORD, ID, DIR) if mark.encode() in everything}


# ---- a public data set: everything is shown ----------------------------------------------------------------------


def test_in_a_terminal_nobody_is_asked(public):
    run, said = public
    assert "no W&B account is set up: the run is kept offline" in said
    assert "Enter your choice" not in said
    assert said.replace("\r", "").split()[-1] != "choice:"
    assert (run / "result.json").exists()


def test_wandb_holds_scores_config_and_group(public):
    run, _ = public
    rows = history(run)
    for key in ("val/BLEU_4", "val/loss", "val/distinct", "lr/rest"):
        assert any(key in row for row in rows), key
    scores = json.loads((run / "result.json").read_text())["scores"]
    (tested,) = [row for row in rows if "test/BLEU_1" in row]
    assert tested["test/BLEU_1"] == pytest.approx(scores["BLEU_1"])
    assert [row["epoch"] for row in rows if "val/BLEU_4" in row] == [0, 1]
    config = {
        key_of(i): json.loads(i.value_json) for r in records(run) if r.HasField("config") for i in r.config.update
    }
    assert config["memory"]["num_vectors"] == 8
    assert config["encoder_decoder"]["dim"] == 16  # ${dim} is resolved
    assert "${" not in json.dumps({k: v for k, v in config.items() if k != "_wandb"})
    assert config["parameters"]["total"] >= config["parameters"]["trainable"] > config["parameters"]["memory"] > 0
    assert {r.run.run_group for r in records(run) if r.HasField("run")} == {"my_sweep"}
    assert [r.exit.exit_code for r in records(run) if r.HasField("exit")] == [0]


def test_wandb_shows_reports_beside_their_references(public):
    run, _ = public
    tables = sorted((wandb_folder(run) / "files" / "media" / "table" / "val").glob("*.json"))
    assert len(tables) == 2
    table = json.loads(tables[0].read_text())
    assert table["columns"] == ["study", "generated", "reference"]
    assert len(table["data"]) == 4
    assert all(WORD in reference for _, _, reference in table["data"])


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
    names = {line.split()[0] for line in recorded.read_text().splitlines()}
    assert {"log_metrics", "log_hyperparams"} <= names
    assert not names & {"log_table", "log_text", "log_image", "add_text", "add_image"}


def test_under_an_agreement_the_numbers_are_still_logged(protected):
    run, _ = protected
    assert any("val/BLEU_4" in row for row in history(run))
    assert any("test/BLEU_4" in row for row in history(run))
    assert not (wandb_folder(run) / "files" / "media").exists()
    assert not (wandb_folder(run) / "files" / "output.log").exists()


def test_under_an_agreement_only_the_owner_reads_the_predictions(protected):
    run, _ = protected
    assert stat.S_IMODE((run / "predictions.csv").stat().st_mode) == 0o600
    assert {WORD, ID} <= marks_in(run / "predictions.csv")


def test_a_public_checkpoint_tested_under_an_agreement_is_as_private(public, folder, data):
    checkpoint = next((public[0] / "checkpoints").glob("best*.ckpt"))
    run = folder / "tested"
    more = ["logger=wandb", "data.license_class=dua", "stages=[test]", f"checkpoint={checkpoint}"]
    done = subprocess.run(
        command(data, run, *more), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        env=environment(folder), timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert marks_in(wandb_folder(run)) == set()
    assert stat.S_IMODE((run / "predictions.csv").stat().st_mode) == 0o600


# ---- several runs in one process -----------------------------------------------------------------------------------


def test_two_trainings_of_one_process_are_two_runs(folder, data):
    sweep = folder / "sweep"
    more = ["-m", "hydra/launcher=basic", "logger=wandb", "seed=0,1", f"hydra.sweep.dir={sweep}", "stages=[fit]",
            "trainer.max_epochs=1"]  # fmt: skip
    tiny = [option for option in TINY if option != "trainer.max_epochs=2"]
    done = subprocess.run(
        [sys.executable, "-m", "r2cmn", "train", *more, *tiny, f"data.dir={data}"], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, env=environment(folder, WANDB_MODE="offline"), timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "already in progress" not in done.stderr
    for seed in (0, 1):
        config = [i for r in records(sweep / str(seed)) if r.HasField("config") for i in r.config.update]
        assert {i.value_json for i in config if key_of(i) == "seed"} == {str(seed)}
        assert [r.exit.exit_code for r in records(sweep / str(seed)) if r.HasField("exit")] == [0]
