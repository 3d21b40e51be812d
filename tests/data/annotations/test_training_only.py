"""Of the reports, only those of the training split enter a module, and with it a checkpoint."""

import json

import pytest

from r2cmn import CMNModule, ReportDataModule, compose
from r2cmn.config import plain
from r2cmn.groups import MODEL

SMALL = ["dim=16", "metrics.meteor=false", "metrics.clinical=false"]
SYSTEMS = [
    ("coatt", "tags_and_words"), ("hrgr", "reinforce_hrgr"), ("cmas_rl", "imitation"), ("base", "self_critical")
]  # fmt: skip


def described(folder, model, objective):
    data = ReportDataModule(folder, text={"threshold": 1}, images={"resize": 40, "size": 32}, batch_size=2)
    config = compose([f"model={model}", f"objective={objective}", *SMALL])
    parts = {name: plain(config[name]) for name in ("objective", "metrics")}
    return CMNModule.for_data({name: plain(config[name]) for name in MODEL}, data, **parts).hparams["data"]


@pytest.mark.parametrize(("model", "objective"), SYSTEMS)
def test_other_reports_to_validate_and_test_change_nothing(tiny_dataset, model, objective):
    before = described(tiny_dataset, model, objective)
    path = tiny_dataset / "annotation.json"
    content = json.loads(path.read_text())
    for split in ("val", "test"):
        for entry in content[split]:
            entry["report"] = "A zyxwv mass is seen. A zyxwv mass is seen. The heart is enlarged."
    path.write_text(json.dumps(content))
    after = described(tiny_dataset, model, objective)
    assert after == before
    assert "zyxwv" not in str(after)
    for entry in content["train"]:
        entry["report"] += " A zyxwv mass is seen."
    path.write_text(json.dumps(content))
    assert "zyxwv" in str(described(tiny_dataset, model, objective))
