"""Recordings of public code: one folder a case, with weights, inputs, outputs and gradients.

A module with a table `SYSTEMS` gets each of its tests with a fixture `recording` once for every folder whose
`caption_model` is in the table. The table says how our model is built, and which of our weights are which of theirs.
"""

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from r2cmn.generation import BeamSearch, Greedy
from r2cmn.memory import NoMemory
from r2cmn.model import CMN
from r2cmn.objectives import CrossEntropy
from r2cmn.types import Batch

GOLDEN = Path(os.environ.get("R2CMN_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "golden"
STATES = {"h": ("hidden", "language_hidden"), "c": ("cell", "language_cell")}


def pytest_generate_tests(metafunc):
    if "recording" not in metafunc.fixturenames or not hasattr(metafunc.module, "SYSTEMS"):
        return
    found = {path.parent: json.loads(path.read_text()).get("caption_model") for path in GOLDEN.glob("*/meta.json")}
    folders = sorted(folder for folder, name in found.items() if name in metafunc.module.SYSTEMS)
    metafunc.parametrize("recording", folders or [None], ids=lambda path: path.name if path else "none", indirect=True)


@pytest.fixture
def recording(request):
    if request.param is None:
        pytest.skip(f"no recordings at {GOLDEN}: set R2CMN_SHARED to the folder that holds golden/")
    return Recording(request.param, request.module.SYSTEMS)


class Recording:
    """A case and our model with its weights.

    SYSTEMS: caption_model -> (make, names, patches). make(options) returns the projection of patches and the
    encoder-decoder; names maps our modules to theirs, several of which are stacked, or our weights to a function of
    theirs; patches is the array that the projection reads.
    """

    def __init__(self, folder, systems):
        self.meta = json.loads((folder / "meta.json").read_text())
        self.arrays = {name: torch.from_numpy(value) for name, value in np.load(folder / "arrays.npz").items()}
        self.ids = self.arrays["ids"].long()
        make, self.names, self.patches = systems[self.meta["caption_model"]]
        projection, encoder_decoder = make(self.meta["options"])
        self.model = CMN(projection, NoMemory(), encoder_decoder)
        self.fresh = {name: value.clone() for name, value in self.model.state_dict().items()}
        saved = torch.load(folder / "model_best.pth", weights_only=True)["state_dict"]
        self.model.load_state_dict(self.translate(saved))
        assert sum(p.numel() for p in self.model.parameters()) == self.meta["n_params"]
        gradients = np.load(folder / "grads.npz")
        self.gradients = self.translate(
            {name.removeprefix("eval/g:"): torch.from_numpy(gradients[name]) for name in gradients.files}
        )
        dtype = self.arrays["logprobs"].dtype
        self.model = self.model.to(dtype).eval()
        self.exact = {"rtol": 0, "atol": 1e-10 if dtype == torch.float64 else 1e-5}

    def translate(self, theirs):
        """Name tensors of their modules as ours; linear, so it also translates gradients."""
        ours = {}
        for name, source in self.names.items():
            if callable(source):
                ours[name] = source(theirs)
                continue
            parts = [source] if isinstance(source, str) else source
            for kind in ("weight", "bias"):
                if f"{parts[0]}.{kind}" in theirs:
                    ours[f"{name}.{kind}"] = torch.cat([theirs[f"{part}.{kind}"] for part in parts])
        return ours

    def inputs(self):
        dtype = next(self.model.parameters()).dtype
        return {name: self.arrays[name].to(dtype) for name in ("att_feats", "fc_feats")}

    def encode(self, inputs, num_patches=None):
        """Read the features of patches, all or the first few, and the free mean feature."""
        patches = inputs[self.patches]
        patches = self.model.backbone(patches if patches.dim() == 3 else patches[:, None])[:, :num_patches]
        features = [inputs["fc_feats"][:, None]] if self.model.reads_features else []
        return self.model.encoder_decoder.encode(patches, *features)

    def read(self, inputs):
        return self.model.decode(self.ids[:, :-1], self.encode(inputs))

    @torch.no_grad()
    def check_log_probabilities(self):
        torch.testing.assert_close(self.read(self.inputs()), self.arrays["logprobs"], **self.exact)
        self.model.float()
        torch.testing.assert_close(
            self.read(self.inputs()).double(), self.arrays["logprobs"].double(), rtol=0, atol=1e-5
        )

    def check_loss_and_gradients(self):
        inputs = {name: value.requires_grad_() for name, value in self.inputs().items()}
        batch = Batch(torch.arange(len(self.ids)), self.arrays["att_feats"], self.ids)
        loss = CrossEntropy()(SimpleNamespace(model=lambda images, tokens: self.read(inputs)), batch)
        assert loss.item() == pytest.approx(self.meta["loss"], rel=0, abs=self.exact["atol"])
        loss.backward()
        ours = {name: parameter.grad for name, parameter in self.model.named_parameters()}
        ours |= {f"grad_{name}": value.grad for name, value in inputs.items()}
        recorded = self.gradients | {name: self.arrays[name] for name in ("grad_att_feats", "grad_fc_feats")}
        assert ours.keys() == recorded.keys()
        for name, gradient in recorded.items():
            found = torch.zeros_like(gradient) if ours[name] is None else ours[name]  # Show and Tell reads no patches
            assert (found - gradient).norm() <= 1e-5 * gradient.norm() + 1e-12, name

    @torch.no_grad()
    def check_written_reports(self):
        length = self.meta["options"]["max_length"]
        beams = [int(name[4:-4]) for name in self.arrays if re.fullmatch(r"beam\d+_ids", name)]
        assert {2, 3} <= set(beams)
        for dtype in {self.arrays["logprobs"].dtype, torch.float32}:
            self.model.to(dtype)
            start = self.model.start(self.encode(self.inputs()))
            found = Greedy(length)(self.model.step, start)
            assert torch.equal(found.tokens, self.arrays["greedy_ids"].long())
            for number in beams:
                found = BeamSearch(number, length)(self.model.step, start)
                assert torch.equal(found.tokens, self.arrays[f"beam{number}_ids"].long())
                best = self.arrays[f"beam{number}_all_p"].max(1).values
                tolerance = 1e-10 if dtype == torch.float64 else 1e-5 * length
                torch.testing.assert_close(found.scores.to(best), best, rtol=0, atol=tolerance)

    @torch.no_grad()
    def check_states(self):
        """Compare hidden state and content after the image, if it is read as a word, and after every word."""
        state = self.model.start(self.encode(self.inputs()))
        states = [state]
        for tokens in self.ids[:, :-1].unbind(1):
            _, state = self.model.step(tokens, state)
            states.append(state)
        for kind, keys in STATES.items():
            for layer, recorded in enumerate(self.arrays[kind]):
                found = torch.stack([state[keys[layer]] for state in states[-len(recorded) :]])
                torch.testing.assert_close(found.to(recorded), recorded, rtol=0, atol=1e-5)

    @torch.no_grad()
    def check_attention(self):
        """Compare attention weights, and the log-probabilities for the first n patches of each study."""
        words = self.model.encoder_decoder.embed(self.ids[:, :-1], torch.zeros(1))
        outputs, weights = self.model.encoder_decoder.unroll(words, self.encode(self.inputs()))
        torch.testing.assert_close(weights, self.arrays["attention"], **self.exact)
        assert len(self.arrays["att_masks"].sum(1).unique()) > 1
        for study, num_patches in enumerate(self.arrays["att_masks"].sum(1).int().tolist()):
            alone = {name: value[study : study + 1] for name, value in self.inputs().items()}
            log_p = self.model.decode(self.ids[study : study + 1, :-1], self.encode(alone, num_patches))
            torch.testing.assert_close(log_p[0], self.arrays["logprobs_att_masked"][study], **self.exact)
        return outputs

    def check_initialization(self):
        """Compare the deviation of each large weight before it was set, with a recorded one of their class."""
        for name, source in self.names.items():
            if isinstance(source, str):
                mean, deviation, *_ = self.meta["init_stats"][f"{source}.weight"]
                value = self.fresh[f"{name}.weight"]
                if value.numel() >= 500:
                    assert value.std().item() == pytest.approx(deviation, rel=0.15), name
                    assert value.mean().item() == pytest.approx(mean, abs=0.15 * deviation), name
