"""The files recorded from the released code, imported as a user would: the same reports, and the same file back."""

import importlib.util
import itertools
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from r2cmn.build import allow_targets
from r2cmn.generation import BeamSearch, Greedy
from r2cmn.module import CMNModule
from r2cmn.released.convert import export_checkpoint, import_checkpoint

pytestmark = pytest.mark.golden


def contents(value):
    """Return what compares equal if and only if two files hold the same keys in their order, types and bits."""
    if isinstance(value, Path):
        value = torch.load(value, weights_only=True)
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.numpy().tobytes()
    if isinstance(value, dict):
        return type(value), [(key, contents(each)) for key, each in value.items()]
    return type(value), [contents(each) for each in value] if isinstance(value, list | tuple) else value


@pytest.fixture(scope="module", params=["micro_mimic", "micro_iu"])
def recorded(request, golden_dir, tmp_path_factory):
    """The released file imported as a user would, with the recorded trunk as a class of the test's own."""
    spec = importlib.util.spec_from_file_location("parity_cases", Path(__file__).parents[1] / "test_parity.py")
    parity = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(parity)
    case = parity._Case(golden_dir, request.param)

    class MicroBackbone(type(case.model.backbone)):
        def __init__(self, dim):
            nn.Module.__init__(self)
            self.frozen = False
            self.trunk = parity._Trunk(case.micro.MicroResNet())
            self.projection = nn.Sequential(nn.Linear(case.meta["args"]["d_vf"], dim), nn.ReLU(), nn.Dropout(0.5))

    package = ModuleType("recorded_package")
    MicroBackbone.__module__, MicroBackbone.__qualname__ = package.__name__, "MicroBackbone"
    package.MicroBackbone = MicroBackbone
    sys.modules[package.__name__] = package
    allow_targets(package.__name__)
    folder = tmp_path_factory.mktemp(request.param)
    words = sorted(
        [".", "<unk>", *("".join(pair) for pair in itertools.islice(itertools.product("abcdefg", repeat=2), 38))]
    )
    annotation = folder / "annotation.json"
    report = " ".join(word for word in words if word.isalpha()) + "."
    annotation.write_text(json.dumps({"train": [{"report": report}] * 3}))
    arguments = case.meta["args"]
    overrides = [
        f"encoder_decoder.num_heads={arguments['num_heads']}", f"memory.num_queried={arguments['topk']}",
        f"data.text.max_length={arguments['max_seq_length']}", "data.text.threshold=3",
        f"optimizer.schedule.step_size={arguments['step_size']}",
    ]  # fmt: skip
    source = golden_dir / request.param / "model_best.pth"
    done = import_checkpoint(
        source, annotation, arguments["dataset_name"], folder / "in.ckpt", overrides,
        {"_target_": "recorded_package.MicroBackbone"},
    )  # fmt: skip
    module = CMNModule.load_from_checkpoint(folder / "in.ckpt", map_location="cpu").eval()
    return case, source, folder, module, done


def test_the_recorded_file_goes_there_and_back_bit_equal(recorded):
    case, source, folder, _, done = recorded
    export_checkpoint(folder / "in.ckpt", folder / "back.pth")
    assert contents(source) == contents(folder / "back.pth")
    assert list(done.keys) == list(case.meta["state_dict_keys"])
    assert done.num_moments == sum(map(len, case.meta["optimizer_param_order"]))
    assert done.notes == ()


def test_the_recorded_reports_from_an_imported_file(recorded):
    case, _, _, module, _ = recorded
    with torch.no_grad():
        case.check("logprobs", module.model(case.batch.images, case.read))
    length = case.meta["args"]["max_seq_length"]
    for name, generation in (("greedy", Greedy(length)), ("beam3", BeamSearch(3, length))):
        module.generation = generation
        found = module.write(case.batch.images)
        assert torch.equal(found.tokens, torch.from_numpy(case.arrays[f"{name}_ids"]).long())
        if name == "beam3":
            best = torch.from_numpy(case.arrays["beam3_all_p"]).max(1).values
            difference = (found.scores.double() - best).abs().max().item()
            print(f"{case.meta['case']} imported beam3: scores differ by at most {difference:.1e}")
            assert difference < 1e-4
