"""Occlusion and the deletion test against models run by hand, and the words chosen by default."""

import copy

import numpy as np
import pytest
import torch

from r2cmn.explain import explain_batch, find_words
from r2cmn.explain.deletion import deletion_test
from r2cmn.explain.reading import Reading, patch_grid

NUM_PATCHES = 8


def log_probs(model, patches, features, tokens):
    read = torch.tensor([[0, *tokens[:-1]]])
    log_p = model.decode(read, model.encode_patches(patches, features))[0]
    return log_p.gather(-1, torch.tensor(tokens)[:, None])[:, 0]


@pytest.mark.parametrize("system", ["transformer", "topdown", "show_tell"])
def test_a_fall_is_that_of_a_patch_replaced_by_the_mean_of_its_view(system, make_module, images):
    module = make_module(system, "cross_modal")
    model = module.model
    found = explain_batch(module, images, routes=("occlusion",))[1]
    features = model.backbone.features(images[1:])
    before = log_probs(model, model.backbone.project(features), features, found.tokens)
    for patch in (0, 3, 6):
        changed = features.clone()
        first = 4 * (patch // 4)
        changed[0, patch] = features[0, first : first + 4].mean(0)
        after = log_probs(model, model.backbone.project(changed), changed, found.tokens)
        expected = (before - after).detach().numpy()
        np.testing.assert_allclose(found.maps["occlusion"][:, patch], expected, atol=1e-9)
        np.testing.assert_allclose(found.falls[patch], expected, atol=1e-9)
    assert np.abs(found.maps["occlusion"]).max() > 1e-6


def test_pixels_are_replaced_by_the_mean_of_their_view(make_module, images):
    module = make_module("transformer", "cross_modal")
    found = explain_batch(module, images, routes=("occlusion",), replace="pixels")[0]
    painted = images[:1].clone()
    painted[0, 1, :, 32:, :32] = images[0, 1].mean((1, 2), keepdim=True)  # patch 2 of the second view
    alone = explain_batch(module, images[:1], routes=())[0]
    read = torch.tensor([[0, *alone.tokens[:-1]]])
    log_p = module.model(painted, read)[0].gather(-1, torch.tensor(alone.tokens)[:, None])[:, 0]
    expected = alone.log_probs - log_p.detach().numpy()
    np.testing.assert_allclose(found.maps["occlusion"][:, 4 + 2], expected, atol=1e-9)
    features = module.model.backbone.features(images).detach()
    with pytest.raises(ValueError, match="pixels"):
        explain_batch(module, features, routes=("occlusion",), replace="pixels")


class OneMatters:
    """A reading in which the word's probability depends on patch 5 alone."""

    num_patches = NUM_PATCHES

    def __init__(self):
        self.rows = 0

    def score(self, study, replaced, tokens, what="features"):
        self.rows += len(replaced)
        return torch.where(replaced[:, 5:6], 0.1, 0.9).log().expand(-1, len(tokens))


def test_a_map_that_finds_the_patch_beats_random_order_and_one_that_does_not_does_not():
    tokens = torch.tensor([3, 4, 5])
    right, wrong = torch.zeros(3, NUM_PATCHES), torch.zeros(3, NUM_PATCHES)
    right[:, 5], wrong[:, 5] = 1, -1
    found = deletion_test(OneMatters(), 0, tokens, {"attention": right, "memory": wrong}, [0, 2])
    assert [each is None for each in found["attention"]] == [False, True, False]
    good, bad = found["attention"][0], found["memory"][0]
    # replaced within the second of ten steps of 8 patches, where one patch is counted
    assert good["area"] == pytest.approx(0.1 + 0.8 * 0.5 / NUM_PATCHES)
    assert bad["area"] == pytest.approx(0.9 - 0.8 * 0.5 / NUM_PATCHES)
    assert not bad["beats_random"]
    assert bad["p"] == 1
    assert good["area"] < good["random_area"] < bad["area"]
    assert good["random_sd"] > 0


def test_the_map_beats_random_order_only_below_each_of_twenty():
    class Sum(OneMatters):
        def score(self, study, replaced, tokens, what="features"):
            weights = torch.tensor([8.0, 4, 2, 1, 0, 0, 0, 0])
            return (-(replaced * weights).sum(-1, keepdim=True) / 4).expand(-1, len(tokens))

    tokens = torch.tensor([3])
    best = torch.tensor([[8.0, 4, 2, 1, 0, 0, 0, 0]])
    found = deletion_test(Sum(), 0, tokens, {"attention": best, "memory": -best}, [0])
    assert found["attention"][0]["beats_random"]
    assert found["attention"][0]["p"] == pytest.approx(1 / 21)
    assert not found["memory"][0]["beats_random"]
    assert found == deletion_test(Sum(), 0, tokens, {"attention": best, "memory": -best}, [0])


def test_the_deletion_test_of_a_model_has_rows_for_words(make_module, images):
    module = make_module("hrgr", "cross_modal")
    each = explain_batch(module, images, deletion=[0, 2])[0]
    assert set(each.deletion) == {"attention", "memory", "occlusion"}
    for rows in each.deletion.values():
        assert len(rows) == len(each.words)
        assert rows[0]["random_sd"] >= 0
        assert 0 <= rows[0]["area"] <= 1
    assert each.from_json(each.to_json()).deletion.keys() == each.deletion.keys()


def test_patches_are_a_square_or_a_row():
    assert patch_grid(98, 2) == (7, 7)
    assert patch_grid(12, 2) == (1, 6)
    assert patch_grid(3, 3) == (1, 1)
    with pytest.raises(ValueError, match="7 patches"):
        patch_grid(7, 2)


def test_a_reading_without_features_replaces_patches(make_module, images):
    """A backbone of one's own may only return patches."""
    model = copy.deepcopy(make_module("transformer", "none").model)  # other tests have the same module
    patches = model.backbone(images).detach()

    class Plain(torch.nn.Module):
        def forward(self, images):
            return patches

    model.backbone = Plain()
    reading = Reading(model, images, 2)
    replaced = torch.zeros(1, NUM_PATCHES, dtype=torch.bool)
    replaced[0, 1] = True
    with torch.no_grad():
        found = reading.score(0, replaced, torch.tensor([3, 4]))
        changed = patches[:1].clone()
        changed[0, 1] = patches[0, :4].mean(0)
        expected = log_probs(model, changed, None, [3, 4])
    torch.testing.assert_close(found[0], expected)


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ("there is a small left pleural effusion . no pneumothorax .", ["effusion", "pneumothorax"]),
        ("the heart is enlarged . a pacemaker is in place .", ["heart", "pacemaker"]),
        ("the examination is technically adequate .", ["examination", "technically", "adequate"]),
        (". .", []),
        ("", []),
    ],
)
def test_words_with_findings_are_chosen(report, words):
    split = report.split()
    assert [split[at] for at in find_words(split)] == words


def test_present_findings_come_before_absent_ones():
    split = ["no", "pneumothorax", ".", "no", "effusion", ".", "there", "is", "edema", "."]
    assert [split[at] for at in find_words(split, limit=1)] == ["edema"]
    assert [split[at] for at in find_words(split, limit=2)] == ["pneumothorax", "edema"]
