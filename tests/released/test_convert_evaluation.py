"""The evaluation of an imported model compares with the references that the released trainer compares with."""

import json
import sys
from types import ModuleType

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from r2cmn.build import allow_targets
from r2cmn.data.iu_xray import IUXRayDataModule
from r2cmn.encoder_decoder.transformer import Transformer
from r2cmn.memory import CrossModalMemory
from r2cmn.model import CMN
from r2cmn.module import CMNModule
from r2cmn.released import weights
from r2cmn.released.convert import import_checkpoint
from r2cmn.released.families import R2GENCMN
from r2cmn.types import Hypotheses

pytestmark = [pytest.mark.golden, pytest.mark.realdata, pytest.mark.slow]


class Blind(nn.Module):
    """A trunk with a name that the released code could have, that looks at a few pixels only."""

    def __init__(self, dim):
        super().__init__()
        self.trunk = nn.Module()
        self.trunk.conv1 = nn.Conv2d(3, 4, 1, 64, bias=False)
        self.projection = nn.Sequential(nn.Linear(4, dim), nn.ReLU())

    def forward(self, images):
        return self.projection(torch.cat([self.trunk.conv1(v).flatten(2).transpose(1, 2) for v in images.unbind(1)], 1))


def write_nothing(step, state):
    """Stand in for beam search: every report is empty."""
    num_reports = len(state["position"])
    return Hypotheses(torch.zeros(num_reports, 1, dtype=torch.long), torch.zeros(num_reports))


@pytest.fixture
def imported(tmp_path, iu_xray_dir):
    package = ModuleType("blind_package")
    Blind.__module__, package.Blind = package.__name__, Blind
    sys.modules[package.__name__] = package
    allow_targets(package.__name__)
    model = CMN(Blind(8), CrossModalMemory(8, 6, 2, 4), Transformer(761, 8, 1, 4, 8))
    state = weights.to_theirs(model.state_dict(), weights.sources(model.state_dict(), R2GENCMN, 1))
    content = {"epoch": 1, "state_dict": state, "monitor_best": 0.1}
    torch.save(content, tmp_path / "model_best.pth")
    overrides = ["encoder_decoder.num_heads=4", "memory.num_queried=2", "metrics.meteor=false"]
    trunk = {"_target_": "blind_package.Blind"}
    annotation = iu_xray_dir / "annotation.json"
    import_checkpoint(tmp_path / "model_best.pth", annotation, "iu_xray", tmp_path / "in.ckpt", overrides, trunk)
    return CMNModule.load_from_checkpoint(tmp_path / "in.ckpt", map_location="cpu")


def test_the_references_are_the_recorded_ones(golden_dir, iu_xray_dir, imported):
    """All of val and test, as the metrics were given them: cut at 60 ids, with <unk>."""
    recorded = json.loads((golden_dir / "tokenizer" / "iu_groundtruth_decoded_val_test.json").read_text())
    imported.generation = write_nothing
    data = IUXRayDataModule(iu_xray_dir, batch_size=64, num_workers=0, on_bad_sample="skip")
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    for split, run in (("val", trainer.validate), ("test", trainer.test)):
        run(imported, datamodule=data, verbose=False)
        found = {data.studies[split][index].id: reference for index, _, reference in imported.reports}
        left_out = recorded[split].keys() - found.keys()
        print(f"{split}: {len(found)} references, {len(left_out)} studies without images")
        assert len(found) > 0.99 * len(recorded[split])
        assert found == {study: text for study, text in recorded[split].items() if study in found}
        assert sum("<unk>" in text for text in found.values()) > 50
