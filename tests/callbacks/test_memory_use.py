"""The memory's use in a validation: the numbers of loops over all patches and words, and nothing else is changed."""

import copy
import re
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from r2cmn import CMNModule
from r2cmn.callbacks import MemoryUse
from r2cmn.explain import Alignment, Boxes, VectorUse
from r2cmn.phantom import PhantomDataModule

D, N, THREADS = 16, 24, 2
MEMORY = {"dim": D, "num_vectors": N, "num_queried": 3, "num_threads": THREADS}
MEMORIES = {
    "cross_modal": {"_target_": "r2cmn.memory.CrossModalMemory", **MEMORY},
    "separate": {"_target_": "r2cmn.memory.SeparateMemory", **MEMORY},
    "none": {"_target_": "r2cmn.memory.NoMemory"},
}
BACKBONE = {"_target_": "r2cmn.backbone.Backbone", "name": "test_resnet", "dim": D, "pretrained": False}
ENCODER_DECODER = {
    "_target_": "r2cmn.encoder_decoder.transformer.Transformer", "dim": D, "num_layers": 1, "num_heads": 2,
    "dim_feedforward": 16,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _drawn_once(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("R2CMN_CACHE", str(tmp_path_factory.mktemp("phantoms")))
        yield


@pytest.fixture(autouse=True)
def _own_cache(_drawn_once):
    """Draw the phantoms once for all tests of this file."""


def make(memory="cross_modal", frozen=False, **options):
    images = {"resize": 96, "size": 96, "random_crop": False}
    data = PhantomDataModule(50, side=96, images=images, batch_size=2, num_workers=0, **options)
    torch.manual_seed(0)
    module = CMNModule(
        model=copy.deepcopy(
            {"backbone": {**BACKBONE, "frozen": frozen}, "memory": MEMORIES[memory], "encoder_decoder": ENCODER_DECODER}
        ),
        data=data.describe(),
        generation={"_target_": "r2cmn.generation.BeamSearch", "num_beams": 2, "max_length": 6},
        metrics={"_target_": "r2cmn.metrics.report.ReportMetrics", "meteor": False, "clinical": False},
        optimizer={"_target_": "torch.optim.Adam", "lr": 1e-2},
    )
    for name, value in module.model.memory.named_parameters():
        if name.endswith("matrix"):
            torch.nn.init.normal_(value)  # as started, all vectors answer nearly alike
    return data, module


def make_trainer(*callbacks, **options):
    return pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, callbacks=[*callbacks],
        enable_model_summary=False, max_epochs=1, **options,
    )  # fmt: skip


def validate(data, module, per_thread=True, **options):
    """Return what is logged of the memory, without its prefix."""
    (scores,) = make_trainer(MemoryUse(per_thread), **options).validate(module, datamodule=data, verbose=False)
    return {name.removeprefix("val/memory/"): value for name, value in scores.items() if "memory" in name}


@torch.no_grad()
def by_hand(data, module):
    """Give every patch and every word of every reference, one study at a time, to the accumulators."""
    memory, embed = module.model.memory, module.model.encoder_decoder.embed
    use = VectorUse(THREADS, N, memory.visual_network is memory.textual_network)
    tokens = [module.tokenizer.encode(study.report)[:-1] for study in data.studies["val"]]
    boxes = Boxes(data.groundings("val"), tokens, 2)
    naming = memory.textual_network.queried(embed(boxes.tokens[:, None], boxes.positions))
    alignment = Alignment(boxes, naming, N)
    for batch in data.val_dataloader():
        for index, images in zip(batch.index, batch.images, strict=True):
            patches = memory.visual_network.queried(module.model.backbone(images[None]))
            words = embed(torch.tensor([tokens[index]]), torch.zeros(1, dtype=torch.int64))[
                :, 1:
            ]  # without the opening
            use.update(patches, memory.textual_network.queried(words))
            alignment.update(index[None], patches)
    return use.compute(), alignment.compute()


@pytest.mark.parametrize("options", [{}, {"cache_features": "float32", "frozen": True}], ids=["images", "features"])
def test_the_numbers_are_those_of_every_patch_and_word(options):
    data, module = make(**options)
    found = validate(data, module)
    module.eval()
    use, alignment = by_hand(data, module)
    assert found == pytest.approx(use | alignment, abs=1e-6)
    assert found["alignment_boxes"] > 5
    without = validate(data, module, per_thread=False)
    assert without == {name: value for name, value in found.items() if not name.startswith("thread_")}
    assert len(without) < len(found)
    assert found["share_patches"] < 1, "else the test could not tell one side from the other"
    assert found["share_patches"] != found["share_words"]
    assert {name for name in found if name.startswith("thread_1/")} == {
        f"thread_1/{name}" for name in (*use, "alignment") if "/" not in name
    }


def test_an_objective_that_does_not_ask_the_model_is_no_hindrance(monkeypatch):
    data, module = make()
    expected = validate(data, module)
    monkeypatch.setattr(module, "objective", lambda *_: torch.zeros(()))
    assert validate(data, module) == pytest.approx(expected, abs=1e-6)


def test_the_keys_are_those_of_the_document():
    page = (Path(__file__).parents[2] / "docs" / "ablate" / "memory.md").read_text()
    named = set(re.findall(r"^\| `val/memory/(\w+)` \|", page, flags=re.M))
    assert named == {name for name in validate(*make()) if "/" not in name}


def test_memories_of_their_own_have_no_overlap_and_base_has_nothing():
    data, module = make("separate")
    found = validate(data, module)
    assert found == pytest.approx(by_hand(data, module.eval())[0], abs=1e-6)
    assert {name.split("/")[-1] for name in found} == {
        "share_patches", "share_words", "entropy_patches", "entropy_words"
    }  # fmt: skip
    assert validate(*make("none")) == {}


def test_training_with_it_is_bit_equal_to_training_without(tmp_path):
    found = []
    for callbacks in ([MemoryUse()], []):
        data, module = make()
        trainer = make_trainer(*callbacks, default_root_dir=tmp_path, limit_train_batches=4, num_sanity_val_steps=1)
        torch.manual_seed(1)
        trainer.fit(module, datamodule=data)
        logged = {k: v.item() for k, v in trainer.callback_metrics.items()}
        hooks = [len(part._forward_hooks) for part in module.modules()]
        found.append((logged, module.reports, module.state_dict(), sum(hooks)))
    (with_it, reports, weights, hooks), (without, other_reports, other_weights, _) = found
    assert {k: v for k, v in with_it.items() if "memory" not in k} == without
    assert any("memory" in name for name in with_it)
    assert reports == other_reports
    assert all(torch.equal(value, other_weights[name]) for name, value in weights.items())
    assert hooks == 0, "no hook is left behind"


def test_a_validation_that_fails_leaves_no_hook_behind(monkeypatch):
    data, module = make()
    monkeypatch.setattr(module, "_score", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        validate(data, module)
    assert not any(part._forward_hooks for part in module.modules())


@pytest.mark.slow
def test_two_processes_count_what_one_does():
    data, module = make()
    assert len(data.studies["val"]) == 5, "an odd number: one study is repeated to fill up, and must not count twice"
    alone = validate(data, module)
    both = validate(data, module, strategy="ddp_spawn", devices=2)
    assert both == pytest.approx(alone, abs=1e-6)
    assert both["alignment_boxes"] == alone["alignment_boxes"] > 5
