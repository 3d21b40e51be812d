"""The training state of a checkpoint is data of a stranger: it resumes only what it fits, and names no other file."""

import shutil
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping
from torch.utils.data import DataLoader

from r2cmn.callbacks import Checkpoints
from r2cmn.callbacks.restored import CheckRestored
from r2cmn.checkpoints import AtomicCheckpointIO, CheckpointError

SCORES = (0.1, 0.4, 0.3, 0.2, 0.2)
DATA = {
    "tokenizer": {"words": ["clear"], "max_length": 3},
    "images": {"num_views": 1},
    "license_class": "public",
}


class Toy(pl.LightningModule):
    """A weight with the scores of SCORES."""

    def __init__(self, model=None, data=None):
        super().__init__()
        self.save_hyperparameters()
        self.weight = torch.nn.Parameter(torch.zeros(2, 3))

    def training_step(self, batch, batch_idx):
        return (self.weight - 1).square().sum()

    def validation_step(self, batch, batch_idx):
        self.log("val/BLEU_4", SCORES[self.current_epoch])

    def test_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=0.1)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]


def fit(run, epochs, checkpoint=None, **options):
    """Fit in a run folder as `r2cmn train` does; return the trainer."""
    stopping = EarlyStopping("val/BLEU_4", mode="max", patience=50)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, max_epochs=epochs, default_root_dir=run, plugins=[AtomicCheckpointIO()],
        callbacks=[CheckRestored(), Checkpoints(str(run / "checkpoints"), **options), stopping],
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    data = DataLoader(torch.zeros(4, 1), batch_size=2)
    trainer.fit(Toy({}, DATA), data, data, ckpt_path=checkpoint)
    return trainer


@pytest.fixture
def run(tmp_path):
    """A run folder after two epochs, the second of which is the best."""
    fit(tmp_path / "run", 2)
    return tmp_path / "run"


def part(content, name):
    return next(state for key, state in content["callbacks"].items() if key.startswith(name))


def edit(path, change):
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


def snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def as_stored_before(folder):
    """Store absolute paths, as Lightning does, of a run that lay in a folder."""

    def change(content):
        state = part(content, "Checkpoints")
        state["dirpath"] = str(folder)
        for key in ("best_model_path", "kth_best_model_path"):
            state[key] = str(folder / state[key])
        state["best_k_models"] = {str(folder / name): score for name, score in state["best_k_models"].items()}

    return change


# ---- names of files --------------------------------------------------------------------------------------------------


def test_the_state_holds_file_names_and_no_folder(run):
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    state = part(content, "Checkpoints")
    assert "dirpath" not in state
    assert state["best_model_path"] == state["kth_best_model_path"] == "best-epoch001.ckpt"
    assert list(state["best_k_models"]) == ["best-epoch001.ckpt"]
    assert str(run) not in str(content["callbacks"])


@pytest.mark.parametrize("key", ["best_model_path", "kth_best_model_path", "last_model_path", "best_k_models"])
@pytest.mark.parametrize(
    "form",
    ["local://{0}", "file://{0}", "https://example.com/best-epoch001.ckpt", "{1}/../../victim", "../../victim", "{0}",
     "{0}/best-epoch001.ckpt", "simplecache::file://{0}", "..", "notes.ckpt", "last.ckpt", "best-epoch001.ckpt/", 7],
)  # fmt: skip
def test_any_other_path_is_refused_and_nothing_is_removed(run, tmp_path, form, key):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "best-epoch001.ckpt").write_text("thesis")
    (run / "checkpoints" / "notes.ckpt").write_text("mine")
    value = form.format(victim, run / "checkpoints") if isinstance(form, str) else form

    def change(content):
        state = part(content, "Checkpoints")
        state[key] = {value: torch.tensor(-1.0)} if key == "best_k_models" else value

    last = edit(run / "checkpoints" / "last.ckpt", change)
    before = snapshot(tmp_path)
    with pytest.raises(CheckpointError, match=key) as caught:
        fit(run, 4, last)
    assert str(last) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("kind", ["symlink", "dangling", "directory"])
def test_what_is_no_regular_file_is_refused(run, tmp_path, kind):
    best, thesis = run / "checkpoints" / "best-epoch001.ckpt", tmp_path / "thesis.ckpt"
    thesis.write_text("thesis")
    best.unlink()
    if kind == "directory":
        best.mkdir()
        (best / "thesis.txt").write_text("thesis")
    else:
        best.symlink_to(thesis if kind == "symlink" else tmp_path / "none")
    before = snapshot(tmp_path)
    with pytest.raises(CheckpointError, match=r"best-epoch001\.ckpt"):
        fit(run, 4, run / "checkpoints" / "last.ckpt")
    assert snapshot(tmp_path) == before
    assert best.is_symlink() or best.is_dir()


@pytest.mark.parametrize("score", [float("nan"), "0.4", 0.4, torch.zeros(2), None])
def test_a_score_is_one_number(run, score):
    def change(content):
        value = torch.tensor(score) if isinstance(score, float) and score != score else score
        part(content, "Checkpoints")["best_k_models"]["best-epoch001.ckpt"] = value

    with pytest.raises(CheckpointError, match=r"best_k_models\.best-epoch001\.ckpt"):
        fit(run, 4, edit(run / "checkpoints" / "last.ckpt", change))


@pytest.mark.parametrize("stored", ["names", "paths"])
def test_a_moved_run_keeps_its_best(run, tmp_path, stored):
    if stored == "paths":
        edit(run / "checkpoints" / "last.ckpt", as_stored_before(run / "checkpoints"))
    moved = tmp_path / "mounted" / "elsewhere"
    moved.parent.mkdir()
    shutil.move(run, moved)
    trainer = fit(moved, 4, moved / "checkpoints" / "last.ckpt")
    best = moved / "checkpoints" / "best-epoch001.ckpt"
    assert trainer.checkpoint_callback.best_model_path == str(best)
    assert trainer.checkpoint_callback.best_model_score == pytest.approx(0.4)
    assert names(best.parent) == ["best-epoch001.ckpt", "last.ckpt"]
    trainer.test(Toy({}, DATA), DataLoader(torch.zeros(2, 1)), ckpt_path=str(best), verbose=False)
    assert trainer.ckpt_path == str(best)


def test_a_moved_run_removes_the_worse_of_its_own(tmp_path):
    fit(tmp_path / "run", 1)
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    fit(moved, 2, moved / "checkpoints" / "last.ckpt")
    assert names(moved / "checkpoints") == ["best-epoch001.ckpt", "last.ckpt"]


def test_several_of_the_best_end_as_in_a_run_that_was_not_moved(tmp_path):
    fit(tmp_path / "whole", 4, save_top_k=2)
    fit(tmp_path / "run", 2, save_top_k=2)
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    fit(moved, 4, moved / "checkpoints" / "last.ckpt", save_top_k=2)
    assert names(moved / "checkpoints") == names(tmp_path / "whole" / "checkpoints")
    states = [
        part(torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True), "Checkpoints")
        for folder in (tmp_path / "whole", moved)
    ]
    assert states[0] == states[1]


@pytest.mark.parametrize("stored", ["names", "paths"])
def test_files_of_another_run_are_not_taken_for_its_best(run, tmp_path, stored, caplog):
    other = tmp_path / "other"
    fit(other, 2)
    if stored == "paths":
        edit(other / "checkpoints" / "last.ckpt", as_stored_before(other / "checkpoints"))
    kept = (run / "checkpoints" / "best-epoch001.ckpt").read_bytes()
    trainer = fit(run, 3, other / "checkpoints" / "last.ckpt")
    assert "the best is selected again" in caplog.text
    assert trainer.checkpoint_callback.best_model_path == str(run / "checkpoints" / "best-epoch002.ckpt")
    assert (run / "checkpoints" / "best-epoch001.ckpt").read_bytes() == kept


def test_a_best_that_a_kill_left_beside_a_better_one_is_removed(run):
    last = run / "checkpoints" / "last.ckpt"
    fit(run, 4, last)
    (best,) = (run / "checkpoints").glob("best-*.ckpt")
    for name in ("best-epoch000.ckpt", "best-epoch001.ckpt"):  # as if the process had died before it removed them
        (run / "checkpoints" / name).write_bytes(best.read_bytes())
    fit(run, 4, last)  # nothing is left to train
    assert sorted(each.name for each in (run / "checkpoints").iterdir()) == [best.name, "last.ckpt"]


def test_a_run_that_starts_anew_does_not_leave_the_last_checkpoint_of_another(run, monkeypatch):
    def die(*_):
        raise RuntimeError("before the first step")

    last = run / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] > 0
    monkeypatch.setattr(Toy, "training_step", die)
    with pytest.raises(RuntimeError, match="before the first step"):
        fit(run, 1)
    assert torch.load(last, weights_only=True)["global_step"] == 0


def test_a_best_that_is_gone_is_chosen_anew(run, caplog):
    (run / "checkpoints" / "best-epoch001.ckpt").unlink()
    trainer = fit(run, 4, run / "checkpoints" / "last.ckpt")
    assert "best-epoch001.ckpt" in caplog.text
    assert trainer.checkpoint_callback.best_model_score == pytest.approx(0.3)
    assert Path(trainer.checkpoint_callback.best_model_path).is_file()


# ---- counts, sizes and types -----------------------------------------------------------------------------------------


def put(*keys, value):
    """Return what sets a value deep in a checkpoint."""

    def change(content):
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


def in_stopping(key, value):
    return lambda content: part(content, "EarlyStopping").update({key: value})


PROGRESS = ("loops", "fit_loop", "epoch_progress", "current")
GROUP = ("optimizer_states", 0, "param_groups", 0)
BAD = {
    "loops.fit_loop.epoch_progress.current.completed": [
        put(*PROGRESS, "completed", value=v) for v in (-1, 2**60, "2", True)
    ],
    "loops.fit_loop.epoch_progress.current": [put(*PROGRESS, "reset", value=1), put(*PROGRESS, value=[1])],
    "loops.fit_loop.epoch_loop.batch_progress.is_last_batch": [
        put("loops", "fit_loop", "epoch_loop.batch_progress", "is_last_batch", value=1)
    ],
    "_batches_that_stepped": [put("loops", "fit_loop", "epoch_loop.state_dict", "_batches_that_stepped", value=-3)],
    "loops.fit_loop.state_dict": [put("loops", "fit_loop", "state_dict", "combined_loader", value="x")],
    "loops.fit_loop": [lambda content: content["loops"].pop("fit_loop")],
    "'loops'": [put("loops", value=3), put("loops", "fit_loop", value=3)],
    "wait_count": [in_stopping("wait_count", -1), in_stopping("wait_count", None)],
    "patience": [in_stopping("patience", "50"), in_stopping("patience", 10**30)],
    "best_score": [in_stopping("best_score", "high"), in_stopping("best_score", torch.zeros(3))],
    "stopping_reason": [in_stopping("stopping_reason", 99), in_stopping("stopping_reason", [])],
    "'callbacks'": [put("callbacks", value=[]), put("callbacks", "x", value=1)],
    "optimizer_states": [put("optimizer_states", value=[]), put("optimizer_states", value={})],
    "optimizer_states.0": [
        put("optimizer_states", 0, "param_groups", value=[]), put("optimizer_states", 0, "state", value=1)
    ],
    "param_groups.0.lr": [put(*GROUP, "lr", value="fast"), put(*GROUP, "lr", value=float("nan"))],
    "param_groups.0.betas": [put(*GROUP, "betas", value=0.9), put(*GROUP, "betas", value=(0.9,))],
    "param_groups.0.params": [put(*GROUP, "params", value=[0, 1]), put(*GROUP, "params", value=["x"])],
    "state.0.exp_avg": [put("optimizer_states", 0, "state", 0, "exp_avg", value=v) for v in (torch.zeros(7), "x")],
    "state.0.step": [put("optimizer_states", 0, "state", 0, "step", value=torch.tensor(-2.0))],
    "lr_schedulers": [lambda content: content.pop("lr_schedulers"), put("lr_schedulers", value=[1])],
    "lr_schedulers.0.step": [put("lr_schedulers", 0, "step", value=5)],
    "lr_schedulers.0.optimizer": [put("lr_schedulers", 0, "optimizer", value=5)],
    "lr_schedulers.0.last_epoch": [put("lr_schedulers", 0, "last_epoch", value=v) for v in ("1", -7, 2**60)],
    "lr_schedulers.0.step_size": [put("lr_schedulers", 0, "step_size", value=0)],
    "lr_schedulers.0.base_lrs": [put("lr_schedulers", 0, "base_lrs", value=[])],
    "'epoch'": [put("epoch", value=-1)],
    "'global_step'": [put("global_step", value=2**70)],
    "pytorch-lightning_version": [
        put("pytorch-lightning_version", value=v) for v in ("one", "1.4.0", 2, None)
    ] + [lambda content: content.pop("pytorch-lightning_version")],
    "hparams_name": [put("hparams_name", value="model")],
    "hparams_type": [put("hparams_type", value="dict")],
    "module_arguments": [put("module_arguments", value={"model": 1})],
    "hyper_parameters._instantiator": [put("hyper_parameters", "_instantiator", value="os.system")],
    "hyper_parameters.model.backbone": [
        put("hyper_parameters", "model", "backbone", value={"pretrained": v}) for v in (True, "/etc/passwd")
    ],
    "hyper_parameters.data.tokenizer.words": [put("hyper_parameters", "data", "tokenizer", value=3)],
    "hyper_parameters.data.images.num_views": [put("hyper_parameters", "data", "images", "num_views", value=-1)],
    "'state_dict'": [put("state_dict", "weight", value="x")],
}  # fmt: skip


@pytest.mark.parametrize(("key", "change"), [(key, change) for key, changes in BAD.items() for change in changes])
def test_values_that_do_not_fit_are_refused_with_file_and_key(run, key, change):
    last = edit(run / "checkpoints" / "last.ckpt", change)
    before = snapshot(run)
    with pytest.raises(CheckpointError) as caught:
        fit(run, 4, last)
    assert key in str(caught.value)
    assert str(last) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert snapshot(run) == before


@pytest.mark.parametrize("key", ["scale", "growth_factor", "_growth_tracker"])
def test_the_state_of_the_gradient_scaler_is_checked_too(run, key):
    scaler = {"scale": 2.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 9, "_growth_tracker": 0}
    last = edit(run / "checkpoints" / "last.ckpt", put("native_amp_scaling_state", value={**scaler, key: -1}))
    with pytest.raises(CheckpointError, match=f"native_amp_scaling_state.{key}"):
        fit(run, 4, last)
    edit(last, put("native_amp_scaling_state", value=scaler))
    assert fit(run, 4, last).current_epoch == 4


def test_what_torch_and_lightning_add_or_leave_out_over_versions_still_resumes(run):
    def change(content):
        content["optimizer_states"][0]["param_groups"][0].pop("decoupled_weight_decay", None)
        content["optimizer_states"][0]["param_groups"][0]["later"] = None
        content["lr_schedulers"][0]["verbose"] = False
        content["loops"]["fit_loop"]["later_loop.state_dict"] = {}
        content["loops"]["fit_loop"].pop("epoch_loop.scheduler_progress")

    assert fit(run, 4, edit(run / "checkpoints" / "last.ckpt", change)).current_epoch == 4
