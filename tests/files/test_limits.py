"""Numbers that no machine can hold are refused before anything is built, and the message names their key."""

import math
from pathlib import Path

import pytest
import torch

from r2cmn.build import DescriptionError, build
from r2cmn.checkpoints import CheckpointError, read_checkpoint
from r2cmn.config import check, compose
from r2cmn.files import limits
from r2cmn.files.limits import MAX_NUMBER, find_excess

HUGE = 10**12


@pytest.mark.parametrize(
    ("values", "is_part", "fault"),
    [
        ({"num_layers": 64, "dim": 8192, "num_vectors": 10**6, "seed": 2**32 - 1}, True, None),
        ({"max_epochs": HUGE, "patience": HUGE, "T_max": HUGE}, False, None),
        ({"text": {"words": [HUGE]}, "annotations": {"num_layers": HUGE}}, True, None),
        ({"a": {"num_layers": 65}}, False, "x.a.num_layers is 65, but at most 64 is possible"),
        ({"hidden_dim": 8193}, False, "x.hidden_dim is 8193, but at most 8,192 is possible"),
        ({"num_anything": HUGE}, False, f"x.num_anything is {HUGE}, but at most 1,024 is possible"),
        ({"devices": [0, 10**400]}, False, "x.devices.1 is 10**18 or more, but at most 1,024 is possible"),
        ({"window": MAX_NUMBER + 1}, False, None),
        ({"window": -MAX_NUMBER - 1}, True, "x.window is -1000001, but at most 1,000,000 is possible"),
        ({"betas": (0.9, math.nan)}, False, "x.betas.1 is nan, but must be a finite number"),
        ({"min_delta": -math.inf}, False, "x.min_delta is -inf, but must be a finite number"),
        ({"dim": 1e300}, False, "x.dim is 10**18 or more, but at most 8,192 is possible"),
    ],
)
def test_the_first_number_that_is_too_large_is_named(values, is_part, fault):
    assert find_excess(values, "x", is_part) == fault


@pytest.mark.parametrize(
    "override",
    [
        f"encoder_decoder.num_layers={HUGE}", f"encoder_decoder.num_heads={HUGE}", f"memory.num_vectors={HUGE}",
        f"memory.num_threads={HUGE}", f"memory.num_queried={HUGE}", f"encoder_decoder.dim_feedforward={HUGE}",
        "generation.num_beams=65", f"generation.no_repeat_ngram={HUGE}", "data.text.max_length=1025",
        f"data.images.resize={HUGE}", f"data.images.size={HUGE}", f"data.images.num_views={HUGE}",
        f"data.batch_size={HUGE}", f"data.num_workers={HUGE}", f"data.num_studies={HUGE}", f"data.side={HUGE}",
        f"data.text.threshold={HUGE}", f"trainer.devices={HUGE}", f"trainer.num_nodes={HUGE}", "optimizer.lr=inf",
        "optimizer.lr=nan", "optimizer.weight_decay=inf", "encoder_decoder.dropout=nan",
        "trainer.gradient_clip_val=inf", "callbacks.early_stopping.min_delta=inf", "trainer.limit_train_batches=nan",
    ],
)  # fmt: skip
def test_a_configuration_is_refused_by_key(override):
    key = override.partition("=")[0]
    with pytest.raises(ValueError, match=rf"^{key.replace('.', '[.]')} is "):
        check(compose([f"++{override}"]))


def test_a_checkpoint_and_a_description_are_refused_before_anything_is_built(tmp_path):
    description = {"_target_": "r2cmn.encoder_decoder.transformer.Transformer", "vocabulary_size": 9, "num_layers": 65}
    with pytest.raises(DescriptionError, match=r"^encoder_decoder\.num_layers is 65"):
        build(description, "encoder_decoder")
    path = tmp_path / "x.ckpt"
    torch.save({"hyper_parameters": {"model": {"encoder_decoder": description}}, "state_dict": {}}, path)
    with pytest.raises(CheckpointError, match=r"x\.ckpt: hyper_parameters\.model\.encoder_decoder\.num_layers is 65"):
        read_checkpoint(path)


def test_every_limit_is_documented():
    constants = {name: value for name, value in vars(limits).items() if name.startswith("MAX_")}
    page = (Path(__file__).parents[2] / "docs" / "train" / "limits.md").read_text(encoding="utf-8")
    assert len(constants) > 10
    assert [name for name, value in constants.items() if f"| `{name}` | {value:,} |" not in page] == []
