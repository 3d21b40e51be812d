"""Graphs of the encoder and of one step: they compute what the model computes, and decode to the same tokens."""

import json
import os
import runpy
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from r2cmn.encoder_decoder.caches import CachedState
from r2cmn.encoder_decoder.fixed import FixedState
from r2cmn.generation import BeamSearch, Greedy
from r2cmn.groups import conf_dir
from r2cmn.sharing.export import DESCRIPTION, ExportError, _encoder, export_onnx, export_torch
from r2cmn.sharing.steps import split

MODELS = sorted(path.stem for path in (conf_dir() / "model").glob("*.yaml"))
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "onnx" / "decode.py"
SIZES = [(1, 1), (2, 3), (3, 2)]
"""Numbers of studies and views; no graph may depend on the ones that it was recorded with."""
CLOSE = {"rtol": 0, "atol": 2e-5}


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def draw(studies, views):
    noise = torch.randn(studies, views, 3, 64, 64, generator=torch.Generator().manual_seed(studies))
    return noise + torch.linspace(-3, 3, studies)[:, None, None, None, None]


# ---- the state of fixed length ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cmn", "m2", "r2gen"])
def test_tables_of_fixed_length_give_the_same_log_probabilities(make, name):
    model = make(name).model
    grown = model.start(model.encode(draw(3, 2)))
    assert isinstance(grown, CachedState)
    fixed = FixedState.empty(grown, 9)
    shapes = {key: value.shape for key, value in fixed.tensors().items()}
    tokens = torch.randint(0, 22, (9, 3))  # with 0, padding, in the middle
    for word in tokens:
        ours, grown = model.step(word, grown)
        theirs, fixed = model.step(word, FixedState.of(fixed.tensors()))
        torch.testing.assert_close(ours, theirs, **CLOSE)
    assert {key: value.shape for key, value in fixed.tensors().items()} == shapes
    assert set(fixed.tensors()) == set(grown)


def test_the_state_of_fixed_length_works_in_a_search(make):
    model = make("cmn").model
    start = model.start(model.encode(draw(3, 2)))
    ours = BeamSearch(3, 9)(model.step, start)
    theirs = BeamSearch(3, 9)(model.step, FixedState.empty(start, 9))
    assert torch.equal(ours.tokens, theirs.tokens)


@pytest.mark.parametrize("name", ["coatt", "adaatt", "topdown", "hrgr"])
def test_a_step_has_no_trunk_whatever_the_encoder_reads(make, name):
    module = make(name)
    steps = split(module.model, 64, 9)
    assert not any("backbone" in key for key in steps.step.state_dict())
    assert any("backbone" in key for key in steps.encoder.state_dict())
    state = module.model.start(module.model.encode(steps.images))
    ours = module.model.step(torch.tensor([3, 0]), state)[0]
    theirs = steps.step(torch.tensor([3, 0]), *steps.encoder(steps.images))[0]
    torch.testing.assert_close(ours, theirs, **CLOSE)


def test_a_step_computes_the_keys_of_the_memory_once(make):
    module = make("cmn")
    steps = split(module.model, 64, 9)
    network = steps.step.model.memory.network
    keys, values = network.kept.get(None, None)
    ours = module.model.memory.network
    assert torch.equal(keys, ours._project_matrix()[0])
    assert torch.equal(values, ours._project_matrix()[1])
    assert not any("backbone" in name for name, _ in steps.step.named_parameters())


# ---- the files -------------------------------------------------------------------------------------------------------


class OnnxSession:
    """The graphs of a folder with the call of the programs of torch.export."""

    def __init__(self, folder):
        import onnxruntime

        self.about = json.loads((folder / DESCRIPTION).read_text())
        self.encoder, self.decoder = (
            onnxruntime.InferenceSession(folder / self.about[part]) for part in ("encoder", "step")
        )

    def encode(self, images):
        return dict(zip(self.about["state"], self.encoder.run(None, {"images": images.numpy()}), strict=True))

    def step(self, tokens, state):
        known = {value.name for value in self.decoder.get_inputs()}
        given = {name: value for name, value in {"tokens": tokens.numpy(), **state}.items() if name in known}
        log_p, *changed = self.decoder.run(None, given)
        return torch.from_numpy(log_p), {**state, **dict(zip(self.about["changed"], changed, strict=True))}


class Programs:
    """Two programs of torch.export."""

    def __init__(self, folder):
        self.about = json.loads((folder / DESCRIPTION).read_text())
        self.encoder, self.decoder = (
            torch.export.load(folder / self.about[part]).module() for part in ("encoder", "step")
        )

    def encode(self, images):
        return dict(zip(self.about["state"], self.encoder(images), strict=True))

    def step(self, tokens, state):
        log_p, *changed = self.decoder(tokens, *state.values())
        return log_p, {**state, **dict(zip(self.about["changed"], changed, strict=True))}


def check_log_probabilities(model, graphs):
    """Feed random tokens, id 0 among them, to both."""
    columns = len(graphs.about["texts"])
    for studies, views in SIZES:
        images = draw(studies, views)
        ours, theirs = model.start(model.encode(images)), graphs.encode(images)
        generator = torch.Generator().manual_seed(views)
        for word in torch.randint(0, columns, (graphs.about["max_length"], studies), generator=generator):
            log_p, ours = model.step(word, ours)
            found, theirs = graphs.step(word, theirs)
            torch.testing.assert_close(found, log_p, rtol=1e-5, atol=1e-4)


def test_greedy_search_of_the_example_is_not_rounded_by_a_long_sum():
    class Step:
        """Words 1 and 2 have log-probabilities that differ by 1e-6, the better one last."""

        def get_inputs(self):
            return [SimpleNamespace(name="tokens")]

        def run(self, _, inputs):
            return [np.array([[-50.0, -5.000001, -5.0]], np.float32)]

    decode = runpy.run_path(str(EXAMPLE))["decode"]
    assert decode(Step(), {}, [], 20, 1) == [2] * 20


def test_the_encoder_reads_as_many_views_as_the_model_was_trained_on(make):
    module = make("base")
    program = _encoder(split(module.model, 64, 9), num_views=5).module()
    program(draw(2, 5))
    with pytest.raises((AssertionError, RuntimeError), match="<= 5"):  # which one depends on torch
        program(draw(2, 6))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_system_exports_to_onnx_and_decodes_to_the_same_tokens(make, name, tmp_path):
    module = make(name)
    export_onnx(module, tmp_path)
    graphs = OnnxSession(tmp_path)
    check_log_probabilities(module.model, graphs)
    decode = runpy.run_path(str(EXAMPLE))["decode"]
    length, images = graphs.about["max_length"], draw(3, 2)
    for beams, generation in ((1, Greedy(length)), (3, BeamSearch(3, length))):
        ours = generation(module.model.step, module.model.start(module.model.encode(images))).tokens.tolist()
        for study, expected in zip(images, ours, strict=True):
            found = decode(graphs.decoder, graphs.encode(study[None]), graphs.about["changed"], length, beams)
            assert found + [0] * (length - len(found)) == expected
    texts = graphs.about["texts"]
    assert [texts[token] for token in range(1, 23)] == module.tokenizer.words


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_system_exports_to_programs(make, name, tmp_path):
    module = make(name)
    export_torch(module, tmp_path)
    check_log_probabilities(module.model, Programs(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("trunk", ["test_vit", "test_efficientnet", "test_convnext"])
def test_other_trunks_export(make, trunk, tmp_path):
    size = 160 if trunk == "test_vit" else 64
    module = make("cmn", f"backbone.name={trunk}", f"+backbone.image_size={size}")
    module.transform.size = size
    export_onnx(module, tmp_path)
    graphs = OnnxSession(tmp_path)
    images = torch.randn(3, 1, 3, size, size)
    ours = module.model.start(module.model.encode(images))
    found = graphs.encode(images)
    np.testing.assert_allclose(found["0.cross_keys"], ours["0.cross_keys"].numpy(), rtol=0, atol=1e-3)


@pytest.mark.slow
def test_the_example_needs_neither_torch_nor_r2cmn(make, tmp_path):
    module = make("hrgr")
    export_onnx(module, tmp_path / "exported")
    (tmp_path / "blocked").mkdir()
    for name in ("torch", "r2cmn"):
        (tmp_path / "blocked" / f"{name}.py").write_text("raise ImportError('blocked')")
    generator, files = np.random.default_rng(0), [tmp_path / "a.png", tmp_path / "b.png"]
    for file in files:
        Image.fromarray(generator.integers(0, 256, (50, 70), dtype=np.uint8)).save(file)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "blocked")}
    for beams in (1, 3):
        module.generation = BeamSearch(beams, module.generation.max_length)
        command = [sys.executable, EXAMPLE, tmp_path / "exported", *files, "--beams", str(beams)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        (expected,) = module.generate([files])
        assert done.stdout.strip() == expected
        assert expected


# ---- rules and errors ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_under_an_agreement_only_the_owner_reads_an_export(make, tmp_path):
    files = export_torch(make("st", license_class="dua"), tmp_path / "exported")
    assert stat.S_IMODE((tmp_path / "exported").stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@pytest.mark.slow
def test_what_cannot_be_exported_is_said_in_one_sentence(make, tmp_path, monkeypatch):
    module = make("st")
    decoder = type(module.model.encoder_decoder)
    step = decoder.step

    def depends_on_values(self, tokens, words, state):
        return step(self, tokens, words * float(tokens.max().item() > 3), state)

    monkeypatch.setattr(decoder, "step", depends_on_values)
    with pytest.raises(ExportError, match="the step of ShowTell cannot be exported: ") as caught:
        export_onnx(module, tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / DESCRIPTION).exists()
