"""Every encoder-decoder with every memory explains a study, and watching changes nothing."""

import numpy as np
import pytest
import torch
from PIL import Image

from r2cmn.data.images import denormalize, normalize
from r2cmn.explain import explain_batch, explain_study
from r2cmn.generation import BeamSearch, Greedy

REPORT = "The heart is large. There is a small left effusion."
NUM_PATCHES = 2 * 2 * 2  # a stride of 32


def parameters_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_every_pair_explains_what_it_generates(pair, make_module, images):
    module = make_module(*pair, seed=0)
    before = module.generate(images)
    weights = parameters_of(module)
    found = explain_batch(module, images)
    assert [" ".join(each.words) for each in found] == before == module.generate(images)
    assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())
    for each in found:
        check_maps(each, pair)
        assert each.beams[0]["words"] == each.words
    given = explain_batch(module, images, [REPORT, "no effusion ."], routes=("attention", "memory"))
    assert "occlusion" not in given[0].maps
    assert not given[0].beams
    if pair[0] != "hrgr":  # which puts a template in place of a sentence
        assert " ".join(given[0].words) == "the heart is large . there is a small left effusion"
    assert given[1].words[-1] == "."
    for each in given:
        assert each.given
        assert (each.log_probs < 0).all()
        assert each.words
        check_maps(each, pair, routes={"attention", "memory"})


def check_maps(found, pair, routes=frozenset({"attention", "memory", "occlusion"})):
    left_out = {"attention"} if pair[0] == "show_tell" else set()
    left_out |= {"memory"} if pair[1] == "none" else set()
    assert set(found.maps) == routes - left_out
    for route, values in found.maps.items():
        assert values.shape[0] == len(found.words)
        assert values.shape[-1] == NUM_PATCHES
        assert np.isfinite(values).all(), route
    if "attention" in found.maps:
        sums = found.maps["attention"].sum(-1)
        assert ((sums > 0) & (sums < 1 + 1e-9)).all()
        assert pair[0] == "adaatt" or np.allclose(sums, 1)
    if "memory" in found.maps:
        assert ((found.maps["memory"] >= 0) & (found.maps["memory"] <= 1 + 1e-9)).all()
        assert ("memory" in found.notes) == (pair[1] == "separate")
    assert len(found.choices) == len(found.words)
    assert type(found).from_json(found.to_json()).words == found.words


@pytest.mark.parametrize("system", ["adaatt", "m2", "r2gen", "show_tell", "transformer"])
def test_a_score_is_the_sum_of_the_words_and_the_end(system, make_module, images):
    module = make_module(system, "cross_modal")
    source = module.model.encode(images)
    for study, each in enumerate(explain_batch(module, images, routes=())):
        read = torch.tensor([[0, *each.tokens]])
        log_p = module.model.decode(read, {name: value[study : study + 1] for name, value in source.items()})
        end = log_p[0, -1, 0].item() if len(each.tokens) < module.generation.max_length else 0
        assert each.log_probs.sum() + end == pytest.approx(each.beams[0]["score"])
        scores = [beam["score"] for beam in each.beams]
        assert scores == sorted(scores, reverse=True)


def test_alternatives_are_the_beams_and_the_likeliest_words(make_module, images):
    module = make_module("transformer", "cross_modal")
    source = module.model.encode(images)
    best = module.sample(source, lambda step, state: BeamSearch(3, module.generation.max_length).best(step, state, 3))
    for study, each in enumerate(explain_batch(module, images, routes=())):
        assert [beam["score"] for beam in each.beams] == pytest.approx(best.scores[3 * study : 3 * study + 3].tolist())
        for row, (token, log_p) in enumerate(zip(each.tokens, each.log_probs, strict=True)):
            probabilities = [value for _, value in each.choices[row]]
            assert probabilities == sorted(probabilities, reverse=True)
            read = torch.tensor([[0, *each.tokens[:row]]])
            exact = module.model.decode(read, {name: v[study : study + 1] for name, v in source.items()})[0, -1]
            assert log_p == pytest.approx(exact[token].item())
            np.testing.assert_allclose(probabilities, exact.exp().topk(5).values.detach().numpy())
            assert each.choices[row][0][0] in ("(end)", *module.tokenizer.words)


def test_a_greedy_module_has_one_alternative(make_module, images):
    module = make_module("att2in", "none")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "generation", Greedy(10))
        assert len(explain_batch(module, images, routes=())[0].beams) == 1


def test_files_pictures_and_tensors_are_explained_alike(make_module, tmp_path):
    module = make_module("transformer", "cross_modal").float()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64), dtype=np.uint8)
    files = [tmp_path / "frontal.png", tmp_path / "lateral.png"]
    pictures = [Image.fromarray(each) for each in pixels]
    for picture, file in zip(pictures, files, strict=True):
        picture.save(file)
    boxes = [[{"finding": "nodule", "box": [0.1, 0.2, 0.3, 0.4]}], []]
    found = explain_study(module, files, boxes=boxes)
    assert found.study == "frontal lateral"
    assert [view.name for view in found.views] == ["frontal", "lateral"]
    assert [view.file for view in found.views] == [str(file) for file in files]
    assert found.views[0].boxes == boxes[0]
    assert found.views[0].grid == (2, 2)
    np.testing.assert_array_equal(found.views[1].pixels, pixels[1])
    other = explain_study(module, pictures)
    assert other.views[0].name == "view 1"
    assert other.views[0].file is None
    for route, values in found.maps.items():
        np.testing.assert_array_equal(values, other.maps[route])
    features = module.model.backbone.features(module.read([files])).detach()
    cached = explain_batch(module, features)[0]
    assert cached.views[0].pixels.shape == (0, 0)
    for route, values in found.maps.items():
        np.testing.assert_allclose(values, cached.maps[route], atol=1e-5)
    module.double()


def test_pixels_come_back_from_normalized_images():
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).expand(3, -1, -1)
    assert torch.equal(denormalize(normalize(pixels)), pixels)


def test_a_batch_equals_single_studies(make_module, images):
    module = make_module("transformer", "cross_modal")
    together = explain_batch(module, images)
    for study, each in enumerate(together):
        alone = explain_batch(module, images[study : study + 1])[0]
        assert alone.words == each.words
        for route, values in each.maps.items():
            np.testing.assert_allclose(values, alone.maps[route], atol=1e-12)


@pytest.mark.parametrize("num_views", [1, 3])
def test_any_number_of_views(num_views, make_module, images):
    module = make_module("transformer", "cross_modal")
    found = explain_batch(module, images[:1, :1].expand(-1, num_views, -1, -1, -1), routes=("attention",))[0]
    assert len(found.views) == num_views
    assert found.maps["attention"].shape[-1] == 4 * num_views
    shown = [found.map(0, view) for view in range(num_views)]
    assert max(each.max() for each in shown) == pytest.approx(1)


def test_a_module_in_training_stays_so_and_gives_the_same(make_module, images):
    module = make_module("transformer", "cross_modal")
    found = explain_batch(module, images)
    module.train()
    try:
        again = explain_batch(module, images)
        assert module.training
    finally:
        module.eval()
    np.testing.assert_array_equal(found[0].maps["occlusion"], again[0].maps["occlusion"])


def test_a_route_the_model_does_not_have_is_named(make_module, tmp_path):
    Image.new("L", (64, 64)).save(tmp_path / "a.png")
    module = make_module("show_tell", "none")
    with pytest.raises(ValueError, match="attention"):
        explain_study(module.float(), [tmp_path / "a.png"] * 2, method="attention")
    module.double()
    with pytest.raises(ValueError, match="saliency"):
        explain_study(module, [tmp_path / "a.png"], method="saliency")
