"""The released trainer's files are opened as data: one numpy number passes, nothing else does."""

import pickle
import zipfile
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from r2cmn.released.files import ReleasedFileError, read_released

GROUP = {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0, "amsgrad": True, "params": [0]}
ADAM = {"param_groups": [GROUP], "state": {0: {"step": torch.tensor(2.0), "exp_avg": torch.ones(2)}}}
CONTENT = {"epoch": 3, "state_dict": {"a": torch.ones(2)}, "monitor_best": 0.5, "optimizer": ADAM}


@pytest.mark.parametrize("best", [0.5, 0, np.float64(0.5), np.float32(0.5)])
def test_the_best_score_may_be_a_numpy_number(tmp_path, best):
    torch.save({**CONTENT, "monitor_best": best}, tmp_path / "model_best.pth")
    file = read_released(tmp_path / "model_best.pth")
    assert type(file.best) is type(best)
    assert file.best == best
    assert file.notes == ()


class _OlderPickler(pickle._Pickler):
    """Writes the name that numpy 1 had for what makes its numbers (the pickler written in Python lets one do so)."""

    def save(self, obj, save_persistent_id=True):
        if getattr(obj, "__name__", "") == "scalar":
            self.write(pickle.GLOBAL + b"numpy.core.multiarray\nscalar\n")
            self.memoize(obj)
        else:
            super().save(obj, save_persistent_id)


def test_files_of_older_numpy_are_read(tmp_path):
    file = tmp_path / "model_best.pth"
    older = SimpleNamespace(**{**vars(pickle), "Pickler": _OlderPickler})
    torch.save({**CONTENT, "monitor_best": np.float64(0.5)}, file, pickle_module=older)
    with zipfile.ZipFile(file) as archive:
        assert b"numpy.core.multiarray" in archive.read("model_best/data.pkl")
    assert read_released(file).best == 0.5


@pytest.mark.parametrize(
    "best", [np.ones(2), np.array(None, dtype=object), np.int64(1), np.complex128(1), Fraction(1, 2), "0.5", None]
)
def test_nothing_else_passes(tmp_path, best):
    torch.save({**CONTENT, "monitor_best": best}, tmp_path / "model_best.pth")
    with pytest.raises(ReleasedFileError, match=r"holds more than plain data|'monitor_best' is missing"):
        read_released(tmp_path / "model_best.pth")


def test_other_files_are_refused_with_a_sentence(tmp_path):
    file = tmp_path / "model.pth"
    with pytest.raises(ReleasedFileError, match="there is no file"):
        read_released(file)
    file.write_bytes(b"no file of torch")
    with pytest.raises(ReleasedFileError, match="is torn or not a file of torch"):
        read_released(file)
    torch.save({**CONTENT, "state_dict": None}, file)
    with pytest.raises(ReleasedFileError, match="'state_dict' is missing or not as"):
        read_released(file)
    torch.save({"pytorch-lightning_version": "2.6"}, file)
    with pytest.raises(ReleasedFileError, match="a checkpoint of Lightning"):
        read_released(file)


def test_unknown_keys_are_named_in_a_note(tmp_path):
    torch.save({**CONTENT, "lr_scheduler": {}, "arch": "BaseCMNModel"}, tmp_path / "model_best.pth")
    [note] = read_released(tmp_path / "model_best.pth").notes
    assert "'lr_scheduler'" in note
    assert "'arch'" in note


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_converted_with_a_note(tmp_path, dtype):
    half = {"a": torch.tensor([0.1, 2.0]).to(dtype), "count": torch.tensor(3)}
    torch.save({**CONTENT, "state_dict": half}, tmp_path / "model_best.pth")
    file = read_released(tmp_path / "model_best.pth")
    assert file.weights["a"].dtype == torch.float32
    assert torch.equal(file.weights["a"], half["a"].float())
    assert torch.equal(file.weights["count"], half["count"])
    assert [str(dtype) in note for note in file.notes] == [True]


@pytest.mark.parametrize("wrapped", [True, False])
def test_weights_alone_are_read_with_a_note(tmp_path, wrapped):
    state = {"module.a": torch.ones(2)}
    torch.save({"state_dict": state} if wrapped else state, tmp_path / "weights.pth")
    file = read_released(tmp_path / "weights.pth")
    assert list(file.weights) == ["a"]
    assert (file.prefix, file.epoch, file.best, file.optimizer) == ("module.", 0, 0, None)
    assert [key in note for key, note in zip(("'epoch'", "'monitor_best'"), file.notes, strict=True)] == [True, True]


@pytest.mark.parametrize("content", [[], {}, 3, torch.ones(2), {"a": 1}, {"state_dict": {"a": 1}}, {"state_dict": {1: torch.ones(1)}}])  # fmt: skip # noqa: E501
def test_what_holds_no_weights_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(ReleasedFileError, match=r"weights.pth is no file of the released trainer"):
        read_released(tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("epoch", value) for value in (-1, 2**70, True, 1.5)),
        *(("optimizer", value) for value in ({}, [], {**ADAM, "param_groups": []}, {**ADAM, "state": [1]})),
        *(("optimizer", {**ADAM, "state": {0: value}}) for value in ({}, 1, {"step": [1]}, {"step": 1, "exp_avg": 2})),
        *(("optimizer", {**ADAM, "param_groups": [value]}) for value in (None, {**GROUP, "params": 3})),
        *(("optimizer", {**ADAM, "param_groups": [{**GROUP, key: float("nan")}]}) for key in GROUP),
    ],
)
def test_a_value_that_no_trainer_writes_is_named(tmp_path, key, value):
    torch.save({**CONTENT, key: value}, tmp_path / "model_best.pth")
    with pytest.raises(ReleasedFileError, match=f"its '{key}' is missing or not as") as error:
        read_released(tmp_path / "model_best.pth")
    assert "\n" not in str(error.value)
