"""Figures 5 and 6: which values are drawn where, and what is written beside them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from r2cmn.explain import Explanation, View, figure5, figure6, memory_figure
from r2cmn.explain.projection import project
from r2cmn.pages.pictures import figure_svg, write_figure

pytest.importorskip("matplotlib", reason="pip install 'r2cmn[explain]'")
pytest.importorskip("sklearn", reason="pip install 'r2cmn[explain]'")
S, N, T, K = 8, 20, 2, 3


def make(report="there is an effusion . the heart is large .", model="CMN", seed=0, **changed):
    random = np.random.default_rng(seed)
    words = report.split()
    views = [View(name, random.integers(0, 256, (8, 8), dtype=np.uint8), (2, 2)) for name in ("frontal", "lateral")]
    views[1].boxes = [{"finding": "large effusion", "box": [0.25, 0.5, 0.75, 1.0]}]
    vectors = {
        "words": random.integers(0, N, (len(words), T, K)),
        "words_weight": random.random((len(words), T, K)),
        "patches": random.integers(0, N, (T, S, K)),
        "patches_weight": random.random((T, S, K)),
        "num_vectors": N,
    }
    maps = {"attention": random.random((len(words), 1, 2, S)), "memory": random.random((len(words), T, S))}
    given = {
        "study": "one", "words": words, "tokens": list(range(1, len(words) + 1)),
        "log_probs": np.log(np.full(len(words), 0.25)), "given": False, "reference": None, "views": views, "maps": maps,
        "vectors": vectors, "model": model,
    }  # fmt: skip
    return Explanation(**{**given, **changed})


def module_of(shared=True):
    torch.manual_seed(0)
    first, second = (SimpleNamespace(matrix=torch.randn(N, 5)) for _ in range(2))
    memory = SimpleNamespace(visual_network=first, textual_network=first if shared else second)
    return SimpleNamespace(model=SimpleNamespace(memory=memory))


def texts(drawn):
    from matplotlib.text import Text

    return " ".join(each.get_text() for each in drawn.findobj(Text)).replace("\n", " ")


def grid_of(drawn, columns):
    axes = [each for each in drawn.axes if each.get_label() != "<colorbar>"]
    return [axes[row : row + columns] for row in range(0, len(axes), columns)]


def test_a_row_a_word_and_a_column_a_view():
    found = make()
    drawn = figure5(found)
    rows = grid_of(drawn, 2)
    assert len(rows) == 3
    for place, word in enumerate((3, 6), 1):  # effusion, heart
        for view in range(2):
            pixels, shown = rows[place][view].images
            np.testing.assert_array_equal(pixels.get_array(), found.views[view].pixels)
            np.testing.assert_allclose(shown.get_array(), found.map(word, view))
        assert found.words[word] in rows[place][0].get_ylabel()
        assert "p = 0.25" in rows[place][0].get_ylabel()
    assert [axes.get_title() for axes in rows[0]] == ["frontal", "lateral"]
    (box,) = rows[0][1].patches
    assert box.get_bbox().extents.tolist() == [2, 4, 6, 8]
    assert "large effusion" in texts(drawn)
    assert "Not for diagnosis" in texts(drawn)


def test_words_and_route_can_be_chosen():
    found = make()
    rows = grid_of(figure5(found, [8, "is"], "memory"), 2)
    np.testing.assert_allclose(rows[1][0].images[1].get_array(), found.map(8, 0, "memory"))
    np.testing.assert_allclose(rows[2][1].images[1].get_array(), found.map(1, 1, "memory"))
    with pytest.raises(ValueError, match="edema"):
        figure5(found, ["edema"])


def test_two_models_share_the_rows_and_a_word_of_one_leaves_a_gap_in_the_other():
    first, second = make(model="BASE"), make("no effusion .", "CMN", seed=1)
    rows = grid_of(figure5([first, second]), 4)
    assert [axes.get_title() for axes in rows[0]] == ["BASE\nfrontal", "\nlateral", "CMN\nfrontal", "\nlateral"]
    np.testing.assert_allclose(rows[1][2].images[1].get_array(), second.map(1, 0))
    assert not rows[2][2].images
    assert "not written" in [each.get_text() for each in rows[2][2].texts]
    with pytest.raises(ValueError, match="3"):
        figure5([first] * 3)
    with pytest.raises(ValueError, match="views"):
        figure5([first, make(views=make().views[:1], maps={})])


def test_a_map_that_fails_the_deletion_test_says_so():
    row = {"area": 0.5, "random_area": 0.4, "random_sd": 0.1, "beats_random": False}
    found = make(deletion={"attention": [None] * 3 + [row] + [None] * 5})
    assert "deletion test: effusion" in texts(figure5(found))
    assert "deletion" not in texts(figure5(found, route="memory"))
    assert "deletion" not in texts(figure5(make()))


def test_files_have_the_same_bytes_every_time_and_the_mode_that_is_asked_for(tmp_path):
    drawn = figure5(make(), [3])
    paths = write_figure(drawn, tmp_path, "figure5", 0o600)
    assert [path.name for path in paths] == ["figure5.svg", "figure5.png"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in paths)
    assert figure_svg(figure5(make(), [3])) == paths[0].read_text(encoding="utf-8")


def counts(drawn):
    return {each.get_text().split(" (")[0]: each.get_text() for each in drawn.legends[0].get_texts()}


def test_vectors_are_marked_by_who_queries_them():
    found = make()
    drawn = figure6(found, module_of(), "pca")
    words, patches = set(found.vectors["words"].ravel()), set(found.vectors["patches"].ravel())
    assert counts(drawn) == {
        "nobody": f"nobody ({N - len(words | patches)})",
        "patches": f"patches ({len(patches - words)})",
        "words": f"words ({len(words - patches)})",
        "both": f"both ({len(words & patches)})",
    }
    written = texts(drawn)
    assert "1 effusion" in written
    assert "2 heart" in written
    assert "principal components" in written


def test_a_word_is_written_at_the_vector_with_its_largest_weight():
    vectors = make().vectors
    vectors["words_weight"][:] = 0.1
    vectors["words"][3, 1, 2], vectors["words_weight"][3, 1, 2] = 17, 5
    found, module = make(vectors=vectors), module_of()
    axes = figure6(found, module, "pca", words=[3]).axes[0]
    points = project(module.model.memory.visual_network.matrix.numpy(), "pca").points
    (note,) = [each for each in axes.texts if each.get_text() == "1 effusion"]
    np.testing.assert_allclose(note.xy, points[17])


def test_separate_memories_have_no_vector_in_common():
    found = make(notes={"memory": "separate memories"})
    drawn = figure6(found, module_of(shared=False), "pca")
    assert counts(drawn)["both"] == "both (0)"
    assert "separate memories" in texts(drawn)
    assert f"{2 * N} memory vectors" in texts(drawn)


def test_the_whole_memory_is_drawn_by_use():
    found = [make(), make(seed=1)]
    drawn = memory_figure(found, module_of(), "pca")
    used = np.unique(np.concatenate([each.vectors[side].ravel() for each in found for side in ("words", "patches")]))
    crosses, dots = drawn.axes[0].collections
    assert len(crosses.get_offsets()) == N - len(used)
    assert len(dots.get_offsets()) == len(used)
    words, patches = np.zeros(N), np.zeros(N)
    for each in found:
        np.add.at(words, each.vectors["words"], each.vectors["words_weight"])
        np.add.at(patches, each.vectors["patches"], each.vectors["patches_weight"])
    shares = (words / words.sum() / (words / words.sum() + patches / patches.sum()))[used]
    np.testing.assert_allclose(np.sort(dots.get_array()), np.sort(shares))


def test_the_perplexity_is_clamped_and_shown_and_the_seed_fixed():
    matrix = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)
    first, second = project(matrix), project(matrix)
    np.testing.assert_array_equal(first.points, second.points)
    assert "perplexity 6.33333" in first.text
    assert "30" in first.text
    assert "does not show" in first.text
    assert "perplexity 2," in project(matrix, perplexity=2).text
    with pytest.raises(ValueError, match="umap"):
        project(matrix, "umap")
    with pytest.raises(ValueError, match="3 memory vectors"):
        project(matrix[:2])


def test_a_model_without_memory_has_no_figure6():
    with pytest.raises(ValueError, match="memory"):
        figure6(make(vectors=None), module_of())
    without = SimpleNamespace(model=SimpleNamespace(memory=object()))
    with pytest.raises(ValueError, match="memory"):
        figure6(make(), without)


def test_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"r2cmn\[explain\]"):
        figure5(make())
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "sklearn.decomposition", None)
    with pytest.raises(ValueError, match=r"r2cmn\[explain\]"):
        figure6(make(), module_of())


def test_of_a_word_that_is_there_twice_the_finding_is_drawn():
    from r2cmn.explain.figures import _rows

    report = "there is no pleural effusion on the right . there is a left pleural effusion ."
    found = make(report)
    assert _rows([found], None) == [[4], [14]]
    assert _rows([found], [14]) == [[14]]
    assert _rows([found], ["effusion", "right"]) == [[4], [7]]
    other = make("a left effusion . the heart is large .")
    assert _rows([found, other], None) == [[4, 2], [14, 2], [None, 5]]
