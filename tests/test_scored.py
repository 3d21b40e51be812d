"""Scores are those of a whole split, or of the batches to which the trainer is limited."""

import pytest
import pytorch_lightning as pl
from torch.utils.data import DataLoader, DistributedSampler

from r2cmn import CMNModule, compose
from r2cmn.config import plain
from r2cmn.data.datamodule import ReportDataModule

SMALL = [
    "dim=16", "memory.num_vectors=8", "memory.num_queried=2", "memory.num_threads=2", "encoder_decoder.num_layers=1",
    "encoder_decoder.num_heads=2", "backbone.pretrained=false",
]  # fmt: skip


class HalfData(ReportDataModule):
    """Gives each split as one of two processes gets it."""

    def _loader(self, split):
        whole = super()._loader(split)
        sampler = DistributedSampler(whole.dataset, num_replicas=2, rank=0, shuffle=False)
        return DataLoader(whole.dataset, batch_size=2, sampler=sampler, collate_fn=whole.collate_fn)


def run(dir, data_class, stage, **options):
    data = data_class(
        dir, text={"threshold": 1, "max_length": 8}, images={"resize": 40, "size": 32}, batch_size=2, num_workers=0
    )
    config = compose(SMALL)
    model = {name: plain(config[name]) for name in ("backbone", "memory", "encoder_decoder")}
    metrics = {"_target_": "r2cmn.metrics.report.ReportMetrics", "meteor": False}
    module = CMNModule.for_data(model, data, metrics=metrics, generation={"_target_": "r2cmn.generation.BeamSearch"})
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, **options,
    )  # fmt: skip
    getattr(trainer, stage)(module, datamodule=data)
    return len(module.reports)


@pytest.mark.parametrize(("stage", "split"), [("test", "test"), ("validate", "val")])
def test_a_part_of_a_split_is_refused(tiny_dataset, stage, split):
    with pytest.raises(ValueError, match=f"2 of 3 studies of '{split}' were scored"):
        run(tiny_dataset, HalfData, stage)


@pytest.mark.parametrize(
    ("options", "number"),
    [({}, 3), ({"limit_test_batches": 1}, 2), ({"limit_test_batches": 0.5}, 2), ({"fast_dev_run": True}, 2)],
)
def test_a_whole_split_or_what_the_trainer_is_limited_to_is_accepted(tiny_dataset, options, number):
    assert run(tiny_dataset, ReportDataModule, "test", **options) == number
