"""Reports are joined with their references by id; a join that is not one to one names the ids."""

import csv
import json

import pytest

from r2cmn.evaluation.license import license_class_of
from r2cmn.evaluation.read import Predictions, read_baselines, read_predictions


def table(path, header, *rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def dump(path, content):
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def references(tmp_path):
    return table(tmp_path / "r.csv", ["id", "report"], ["a", "lungs clear ."], ["b", "NA"], ["c", ""])


# ---- joins -----------------------------------------------------------------------------------------------------------


def test_rows_are_joined_by_id_and_follow_the_references(tmp_path, references):
    predictions = table(tmp_path / "p.csv", ["generated", "study_id"], ["C .", "c"], ["", "a"], ["NA", "b"])
    read = read_predictions(predictions, references)
    assert read.ids == ["a", "b", "c"]
    assert read.generated == ["", "NA", "C ."]
    assert read.references == {"given": ["lungs clear .", "NA", ""]}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["a", "x"], ["a", "y"], ["b", "z"]], r"p\.csv.*'id'.*more than once: 'a'"),
        ([["a", "x"]], r"p\.csv lacks 2 of the 3 ids of .*r\.csv: 'b', 'c'"),
        (
            [[i, "x"] for i in "abcdefgh"],
            r"p\.csv has 5 ids that .*r\.csv does not have: 'd', 'e', 'f' and 2 more",
        ),
        ([["A", "x"], ["b", "x"], ["c", "x"]], "lacks 1 of the 3 ids of .*: 'a'"),
    ],
)
def test_a_join_that_is_not_one_to_one_names_the_ids(tmp_path, references, rows, message):
    predictions = table(tmp_path / "p.csv", ["id", "generated"], *rows)
    with pytest.raises(ValueError, match=message):
        read_predictions(predictions, references)
    with pytest.raises(ValueError, match=message):
        read_baselines([predictions], Predictions(references, ["a", "b", "c"], [], {}))


def test_repeated_ids_of_references_are_an_error(tmp_path):
    references = table(tmp_path / "r.csv", ["id", "report"], ["a", "x"], ["a", "y"])
    with pytest.raises(ValueError, match=r"r\.csv: 1 ids .*'a'"):
        read_predictions(table(tmp_path / "p.csv", ["id", "generated"], ["a", "x"]), references)


def test_files_of_the_r2gen_family_are_joined_row_by_row(tmp_path):
    (tmp_path / "res.csv").write_text('lungs clear .\n""\n')
    (tmp_path / "gts.csv").write_text("lungs are clear .\nno <unk> .\n")
    read = read_predictions(tmp_path / "res.csv", tmp_path / "gts.csv")
    assert read.ids == ["row 1", "row 2"]
    assert read.generated == ["lungs clear .", ""]
    (tmp_path / "gts.csv").write_text("lungs are clear .\n")
    with pytest.raises(ValueError, match=r"res\.csv has 2 rows and .*gts\.csv 1: without ids"):
        read_predictions(tmp_path / "res.csv", tmp_path / "gts.csv")
    with pytest.raises(ValueError, match="give the file of the references, too"):
        read_predictions(tmp_path / "res.csv")


def test_a_csv_with_a_header_but_no_id_is_an_error(tmp_path, references):
    predictions = table(tmp_path / "p.csv", ["generated", "extra"], ["x", ""])
    with pytest.raises(ValueError, match=r"p\.csv has no column 'id'|no column 'key'"):
        read_predictions(predictions, references)
    with pytest.raises(ValueError, match=r"p\.csv has no column 'generated'"):
        read_predictions(table(tmp_path / "p.csv", ["id", "extra"], ["x", ""]), references)


# ---- one file --------------------------------------------------------------------------------------------------------


def test_our_own_file_has_two_kinds_of_references(tmp_path):
    path = table(tmp_path / "p.csv", ["id", "generated", "reference", "reference_full"], ["1", "NA", "a b", "a b c"])
    assert read_predictions(path).references == {"released": ["a b"], "full": ["a b c"]}
    assert read_predictions(path, column="reference").references == {"released": ["a b"]}
    assert read_predictions(path, column="reference_full").references == {"full": ["a b c"]}
    with pytest.raises(ValueError, match="has no column 'truth'"):
        read_predictions(path, column="truth")


@pytest.mark.parametrize(
    "header",
    [
        ["id", "generated", "reference"],
        ["study_id", "Prediction", "Ground Truth"],
        ["image_id", "hypothesis", "report"],
        ["dicom_id", "generated_report", "target"],
    ],
)
def test_columns_have_many_names(tmp_path, header):
    read = read_predictions(table(tmp_path / "p.csv", header, ["1", "ours", "theirs"]))
    assert (read.ids, read.generated, read.references) == (["1"], ["ours"], {"given": ["theirs"]})


def test_a_column_report_holds_the_systems_reports_if_no_other_does(tmp_path, references):
    """The output of `r2cmn generate` is a file of predictions."""
    path = table(tmp_path / "p.csv", ["id", "report"], ["a", "x"], ["b", "y"], ["c", "z"])
    assert read_predictions(path, references).generated == ["x", "y", "z"]
    with pytest.raises(ValueError, match="has no column 'reference'"):
        read_predictions(path)


def test_the_image_is_the_id_rather_than_the_study(tmp_path):
    path = table(tmp_path / "p.csv", ["study_id", "dicom_id", "generated", "reference"], ["s", "1", "x", "y"],
                 ["s", "2", "x", "y"])  # fmt: skip
    read = read_predictions(path)
    assert read.ids == ["1", "2"]
    assert read.columns["study_id"] == ["s", "s"]


# ---- JSON ------------------------------------------------------------------------------------------------------------


def test_the_form_of_rexrank(tmp_path):
    path = dump(tmp_path / "p.json", {
        "case_1": {"model_prediction": "x", "section_findings": "y", "image_path": ["a/b.png"], "context": "z"},
        "case_2": {"model_prediction": "", "section_findings": "NA", "image_path": ["a/c.png"], "context": "z"},
    })  # fmt: skip
    read = read_predictions(path)
    assert read.ids == ["case_1", "case_2"]
    assert read.generated == ["x", ""]
    assert read.references == {"given": ["y", "NA"]}
    assert read.section == "findings"


def test_objects_of_reports(tmp_path):
    predictions, references = (
        dump(tmp_path / "p.json", {"1": "x", "2": "y"}),
        dump(tmp_path / "r.json", {"2": "v", "1": "w"}),
    )
    read = read_predictions(predictions, references)
    assert (read.ids, read.generated, read.references) == (["2", "1"], ["y", "x"], {"given": ["v", "w"]})
    with pytest.raises(ValueError, match="has no column 'reference'"):
        read_predictions(predictions)


# ---- annotation ------------------------------------------------------------------------------------------------------


def annotation(path, **splits):
    return dump(path, {"train": [], "val": [], "test": []} | splits)


def entry(name, report, **more):
    return {"id": name, "report": report, "image_path": [f"{name}.png"], **more}


def test_an_annotation_gives_references_training_reports_and_patients(tmp_path):
    path = annotation(
        tmp_path / "annotation.json", train=[entry("t", "Old.")], val=[entry("v", "Val.")],
        test=[entry("1", "One.", subject_id=7, study_id=3, labels=[1] * 14),
              entry("2", "Two.", subject_id=8, study_id=4)],
    )  # fmt: skip
    predictions = table(tmp_path / "p.csv", ["id", "generated"], ["2", "y"], ["1", "x"])
    read = read_predictions(predictions, path)
    assert (read.ids, read.generated, read.references) == (["1", "2"], ["x", "y"], {"raw": ["One.", "Two."]})
    assert read.columns["subject_id"] == ["7", "8"]
    assert read.annotation.training == ["Old."]
    assert read.annotation.dataset == "mimic_cxr"
    assert read.annotation.labels is None  # of one entry alone
    val = table(tmp_path / "v.csv", ["id", "generated"], ["v", "x"])
    assert read_predictions(val, path, split="val").references == {"raw": ["Val."]}
    assert read_predictions(val, path, split="val").annotation.dataset == "iu_xray"


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"test": [entry("1", "x"), entry("1", "y")]}, "1 ids of 'test' .*more than once: '1'"),
        ({"test": []}, "no study in its split 'test'"),
        ({"test": [{"id": "1"}]}, "entry 0 of 'test' has no 'report'"),
        ({"test": [{"id": "1", "report": None}]}, "entry 0 of 'test' has no 'report' that is text"),
        ({"test": ["x"]}, "entry 0 of 'test' is str"),
        ({"train": [3], "test": [entry("1", "x")]}, "entry 0 of 'train' is int"),
    ],
)
def test_a_wrong_annotation_is_an_error(tmp_path, splits, message):
    predictions = table(tmp_path / "p.csv", ["id", "generated"], ["1", "x"])
    with pytest.raises(ValueError, match=message):
        read_predictions(predictions, annotation(tmp_path / "a.json", **splits))


def test_a_missing_split_is_named(tmp_path):
    predictions = table(tmp_path / "p.csv", ["id", "generated"], ["1", "x"])
    with pytest.raises(ValueError, match=r"no split 'dev': it has train, val, test"):
        read_predictions(predictions, annotation(tmp_path / "a.json"), split="dev")


def test_the_column_of_patients_may_have_any_case_and_a_study_without_one_is_alone(tmp_path):
    path = table(
        tmp_path / "p.csv", ["id", "generated", "reference", "Patient ID"],
        ["1", "x", "y", "0"], ["2", "x", "y", "0"], ["3", "x", "y", ""], ["4", "x", "y", " "],
    )  # fmt: skip
    expected = ["0", "0", "study 3", "study 4"]
    assert read_predictions(path).groups() == ("patient", expected)
    assert read_predictions(path).groups("Patient ID") == ("Patient ID", expected)


def test_baselines_are_named_by_file_and_a_runs_predictions_by_its_folder(tmp_path):
    paths = [tmp_path / name for name in ("theirs.csv", "a/predictions.csv", "b/predictions.csv", "c/x.csv", "d/x.csv")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_text("id,generated\n1,a\n")
    found = read_baselines(paths, Predictions(tmp_path / "mine.csv", ["1"], ["a"], {}))
    repeated = [str(path) for path in paths[3:]]
    assert list(found) == ["theirs", "a/predictions", "b/predictions", *repeated]


# ---- license class ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "config", "dataset", "expected"),
    [
        ("predictions.csv", "data: {license_class: dua}", None, "dua"),
        ("predictions.csv", "data: {license_class: public}", "mimic_cxr", "dua"),  # no record relaxes an agreement
        ("predictions.csv", "data: {license_class: dua}", "iu_xray", "dua"),
        ("predictions.csv", "data: {license_class: public}", "folder", "public"),
        ("predictions.csv", "data: {license_class: null}", "folder", "dua"),
        ("predictions.csv", "data: {}", "mimic_cxr", "dua"),
        ("predictions.csv", "data: {license_class: secret}", "folder", "dua"),
        ("predictions.csv", "data: {license_class: secret}", "iu_xray", "non_commercial"),
        ("predictions.csv", "[of, something, else]", None, "non_commercial"),
        ("predictions.csv", "data: text", None, "non_commercial"),
        ("predictions.csv", "data: [", "iu_xray", "non_commercial"),
        ("predictions.csv", None, "folder", "dua"),
        ("predictions.csv", None, "iu_xray", "non_commercial"),
        ("mine.csv", "data: {license_class: dua}", "iu_xray", "non_commercial"),  # of something else
    ],
)
def test_the_license_class_is_that_of_the_run_beside_its_predictions(tmp_path, name, config, dataset, expected):
    header, row = ["id", "generated", "reference"], ["CXR9001", "lungs clear .", "heart large ."]
    path = table(tmp_path / name, [*header, *(["dataset"] if dataset else [])], [*row, *([dataset] if dataset else [])])
    if config is not None:
        (tmp_path / "config.yaml").write_text(config)
    assert license_class_of(None, read_predictions(path)) == expected
    assert license_class_of("non_commercial", read_predictions(path)) == "non_commercial"


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"license_class": "dua"}, "dua"),
        ({"license_class": "public"}, "public"),
        ({"license_class": "secret"}, "non_commercial"),
        ({}, "non_commercial"),
        (["something else"], "non_commercial"),
        (None, "non_commercial"),
    ],
)
def test_the_license_class_is_that_of_the_data_folder_of_an_annotation(tmp_path, record, expected):
    entry = {"id": "CXR9001", "report": "Heart large.", "image_path": ["CXR9001/0.png"]}
    annotation = dump(tmp_path / "annotation.json", {"train": [], "val": [], "test": [entry]})
    if record is not None:
        dump(tmp_path / "prepare.json", record)
    (tmp_path / "run").mkdir()
    path = table(tmp_path / "run" / "predictions.csv", ["id", "generated"], ["CXR9001", "lungs clear ."])
    assert license_class_of(None, read_predictions(path, annotation)) == expected


def test_the_strictest_record_of_the_run_and_of_the_annotation_counts(tmp_path):
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "predictions.csv"
    path.write_text("id,dataset,generated\na,folder,the lungs are clear .\n")
    annotation = tmp_path / "annotation.json"
    entry = {"id": "a", "report": "The lungs are clear.", "image_path": ["a.png"]}
    annotation.write_text(json.dumps({"train": [], "val": [], "test": [entry]}))
    assert license_class_of(None, read_predictions(path, annotation)) == "dua"  # a folder without any record
    (tmp_path / "prepare.json").write_text('{"license_class": "public"}')
    assert license_class_of(None, read_predictions(path, annotation)) == "public"
    (tmp_path / "run" / "config.yaml").write_text("data: {license_class: non_commercial}")
    assert license_class_of(None, read_predictions(path, annotation)) == "non_commercial"
