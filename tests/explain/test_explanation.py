"""The arrays of an explanation: means over axes, scaling over all views, and the JSON."""

import json
import subprocess
import sys

import numpy as np
import pytest

from r2cmn.explain import Explanation, View

W, L, H, T, S = 3, 2, 4, 2, 6 + 4


def make(words=W, **changed):
    random = np.random.default_rng(0)
    views = [
        View("frontal", np.arange(12, dtype=np.uint8).reshape(3, 4), (2, 3), "a/frontal.png"),
        View("lateral", np.zeros((3, 4), np.uint8), (2, 2), None, [{"finding": "nodule", "box": [0.1, 0.2, 0.3, 0.4]}]),
    ]
    maps = {
        "occlusion": random.normal(size=(words, S)),
        "attention": random.random((words, L, H, S)),
        "memory": random.random((words, T, S)),
    }
    vectors = {
        "words": np.ones((words, T, 2), np.int64),
        "words_weight": random.random((words, T, 2)),
        "num_vectors": 9,
    }
    given = {
        "study": "one", "words": ["the", "<unk>", "."][:words], "tokens": [5, 1, 2][:words],
        "log_probs": np.log(random.random(words)), "given": False, "reference": None, "views": views, "maps": maps,
        "vectors": vectors, "beams": [{"words": ["the", "."], "score": -1.5}],
        "choices": [[("the", 0.75), ("a", 0.25)]] * words,
        "deletion": {"memory": [{"area": 0.1, "random_area": 0.3, "random_sd": 0.1, "beats_random": True}, None, None]},
        "notes": {"memory": "shared"}, "model": "CMN", "license_class": "dua",
    }  # fmt: skip
    return Explanation(**{**given, **changed})


def test_a_map_is_the_mean_over_layers_and_heads_and_keeps_what_is_chosen():
    found = make()
    raw = found.maps["attention"]
    np.testing.assert_allclose(found.values(1), raw[1].mean((0, 1)))
    np.testing.assert_allclose(found.values(1, layer=1), raw[1, 1].mean(0))
    np.testing.assert_allclose(found.values(1, head=3), raw[1, :, 3].mean(0))
    np.testing.assert_allclose(found.values(1, layer=0, head=2), raw[1, 0, 2])
    np.testing.assert_allclose(found.values(2, "memory"), found.maps["memory"][2].mean(0))
    np.testing.assert_allclose(found.values(2, "memory", thread=1), found.maps["memory"][2, 1])


def test_maps_of_all_views_are_divided_by_the_same_largest_value():
    found = make()
    values = found.values(0, "memory")
    frontal, lateral = found.map(0, 0, "memory"), found.map(0, 1, "memory")
    assert frontal.shape == (2, 3)
    assert lateral.shape == (2, 2)
    np.testing.assert_allclose(frontal, values[:6].reshape(2, 3) / values.max())
    np.testing.assert_allclose(lateral, values[6:].reshape(2, 2) / values.max())


def test_a_patch_against_a_word_counts_as_none():
    maps = {"occlusion": np.tile(np.array([-3.0, 0, 1, 2, 0, 0, 0, 0, 0, 4.0]), (W, 1))}
    found = make(maps=maps)
    np.testing.assert_allclose(found.map(0, 0), [[0, 0, 0.25], [0.5, 0, 0]])
    np.testing.assert_allclose(found.falls, maps["occlusion"].T)
    assert not make(maps={"occlusion": -np.ones((W, S))}).map(0, 1).any()


def test_the_first_route_there_is_is_the_default():
    found = make()
    assert found.routes == ["attention", "memory", "occlusion"]
    del found.maps["attention"]
    np.testing.assert_allclose(found.values(0), found.values(0, "memory"))
    assert found.falls is not None
    del found.maps["occlusion"]
    assert found.falls is None


@pytest.mark.parametrize(
    ("options", "named"), [({"route": "saliency"}, "saliency"), ({"route": "memory", "head": 1}, "head")]
)
def test_a_route_or_an_axis_that_is_not_there_is_named(options, named):
    with pytest.raises(ValueError, match=named):
        make().map(0, 0, **options)


@pytest.mark.parametrize("shape", [(W, S - 1), (W + 1, S), (W, 1, S)])
def test_an_array_that_does_not_fit_is_named(shape):
    with pytest.raises(ValueError, match="occlusion"):
        make(maps={"occlusion": np.zeros(shape)})


def test_the_json_holds_everything_but_the_pixels_rounded_to_six_digits():
    found = make()
    text = found.to_json()
    assert json.loads(text)["format"] == "r2cmn.explanation/1"
    assert "pixels" not in text
    again = Explanation.from_json(text, [view.pixels for view in found.views])
    for route, values in found.maps.items():
        np.testing.assert_allclose(again.maps[route], values, atol=5.1e-7)
        np.testing.assert_array_equal(again.maps[route], values.round(6))
    np.testing.assert_array_equal(again.views[0].pixels, found.views[0].pixels)
    assert again.views[0].grid == (2, 3)
    assert again.views[1].boxes == found.views[1].boxes
    assert again.choices == found.choices
    assert again.to_json() == text
    kept = ("study", "words", "tokens", "given", "reference", "beams", "deletion", "notes", "model", "license_class")
    assert {name: getattr(again, name) for name in kept} == {name: getattr(found, name) for name in kept}
    np.testing.assert_array_equal(again.vectors["words"], found.vectors["words"])
    assert again.vectors["num_vectors"] == 9


def test_an_empty_report_survives_the_json():
    found = make(words=0)
    again = Explanation.from_json(found.to_json())
    assert again.words == []
    assert again.to_json() == found.to_json()
    assert again.views[0].pixels.shape == (0, 0)


def test_another_format_is_refused():
    with pytest.raises(ValueError, match="explanation/2"):
        Explanation.from_dict({"format": "r2cmn.explanation/2"})
    with pytest.raises(ValueError, match="format"):
        Explanation.from_json("[]")


def test_an_explanation_needs_no_torch():
    code = "import sys, r2cmn.explain; r2cmn.explain.Explanation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
