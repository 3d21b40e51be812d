"""The released trainer's files are opened as data: one numpy number passes, nothing else does."""

import pickle
import zipfile
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from r2cmn.released.files import read_released
from r2cmn.released.weights import ReleasedFileError

CONTENT = {"epoch": 3, "state_dict": {"a": torch.ones(2)}, "monitor_best": 0.5, "optimizer": {}}


@pytest.mark.parametrize("best", [0.5, 0, np.float64(0.5), np.float32(0.5)])
def test_the_best_score_may_be_a_numpy_number(tmp_path, best):
    torch.save({**CONTENT, "monitor_best": best}, tmp_path / "model_best.pth")
    content = read_released(tmp_path / "model_best.pth")
    assert type(content["monitor_best"]) is type(best)
    assert content["monitor_best"] == best


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
    assert read_released(file)["monitor_best"] == 0.5


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
    with pytest.raises(ReleasedFileError, match="'state_dict' is missing or of another type"):
        read_released(file)
    torch.save({"pytorch-lightning_version": "2.6"}, file)
    with pytest.raises(ReleasedFileError, match="a checkpoint of Lightning"):
        read_released(file)
