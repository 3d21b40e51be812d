"""Intervals, tests and baselines of scores of other programs."""

import json
import math

import numpy as np
import pytest

from r2cmn.evaluation.other_metrics import INVERSE_NAME, MeanScores, evaluate_scores, read_system, split_name
from r2cmn.evaluation.read import Predictions
from r2cmn.evaluation.scored import Settings
from r2cmn.evaluation.show import console
from r2cmn.evaluation.show_other import other_tables, page_tables
from r2cmn.metrics.significance import Significance

SETTINGS = Settings(num_resamples=200)


def dump(path, content):
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def files(tmp_path):
    """Scores of 40 reports of ours and of a system that is worse in both directions, by id and in another order."""
    random = np.random.default_rng(0)
    green = random.uniform(0.4, 0.9, 40)
    ours = {"ids": [f"s{n}" for n in range(40)], "green": green.tolist(), "radcliq_v1": (2 - green).tolist()}
    worse = {f"s{n}": {"green": green[n] - 0.1, "RadCliQ-v1": 2.2 - green[n]} for n in reversed(range(40))}
    return dump(tmp_path / "ours.json", ours), dump(tmp_path / "theirs.json", worse), green


def test_scores_are_means_and_radcliq_is_shown_in_both_directions(files):
    ours, _, green = files
    found = evaluate_scores("t", [ours], settings=SETTINGS)
    values = {name: interval.value for name, interval in found.ours.scores.items()}
    assert values["green"] == pytest.approx(green.mean())
    assert values["radcliq_v1"] == pytest.approx((2 - green).mean())
    assert values[INVERSE_NAME] == pytest.approx(1 / (2 - green).mean())  # not the mean of the inverses
    assert values[INVERSE_NAME] != pytest.approx((1 / (2 - green)).mean(), rel=1e-4)
    assert [found.metrics[name].higher for name in ("green", "radcliq_v1", INVERSE_NAME)] == [True, False, True]


def test_intervals_and_p_are_those_of_significance(files):
    ours, theirs, green = files
    found = evaluate_scores("t", [ours], [f"worse={theirs}"], settings=SETTINGS)
    test = Significance(SETTINGS.num_resamples, SETTINGS.level, SETTINGS.seed)
    mine, other = MeanScores({"green": green}), MeanScores({"green": green - 0.1})
    assert found.ours.scores["green"] == pytest.approx(test.interval(mine)["green"])
    difference = found.baselines[0].differences["green"]
    assert difference == pytest.approx(test.compare(mine, other)["green"])
    assert difference.value == pytest.approx(0.1)  # paired by id, though the other file has another order
    assert difference.p == pytest.approx(1 / 201)


def test_every_difference_says_who_is_better_in_its_direction(files):
    ours, theirs, _ = files
    found = evaluate_scores("t", [ours], [f"worse={theirs}"], settings=SETTINGS)
    assert [round(d.value, 3) > 0 for d in found.baselines[0].differences.values()] == [True, False, True]
    screen = console()
    with screen.capture() as capture:
        for part in other_tables(found):
            screen.print(part)
    shown = capture.get()
    assert shown.count("lower is better") == 2  # the row and the note
    rows = [line.split() for line in shown.splitlines() if "p:" not in line]
    assert [row[-1] for row in rows if row and row[-1] in ("ours", "theirs")].count("ours") == 3
    (_, first), (title, second) = page_tables(found)
    assert title == "Ours minus worse"
    assert [row.cells[-1] for row in second.rows] == ["ours"] * 3
    assert first.rows[1].cells[:2] == ["RadCliQ-v1", "lower is better"]


def test_patients_are_resampled_if_they_are_known(tmp_path):
    scores = dump(tmp_path / "s.json", {"green": [0, 0, 1, 1]})
    read = Predictions(tmp_path / "p.csv", list("abcd"), [], {}, {"patient": list("1122")})
    found = evaluate_scores("t", [scores], predictions=read, settings=SETTINGS)
    assert found.resampled == "2 groups by patient"
    assert (found.ours.scores["green"].low, found.ours.scores["green"].high) == (0, 1)
    assert "joined row by row" in found.notes[0]
    assert evaluate_scores("t", [scores], predictions=read, groups="none", settings=SETTINGS).resampled == "reports"


def test_a_negative_mean_of_radcliq_has_no_inverse_and_such_resamples_leave_no_interval():
    scores = MeanScores({"radcliq_v1": np.array([-1.0, 3.0])})
    first, second = scores.scores(np.array([[2.0, 0.0], [1.0, 1.0]]))[INVERSE_NAME]
    assert math.isnan(first)
    assert second == 1
    test = Significance(100)
    interval = test.interval(scores)[INVERSE_NAME]
    assert interval.value == 1
    assert math.isnan(interval.low)
    # exchanges without an inverse count against a difference
    difference = test.compare(MeanScores({"radcliq_v1": np.array([-1.0, 1.5])}), scores)[INVERSE_NAME]
    assert difference.value == 3
    assert difference.p == 1


def test_metrics_may_stand_in_several_files_and_a_baseline_may_lack_some(files, tmp_path):
    ours, theirs, _ = files
    rate = tmp_path / "rate.csv"
    rate.write_text("id,ratescore\n" + "".join(f"s{n},0.5\n" for n in range(40)))
    found = evaluate_scores("t", [ours, rate], [str(theirs)], settings=SETTINGS)
    assert list(found.metrics) == ["green", "radcliq_v1", "ratescore", INVERSE_NAME]
    assert list(found.baselines[0].differences) == ["green", "radcliq_v1", INVERSE_NAME]
    assert found.baselines[0].name == "theirs"
    assert json.loads(json.dumps(found.to_dict()))["metrics"]["radcliq_v1"]["direction"] == "lower is better"


def test_a_name_is_given_before_the_file(tmp_path):
    assert split_name("constant=a/b.json")[0] == "constant"
    assert split_name("a/b.json")[0] == "b"
    (tmp_path / "x=y.json").write_text("{}")
    assert split_name(str(tmp_path / "x=y.json"))[0] == "x=y"


def test_other_ids_lengths_and_metrics_are_errors_that_name_the_file(files, tmp_path):
    ours, theirs, _ = files
    short = dump(tmp_path / "short.json", {"s1": {"green": 1}})
    with pytest.raises(ValueError, match=r"short\.json lacks 39 of the 40 ids"):
        evaluate_scores("t", [ours], [str(short)])
    with pytest.raises(ValueError, match=r"list\.json has 2 rows and .*ours\.json 40"):
        evaluate_scores("t", [ours], [str(dump(tmp_path / "list.json", {"green": [1, 2]}))])
    with pytest.raises(ValueError, match=r"bert\.json has none of the metrics of .*ours\.json"):
        evaluate_scores("t", [ours], [str(dump(tmp_path / "bert.json", {"bertscore": [1] * 40}))])
    with pytest.raises(ValueError, match=r"theirs\.json has 'green', and so has"):
        read_system([ours, theirs], {})
