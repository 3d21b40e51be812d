"""The notebook draws its figures for a run on phantoms."""

import json
from pathlib import Path

import pytest
import pytorch_lightning as pl

from r2cmn import CMNModule, PhantomDataModule

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "explain.ipynb"


def cells():
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_defines_nothing_and_holds_no_output():
    for cell in cells():
        source = "".join(cell["source"])
        assert "def " not in source
        assert "class " not in source
        assert not cell["outputs"]
        assert cell["execution_count"] is None


def save_run(folder):
    """Write what the notebook needs of a run: a checkpoint, of a model that was not trained, and the result."""
    data = PhantomDataModule(num_studies=40, images={"resize": 64, "size": 64})
    parts = {
        "backbone": {"_target_": "r2cmn.backbone.Backbone", "name": "test_resnet", "dim": 16, "pretrained": False},
        "memory": {"_target_": "r2cmn.memory.CrossModalMemory", "dim": 16, "num_vectors": 32, "num_queried": 8},
        "encoder_decoder": {"_target_": "r2cmn.encoder_decoder.transformer.Transformer", "dim": 16, "num_heads": 2},
    }
    data.setup()
    module = CMNModule.for_data(parts, data)
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "result.json").write_text("{}")
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(folder / "checkpoints" / "best.ckpt")


@pytest.mark.slow
def test_the_notebook_draws_its_figures(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="pip install nbclient ipykernel")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("sklearn", reason="pip install 'r2cmn[explain]'")
    monkeypatch.setenv("R2CMN_CACHE", str(tmp_path / "cache"))
    save_run(tmp_path / "runs" / "one")
    (tmp_path / "notebooks").mkdir()
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=170, resources={"metadata": {"path": tmp_path / "notebooks"}})
    client.execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert len([output for output in outputs if "image/png" in output.get("data", {})]) == 4
