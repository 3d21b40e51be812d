"""A run that W&B kept offline: stopped after two rows, and continued."""

import json
import os

import pytest
import torch
from PIL import Image

from r2cmn.loggers import Wandb

TRIAL = {"fingerprint": "f00d", "parts": {"data": "da7a"}, "version": "0.1.0", "commit": None,
         "parameters": {"matrix": 8, "projections": 4}, "overrides": ["data.dir=/secret"]}  # fmt: skip


def log_rows(logger, folder):
    logger.log_hyperparams({"memory": {"num_vectors": 8}, "parameters": {"total": 30}})
    logger.log_metrics({"val/loss": 2.0}, step=3)
    columns = ["study", "images"]
    import wandb

    logger.log_table("val/reports", columns=columns, data=[[0, wandb.Image(Image.new("L", (8, 4)))]], step=3)


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """A run of two rows that was stopped, and its continuation, which ended well."""
    pytest.importorskip("wandb")
    folder = tmp_path_factory.mktemp("offline")
    (folder / "trial.json").write_text(json.dumps(TRIAL))
    torch.save(
        {"pytorch-lightning_version": "2.0", "state_dict": {}, "hyper_parameters": {"model": {}, "data": {}}},
        folder / "best.ckpt",
    )
    (folder / "predictions.csv").write_text("id,generated,reference,reference_full\na,g,canary,canary\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("WANDB_DATA_DIR", raising=False)
        options = {"mode": "offline", "group": "sweep_1", "job_type": "train", "tags": ["memory=none"], "name": "#0 a"}
        first = Wandb(str(folder), "non_commercial", **options)
        log_rows(first, folder)
        first.finish(1)
        (folder / "result.json").write_text('{"objective": 0.5, "speed": {"test_studies_per_second": 4}}')
        second = Wandb(str(folder), "non_commercial", continued=True, artifacts=True, **options)
        log_rows(second, folder)
        second.finish(0, str(folder / "best.ckpt"))
        assert "WANDB_DATA_DIR" not in os.environ
    return folder
