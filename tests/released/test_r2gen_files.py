"""Recorded files of R2Gen, imported as a user would: the same reports, the same file back, the same start."""

import importlib.util
import itertools
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from r2cmn.build import allow_targets
from r2cmn.generation import BeamSearch, Greedy
from r2cmn.memory import NoMemory
from r2cmn.model import CMN
from r2cmn.module import CMNModule
from r2cmn.released.convert import export_checkpoint, import_checkpoint
from r2cmn.released.families import R2GEN
from r2cmn.released.init import Released

pytestmark = pytest.mark.golden
RECORDINGS = "r2gen_*"


def load_parity():
    """Return the module that rebuilds a recorded model."""
    path = Path(__file__).parents[1] / "encoder_decoder" / "test_r2gen_parity.py"
    spec = importlib.util.spec_from_file_location("r2gen_parity", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_annotation(path, num_words):
    """Reports with as many different words, the full stop and `<unk>` included."""
    words = ["".join(pair) for pair in itertools.islice(itertools.product("abcdefgh", repeat=2), num_words - 2)]
    path.write_text(json.dumps({"train": [{"report": " ".join(words) + "."}] * 3}))
    return path


@pytest.fixture(scope="module")
def imported(golden_case, golden_dir, tmp_path_factory):
    parity, a = load_parity(), golden_case.meta["args"]

    class MicroBackbone(parity.Images):
        def __init__(self, dim):
            super().__init__(parity.micro_network(golden_dir), a["d_vf"], dim)

    package = ModuleType("r2gen_package")
    MicroBackbone.__module__, MicroBackbone.__qualname__ = package.__name__, "MicroBackbone"
    package.MicroBackbone = MicroBackbone
    sys.modules[package.__name__] = package
    allow_targets(package.__name__)
    folder = tmp_path_factory.mktemp("imported")
    annotation = write_annotation(folder / "annotation.json", golden_case.meta["sizes"]["V"])
    overrides = [
        f"encoder_decoder.num_heads={a['num_heads']}", f"encoder_decoder.num_memory_heads={a['rm_num_heads']}",
        f"data.text.max_length={a['max_seq_length']}", "data.text.threshold=3",
    ]  # fmt: skip
    trunk = {"_target_": "r2gen_package.MicroBackbone"}
    done = import_checkpoint(golden_case.path, annotation, a["dataset_name"], folder / "in.ckpt", overrides, trunk)
    module = CMNModule.load_from_checkpoint(folder / "in.ckpt", map_location="cpu").eval()
    return SimpleNamespace(folder=folder, module=module, done=done, parity=parity)


def test_the_recorded_file_goes_there_and_back_bit_equal(golden_case, imported):
    export_checkpoint(imported.folder / "in.ckpt", imported.folder / "back.pth")
    before, after = (torch.load(path, weights_only=True) for path in (golden_case.path, imported.folder / "back.pth"))
    assert list(before) == list(after)
    assert list(before["state_dict"]) == list(after["state_dict"]) == list(golden_case.meta["state_dict_keys"])
    for key, value in before["state_dict"].items():
        assert value.dtype == after["state_dict"][key].dtype, key
        assert value.numpy().tobytes() == after["state_dict"][key].numpy().tobytes(), key
    assert {key: value for key, value in before.items() if key != "state_dict"} == {
        key: value for key, value in after.items() if key != "state_dict"
    }


def test_every_key_is_used_and_what_is_missing_is_noted(golden_case, imported):
    assert list(imported.done.keys) == list(golden_case.meta["state_dict_keys"])
    for key in golden_case.meta["omitted_from_state_dict"]:
        assert sum(f"'{key}'" in note for note in imported.done.notes) == 1


def test_the_recorded_reports_from_an_imported_file(golden_case, imported):
    case = SimpleNamespace(arrays=golden_case.arrays, dtype=torch.float32)
    images, length = imported.parity.batch(case, "img").images, golden_case.meta["args"]["max_seq_length"]
    for name, generation in (("greedy", Greedy(length)), ("beam3", BeamSearch(3, length))):
        imported.module.generation = generation
        recorded = golden_case.arrays[f"img/{name}_ids"].long()
        found = imported.module.write(images).tokens
        assert torch.equal(nn.functional.pad(found, (0, recorded.shape[1] - found.shape[1])), recorded), name


def test_the_released_start(golden_case, golden_dir, imported):
    """Which biases start alike, which numbers are constant, and the deviation of large weights."""
    a, recorded = golden_case.meta["args"], golden_case.meta["init_stats"]
    images = imported.parity.Images(imported.parity.micro_network(golden_dir), a["d_vf"], a["d_model"])
    model = CMN(images, NoMemory(), imported.parity.encoder_decoder(golden_case.meta))
    Released()(model)
    parameters = dict(model.named_parameters())
    ours = {key: parameters[R2GEN.names(a["num_layers"])[f"encoder_decoder.{key}"]] for key in recorded}
    for key, (mean, deviation, _, _, shape) in recorded.items():
        value = ours[key]
        assert list(value.shape) == shape, key
        if deviation < 1e-6:
            assert value.unique().tolist() == [pytest.approx(mean)], key
        elif value.numel() >= 500:
            assert value.std().item() == pytest.approx(deviation, rel=0.15), key
    biases = [key for key, (_, deviation, *_) in recorded.items() if key.endswith(".bias") and deviation > 1e-6]
    assert len(biases) > 20
    for one, other in itertools.combinations(biases, 2):
        if recorded[one][4] == recorded[other][4]:
            assert torch.equal(ours[one], ours[other]) == (recorded[one] == recorded[other]), (one, other)
