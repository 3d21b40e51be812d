"""Grounding of a model with maps that are known: perfect ones, flat ones, and those that ignore the study."""

import csv
import json
import math
import stat
from types import SimpleNamespace

import numpy as np
import pytest

from r2cmn.explain import ground as grounding
from r2cmn.explain.explanation import Explanation, View
from r2cmn.explain.ground_result import MEAN
from r2cmn.metrics.significance import Significance
from r2cmn.types import Grounding

GRID = (4, 4)
REPORTS = ["a small mass .", "a large mass .", "clear lungs .", "severe edema ."]
BOXES = [(0.0, 0.0, 0.25, 0.25), (0.75, 0.0, 1.0, 0.25), None, (0.25, 0.25, 0.75, 1.0)]
WORDS = [(1, 2), (1, 2), (), (0, 1)]
KINDS = ["mass", "mass", "", "edema"]


class Data:
    """Four studies in each split; the third has no box."""

    batch_size = 3
    tokenizer = SimpleNamespace(clean=lambda report: report)

    def __init__(self, boxes=("train", "val", "test"), times=1, patient=None):
        self.boxes, self.times = boxes, times
        self.studies = {
            split: [
                SimpleNamespace(report=report, images=(f"{split}/{number}", "other"), patient=patient)
                for number, report in enumerate(REPORTS)
            ]
            * times
            for split in ("train", "val", "test")
        }

    def groundings(self, split, reports=None):
        found = []
        for number, (words, box, kind) in enumerate([*zip(WORDS, BOXES, KINDS, strict=True)] * self.times):
            known = box is not None and split in self.boxes
            named = known and (reports is None or reports[number] == REPORTS[number % 4])
            found.append([Grounding(words, 0, box, kind)] if named else [])
        return found


def inside(box):
    x = (np.arange(4) + 0.5) / 4
    left, top, right, bottom = box
    return ((left <= x) & (x < right) & ((top <= x) & (x < bottom))[:, None]).ravel().astype(float)


def explaining(draw, words=None, routes=("attention",)):
    """Stands for `explain_batch`: the map of every word of a study is `draw(number of the study)`."""

    def explain_batch(module, files, reports, asked):
        found = []
        for (file,), report in zip(files, reports, strict=True):
            said = (words or report).split()
            values = np.tile(draw(int(file[-1])), (len(said), 1, 1, 1))
            maps = {route: values if route == "attention" else values[:, 0] for route in routes if route in asked}
            view = View("view", np.zeros((8, 8), np.uint8), GRID)
            found.append(Explanation(file, said, [1] * len(said), np.zeros(len(said)), True, None, [view], maps))
        return found

    return explain_batch


MODULE = SimpleNamespace(
    num_views=1,
    read=lambda files: [file[0] for file in files],
    generate=lambda images: [REPORTS[int(image[-1])] if image[-1] != "3" else "no edema ." for image in images],
)


def perfect(number):
    return inside(BOXES[number])


@pytest.fixture
def score(monkeypatch):
    def run(draw=perfect, data=None, words=None, routes=("attention",), **options):
        monkeypatch.setattr(grounding, "explain_batch", explaining(draw, words, routes))
        return grounding.ground(MODULE, data or Data(), significance=Significance(200), **options)

    return run


def test_a_perfect_map_has_perfect_scores_and_its_controls_do_not(score):
    found = score()
    assert found.findings == {"edema": 1, "mass": 2}
    assert (found.num_studies, found.skipped, found.routes, found.notes) == (4, 0, ["attention"], ())
    for measure in ("pointing", "iou", "auprc"):
        assert found.row("attention", measure).value == pytest.approx(1)
        assert found.row("attention", measure, "random").value < 0.7
    assert found.row("attention", "pointing", "other_study").value == 0, "the map of the other mass"
    assert math.isnan(found.row("attention", "pointing", "other_study", "edema").value)
    assert found.row("attention", "auprc", "mean_box", "edema").value == 1
    assert found.row("attention", "pointing", "mean_box", "mass").value == 0.5, "two places, equally often"
    difference = found.row("attention", "pointing", "model - mean_box", "mass")
    assert difference.value == 0.5
    assert found.row("attention", "iou").threshold == pytest.approx(0.05)


def test_a_flat_map_is_at_chance(score):
    found = score(lambda number: np.full(16, 0.1))
    shares = {"mass": 1 / 16, "edema": 6 / 16}
    for kind, share in shares.items():
        assert found.row("attention", "pointing", finding=kind).value == pytest.approx(share)
        assert found.row("attention", "auprc", finding=kind).value == pytest.approx(share)
    assert found.row("attention", "cnr").value == 0
    assert found.row("attention", "iou").value == 0


def test_the_threshold_is_that_of_the_validation_set(score):
    def draw(number):
        box = perfect(number)
        return box + 0.5 * np.roll(box, 8)  # half as much elsewhere

    assert score(draw).row("attention", "iou").threshold == pytest.approx(0.55)
    without = score(draw, Data(boxes=("train", "test")))
    assert without.row("attention", "iou").threshold == pytest.approx(0.5)
    assert "val" in without.notes[0]


def test_each_route_is_scored(score):
    found = score(routes=("attention", "memory"))
    assert found.routes == ["attention", "memory"]
    assert found.row("memory", "pointing").value == 1
    assert score(routes=("memory", "occlusion")).routes == ["memory"]


def test_a_generated_report_counts_where_it_names_the_finding(score):
    found = score(reports="generated")
    assert found.findings == {"mass": 2}
    assert found.reports == "generated"


def test_words_that_the_model_does_not_write_are_skipped(score):
    assert score(words="a small mass .").findings == {"mass": 2}
    assert score(words="a small mass .").skipped == 1
    assert score(words="a <unk> <unk> <unk>").skipped == 0
    cut = score(words="a small")
    assert (cut.findings, cut.skipped) == ({"mass": 1}, 2), "the words before the cut are enough"
    with pytest.raises(ValueError, match="none of the words"):
        score(words="there are other words")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"data": Data(boxes=("train",))}, "no box of a finding in test"),
        ({"routes": ("memory",)}, "none of the maps attention, memory"),
        ({"reports": "both"}, "--reports"),
        ({"split": "train"}, "--split"),
    ],
)
def test_what_cannot_be_scored_is_one_sentence(score, monkeypatch, options, words):
    if "routes" in options:
        monkeypatch.setattr(grounding, "explain_batch", explaining(perfect, routes=()))
        with pytest.raises(ValueError, match=words):
            grounding.ground(MODULE, Data())
        return
    with pytest.raises(ValueError, match=words):
        score(**options)


def test_an_empty_split_is_one_sentence(score):
    data = Data()
    data.studies["test"] = []
    with pytest.raises(ValueError, match="no study in test"):
        score(data=data)


def test_patients_are_resampled_as_a_whole(score):
    """Studies of one patient do not narrow the interval: with one patient there is none."""

    def draw(number):
        return perfect(number) if number else np.roll(perfect(number), 1)

    pointing = score(draw, Data(times=6)).row("attention", "pointing")
    assert pointing.low < pointing.value == 0.75 < pointing.high
    assert math.isnan(score(draw, Data(times=6, patient="p")).row("attention", "pointing").low)


@pytest.mark.parametrize(("license_class", "mode"), [("public", 0o644), ("dua", 0o600)])
def test_files(score, tmp_path, license_class, mode):
    found = score()
    found.write(tmp_path, license_class)
    for name in ("grounding.json", "grounding.csv"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode
    content = json.loads((tmp_path / "grounding.json").read_text())
    assert content["format"] == "r2cmn.grounding/1"
    with (tmp_path / "grounding.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(content["rows"]) == len(found.rows)
    first = {"route": "attention", "finding": MEAN, "measure": "pointing", "source": "model"}
    assert first.items() <= rows[0].items()
    assert float(rows[0]["value"]) == content["rows"][0]["value"] == 1


def test_what_is_logged(score):
    scalars = score().scalars()
    assert scalars["attention/pointing"] == 1
    assert set(scalars) == {
        f"attention/{measure}{control}"
        for measure in ("pointing", "iou", "cnr", "auprc")
        for control in ("", "_random", "_center", "_mean_box", "_other_study")
    }


def test_tables_name_the_control_that_is_nearest(score):
    first, second = score().tables()
    assert first.row_count == 4
    assert second.row_count == 2
    assert "mean box" in next(iter(first.columns[-1].cells))
