"""Files of scores of other programs: their forms, the directions, and what is wrong with a file, in one sentence."""

import json

import pytest

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.evaluation.metric_files import read_metric_scores
from r2cmn.evaluation.metric_table import METRICS, parse_directions


def dump(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def values(path, **options):
    read = read_metric_scores(path, **options)
    return {name: scores.tolist() for name, scores in read.scores.items()}


# ---- forms -----------------------------------------------------------------------------------------------------------


def test_the_per_sample_output_of_radeval(tmp_path):
    path = dump(tmp_path / "r.json", {"radgraph_simple": [0.5, 0.25], "rougeL": [1, 0], "radcliq_v1": [1.5, 0.5]})
    assert values(path) == {"radgraph_simple": [0.5, 0.25], "rougel": [1, 0], "radcliq_v1": [1.5, 0.5]}
    read = read_metric_scores(path)
    assert read.table.ids() is None
    assert [metric.direction for metric in read.metrics.values()] == [
        "higher is better", "higher is better", "lower is better"]  # fmt: skip


def test_the_details_of_older_versions_of_radeval(tmp_path):
    content = {
        "radgraph": {
            "radgraph_simple": 0.5,
            "radgraph_partial": 0.4,
            "radgraph_complete": 0.3,
            "sample_scores": [[0.5, 0.5], [0.4, 0.4], [0.3, 0.3]],
            "hypothesis_annotation_lists": [{"entities": {}}, {"entities": {}}],
        },
        "bleu": {"bleu_1": {"mean_score": 0.1, "sample_scores": [0.1, 0.2]}},
        "green": {"mean": 0.5, "std": 0.1, "sample_scores": [0, 1], "summary": "text"},
        "ratescore": {"f1-score": 0.5, "sample_scores": [0.5, 0.6], "hyps_pairs": [{"lung": "A"}, {}]},
        "radcliq-v1": {"mean_score": 1.0, "sample_scores": [0.5, 1.5]},
        "chexbert": {"chexbert-5_micro avg_f1-score": 0.5,
                     "chexbert_accuracy": {"mean_score": 0.5, "sample_scores": [True, False]}},
    }  # fmt: skip
    assert values(dump(tmp_path / "r.json", content)) == {
        "radgraph_simple": [0.5, 0.5],
        "radgraph_partial": [0.4, 0.4],
        "radgraph_complete": [0.3, 0.3],
        "bleu_1": [0.1, 0.2],
        "green": [0, 1],
        "ratescore": [0.5, 0.6],
        "radcliq_v1": [0.5, 1.5],
        "chexbert_accuracy": [1, 0],
    }


def test_lists_may_have_ids_beside_them(tmp_path):
    path = dump(tmp_path / "r.json", {"ids": ["b", "a"], "green": [0.5, 0.25], "refs": ["x", "y"]})
    read = read_metric_scores(path)
    assert read.table.ids() == ["b", "a"]
    assert list(read.scores) == ["green"]


def test_the_csv_files_of_rexrank(tmp_path):
    path = tmp_path / "report_scores.csv"
    path.write_text(
        ",index,study_id,case_id,report,bleu_score,bertscore,semb_score,radgraph_combined,RadCliQ-v0,RadCliQ-v1\n"
        '0,0,0,patient1_study1,"Heart, normal",0.1466,-0.1302,0.7308,0.1667,4.6436,1.9381\n'
        "1,1,1,patient2_study1,Tube,0.0522,-0.1357,0.1648,0.0833,5.6532,2.5102\n"
    )
    read = read_metric_scores(path)
    assert read.table.ids() == ["patient1_study1", "patient2_study1"]
    assert read.left_out == []
    assert values(path)["radcliq_v1"] == [1.9381, 2.5102]
    assert not read.metrics["radcliq_v0"].higher
    assert read.metrics["semb_score"].higher


def test_the_errors_that_green_counts_are_better_if_fewer(tmp_path):
    path = tmp_path / "green.csv"
    path.write_text(
        "reference,predictions,green_score,(a) False report of a finding in the candidate,Matched Findings\n"
        "x,y,0.5,2,4\n"
    )
    read = read_metric_scores(path)
    assert {metric.title: metric.higher for metric in read.metrics.values()} == {
        "GREEN": True,
        "GREEN, (a) False report of a finding in the candidate": False,
        "GREEN, matched findings": True,
    }


@pytest.mark.parametrize(
    "content",
    [
        {"a": {"ratescore": 0.5}, "b": {"ratescore": 0.25}},
        {"a": 0.5, "b": 0.25},
        [{"id": "a", "ratescore": 0.5}, {"id": "b", "ratescore": 0.25}],
    ],
)
def test_scores_by_id(tmp_path, content):
    path = dump(tmp_path / "ratescore.json", content)
    assert values(path) == {"ratescore": [0.5, 0.25]}
    assert read_metric_scores(path).table.ids() == ["a", "b"]


def test_a_list_is_named_by_its_file(tmp_path):
    assert values(dump(tmp_path / "green.json", [0.5, 0.25])) == {"green": [0.5, 0.25]}


# ---- directions ------------------------------------------------------------------------------------------------------


def test_a_metric_that_is_not_known_needs_a_direction(tmp_path):
    path = dump(tmp_path / "r.json", {"green": [0.5, 1], "My Errors": [3, 4]})
    assert read_metric_scores(path).left_out == ["My Errors"]
    read = read_metric_scores(path, parse_directions(["My Errors=lower"]))
    assert (read.metrics["my_errors"].title, read.metrics["my_errors"].higher) == ("My Errors", False)
    with pytest.raises(ValueError, match="no known metric: name one with --direction My Errors=higher"):
        read_metric_scores(dump(tmp_path / "s.json", {"My Errors": [3, 4]}))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("x", "--direction is NAME=higher or NAME=lower, not 'x'"),
        ("x=up", "--direction is NAME=higher"),
        ("RadCliQ-v1=higher", "of RadCliQ-v1, lower is better"),
        ("green=lower", "of GREEN, higher is better"),
    ],
)
def test_wrong_directions(given, message):
    with pytest.raises(ValueError, match=message):
        parse_directions([given])


def test_only_numbers_of_errors_are_better_if_lower():
    assert {name for name, metric in METRICS.items() if not metric.higher} == {"radcliq_v0", "radcliq_v1"}


# ---- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"radcliq_v1": 1.25, "green": 0.5}, "one number for 'radcliq_v1'.*per_sample"),
        ({"green": [0.5, None]}, "'green' of report 2 is nothing"),
        ('{"green": [0.5, NaN]}', "'green' of report 2 is nan"),
        ({"green": [0.5, "good"]}, "'green' of report 2 is 'good'"),
        ({"green": [0.5], "bleu": [1, 2]}, "lists of different lengths: 1 of 'green', 2 of 'bleu'"),
        ({"a": {"green": 0.5}, "b": {"bleu": 1}}, "'b' have no 'green'"),
        ({"green": [1], "GREEN": [2]}, "more than one column 'GREEN'"),
        ({"x": {"green": [1]}, "y": {"green": [2]}}, "more than one list of 'green'"),
        ({"words": ["a", "b"]}, "has no metric: it has words"),
        ({"green": []}, "no scores in its list 'green'"),
        ({"ids": ["a", "\ud800"], "green": [1, 2]}, ": id cannot be written as UTF-8"),
        ({}, "holds no scores"),
        ([], "holds no scores"),
        ("7", "holds no scores"),
        ("{", "is not a JSON file"),
    ],
)
def test_wrong_json_is_an_error_that_names_file_key_and_row(tmp_path, content, message):
    path = dump(tmp_path / "r.json", content)
    with pytest.raises(ValueError, match=message) as caught:
        read_metric_scores(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_csv_is_an_error_that_names_file_column_and_row(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("id,ratescore\na,0.5\nb,\n")
    with pytest.raises(ValueError, match=r"s\.csv: 'ratescore' of report 2 is nothing"):
        read_metric_scores(path)


def test_labels_are_not_scores(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(f"id,{','.join(OBSERVATIONS)}\na{',1' * 14}\n")
    with pytest.raises(ValueError, match="--labels-pred"):
        read_metric_scores(path)
