"""The points of the figures, and the figures."""

import numpy as np
import pytest

from r2cmn.pages.pictures import figure_svg, write_figure
from r2cmn.sweeps.results import figures
from r2cmn.sweeps.results.collect import collect
from r2cmn.sweeps.results.curves import base_of, curves_of, numeric_keys
from r2cmn.sweeps.results.frame import ablated_keys, families
from r2cmn.sweeps.results.paper import claim

IU_XRAY = "r2cmn.data.iu_xray.IUXRayDataModule"
N, K = "memory.num_vectors", "memory.num_queried"


@pytest.fixture
def family(tmp_path, make_sweep):
    def call(grid, truth=lambda o: 0.15, **options):
        found = collect([str(make_sweep(tmp_path / "s", grid, truth, **options))])
        return families(found.done, ablated_keys(found, []))[0][0]

    return call


def test_a_point_has_mean_interval_seeds_and_parameters(family):
    (curve,) = curves_of(family({N: [64, 16], "seed": [0, 1]}), N, "BLEU_4")
    assert [point.x for point in curve.points] == [16, 64]
    assert curve.label == ""
    first = curve.points[0]
    assert first.mean.low < first.mean.value < first.mean.high
    assert len(first.values) == 2
    assert first.parameters == 2_000_000 + 16 * 128 + 66_048
    assert first.extra == pytest.approx(100 * (16 * 128 + 66_048) / 2_000_000)


def test_other_keys_make_separate_curves(family):
    found = family({N: [16, 64], K: [4, 8, 32]})
    assert numeric_keys(found) == [N, K]
    assert [curve.label for curve in curves_of(found, N, "BLEU_4")] == ["K 4", "K 8", "K 32"]
    assert [len(curve.points) for curve in curves_of(found, K, "BLEU_4")] == [3, 3]


def test_too_many_curves_are_refused_with_what_differs(family):
    found = family({N: [16, 64], K: [1, 2, 4, 8, 16, 32, 64]})
    with pytest.raises(ValueError, match=r"7 curves over memory.num_vectors .* differ in memory.num_queried"):
        figures.figure(found, N, "BLEU_4")


def test_base_is_a_line_and_on_no_curve(family):
    found = family(
        {"memory": ["none", "cross_modal"], "num_vectors": [16, 64]}, lambda o: 0.1 if o["memory"] == "none" else 0.2
    )
    (curve,) = curves_of(found, N, "BLEU_4")
    assert len(curve.points) == 2
    assert base_of(found, "BLEU_4").value == pytest.approx(0.1, abs=0.02)


def test_the_published_point_is_the_papers_default_on_the_same_data(family):
    found = family({N: [512, 2048], "seed": [0, 1]}, data=IU_XRAY)
    assert (claim("iu_xray", N, "BLEU_4").at, claim("iu_xray", N, "BLEU_4").value) == (2048, 0.170)
    assert claim(found.data, N, "CIDEr") is None
    axes = figures.figure(found, N, "BLEU_4").axes
    assert len(axes) == 2
    assert [line.get_label() for line in axes[0].lines].count("published") == 1


def test_a_published_point_far_from_ours_is_only_in_the_caption(family):
    found = family({N: [512, 2048], "seed": [0, 1]}, lambda o: 0.02, data=IU_XRAY)
    axes = figures.figure(found, N, "BLEU_4").axes
    assert "published" not in [line.get_label() for line in axes[0].lines]
    text = figures.caption(found, N, "BLEU_4")
    assert "IU X-Ray, N 2048, K 32, threads 8: 0.170" in text
    assert "3.34%" in text


def test_phantoms_have_no_published_point(family):
    found = family({N: [512, 2048]})
    assert claim(found.data, N, "BLEU_4") is None
    assert "mean over 1 seed, so nothing is known" in figures.caption(found, N, "BLEU_4")


def test_axes_double_and_intervals_are_drawn(family):
    found = family({K: [1, 8, 64, 512], "seed": [0, 1, 2]})
    (axes,) = figures.figure(found, K, "BLEU_4").axes
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "8", "64", "512"]
    (curve,) = curves_of(found, K, "BLEU_4")
    bars = axes.containers[0].lines[2][0].get_segments()
    expected = [(point.mean.low, point.mean.high) for point in curve.points]
    assert np.array([(bar[0][1], bar[1][1]) for bar in bars]) == pytest.approx(np.array(expected))


def test_noise_is_not_framed_as_an_effect(family):
    (axes,) = figures.figure(family({K: [1, 8, 64]}, lambda o: 0.2, sd=1e-6), K, "BLEU_4").axes
    low, high = axes.get_ylim()
    assert high - low > 0.019


def test_files_are_deterministic_and_no_temporary_file_is_left(family, tmp_path):
    found = family({N: [16, 64, 256], "seed": [0, 1]})
    names = [path.name for path in write_figure(figures.figure(found, N, "BLEU_4"), tmp_path / "f", "memory_size")]
    assert names == ["memory_size.svg", "memory_size.png"]
    before = (tmp_path / "f" / "memory_size.svg").read_bytes()
    assert len(list((tmp_path / "f").iterdir())) == 2
    assert figure_svg(figures.figure(found, N, "BLEU_4")).encode() == before


def test_one_value_is_no_curve(family):
    found = family({N: [16, 64]}, left_out=(1,))
    with pytest.raises(ValueError, match=r"no two values of memory.num_vectors have BLEU_4"):
        figures.figure(found, N, "BLEU_4")
    assert curves_of(found, N, "BLEU_4") == []
