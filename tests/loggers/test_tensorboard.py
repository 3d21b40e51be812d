"""TensorBoard where it is not installed."""

import pytest
from omegaconf import OmegaConf

from r2cmn.config import ConfigError
from r2cmn.loggers import TensorBoard
from r2cmn.runs.trainer import make_trainer


def test_tensorboard_that_is_not_installed_is_one_sentence(tmp_path, monkeypatch):
    import lightning_fabric.loggers.tensorboard as module

    monkeypatch.setattr(module, "_TENSORBOARD_AVAILABLE", False)
    monkeypatch.setattr(module, "_TENSORBOARDX_AVAILABLE", False)
    sentence = r"TensorBoard is not installed: pip install 'r2cmn\[tensorboard\]'$"
    with pytest.raises(ValueError, match=sentence):
        TensorBoard(str(tmp_path))
    config = OmegaConf.create({"trainer": {"_target_": "pytorch_lightning.Trainer"}, "callbacks": {}, "logger": {
        "tensorboard": {"_target_": "r2cmn.loggers.TensorBoard", "save_dir": str(tmp_path)}}})  # fmt: skip
    with pytest.raises(ConfigError, match=sentence):
        make_trainer(config, tmp_path, "public")
