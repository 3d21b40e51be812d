"""Values stay text; a file that is not a table of reports is an error that names it."""

import json

import pytest

from r2cmn.evaluation.tables import Table, plain_name, read_table


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_values_stay_text(tmp_path):
    path = write(tmp_path / "t.csv", 'id,generated\n007,NA\nnull,""\n1e5," spaced, and\nbroken "\nnan,größer 肺 ✓\n')
    assert read_table(path).rows == [
        {"id": "007", "generated": "NA"},
        {"id": "null", "generated": ""},
        {"id": "1e5", "generated": " spaced, and\nbroken "},
        {"id": "nan", "generated": "größer 肺 ✓"},
    ]


def test_the_quote_before_what_a_spreadsheet_would_run_is_removed(tmp_path):
    path = write(tmp_path / "t.csv", "id,generated\n'=CXR9001,'- clear .\n'CXR9002,'clear' .\n'@a,'+1\n=b,-c\n'',\n")
    assert read_table(path).rows == [
        {"id": "=CXR9001", "generated": "- clear ."},
        {"id": "'CXR9002", "generated": "'clear' ."},
        {"id": "@a", "generated": "+1"},
        {"id": "=b", "generated": "-c"},
        {"id": "''", "generated": ""},
    ]
    assert read_table(write(path, "'- clear .\n")).column("") == ["'- clear ."]  # no table of r2cmn


def test_a_file_without_a_header_has_one_text_per_row(tmp_path):
    table = read_table(write(tmp_path / "t.csv", 'the lungs are clear .\n""\nNA\n'))
    assert table.columns == ()
    assert table.column("") == ["the lungs are clear .", "", "NA"]


def test_an_empty_line_is_an_empty_report_if_there_is_one_column(tmp_path):
    table = read_table(write(tmp_path / "t.csv", "the lungs are clear .\n\nno change .\n"))
    assert table.column("") == ["the lungs are clear .", "", "no change ."]
    with_header = read_table(write(tmp_path / "t.csv", "report\na .\n\nb .\n"))
    assert with_header.column("report") == ["a .", "", "b ."]


def test_an_empty_line_is_skipped_if_there_are_several_columns(tmp_path):
    assert len(read_table(write(tmp_path / "t.csv", "id,generated\na,b\n\nc,d\n\n")).rows) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("id,generated\n", "no row"),
        ("id,generated\na\n", "row 2: the row is shorter than the header"),
        ("id,generated\na,the heart, lungs\n", r"row 2: the row is longer than the header \(3 fields, 2 columns\)"),
        ("id,generated,id\na,b,c\n", "has the column 'id' more than once"),
        ("study,output_text\na,b\n", "has no column of a known name: its first row is study, output_text"),
        ("output_text\nthe lungs are clear .\n", "begins with 'output_text', which looks like an unknown column name"),
        ("id,generated\na,größer\n".encode("latin-1"), "not a CSV of UTF-8 text"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "not a CSV of UTF-8 text"),
        (b'id,generated\na,"open\n', "not a CSV of UTF-8 text"),
    ],
)
def test_a_wrong_csv_is_an_error_of_one_line(tmp_path, content, message):
    path = write(tmp_path / "t.csv", content)
    with pytest.raises(ValueError, match=message) as caught:
        read_table(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_errors(tmp_path):
    with pytest.raises(ValueError, match=r"no file .*gone\.csv"):
        read_table(tmp_path / "gone.csv")
    with pytest.raises(ValueError, match="is a folder"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ({"a": "NA", "b": ""}, [{"key": "a", "report": "NA"}, {"key": "b", "report": ""}]),
        (
            {"a": {"model_prediction": "x", "image_path": ["1.png"]}, "b": {"model_prediction": "y", "image_path": []}},
            [{"key": "a", "model_prediction": "x"}, {"key": "b", "model_prediction": "y"}],
        ),
        ([{"id": 7, "generated": "x"}, {"id": 8, "generated": ""}], [{"id": "7", "generated": "x"},
                                                                   {"id": "8", "generated": ""}]),
    ],
)  # fmt: skip
def test_json_of_three_forms(tmp_path, content, rows):
    assert read_table(write(tmp_path / "t.json", json.dumps(content))).rows == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a JSON file: .*line 1 column 2"),
        ("{}", "holds no reports"),
        ("[]", "holds no reports"),
        ("[1, 2]", "holds no reports"),
        ('"text"', "holds no reports"),
        ('{"a": "x", "b": 3}', "no reports at 'b'"),
        ('{"a": "x", "a": "y"}', "the key 'a' more than once"),
        ('{"a": {"generated": "x"}, "b": {"generated": null}}', "'generated' of 'b' is missing or null"),
        ('[{"id": "a", "generated": "x"}, {"id": "b"}]', "'generated' of 'object 1' is missing"),
        ("[" * 100_000, "not a JSON file"),
        (b"\xff\xfe", "not a JSON file: .*utf-8"),
    ],
)
def test_wrong_json_is_an_error_of_one_line(tmp_path, content, message):
    path = write(tmp_path / "t.json", content)
    with pytest.raises(ValueError, match=message) as caught:
        read_table(path).need(("generated",))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_gap_of_a_column_that_nobody_needs_is_no_error(tmp_path):
    """The test sets of ReXrank have `null` and `NaN` in the history and in the findings of some studies."""
    content = """{"a": {"model_prediction": "x", "report": "y", "history": null, "section_findings": NaN},
                  "b": {"model_prediction": "z", "report": "w", "history": "old", "section_findings": "clear"}}"""
    table = read_table(write(tmp_path / "t.json", content))
    assert table.columns == ("key", "model_prediction", "report")
    assert table.column(table.need(("report",))) == ["y", "w"]
    with pytest.raises(ValueError, match="'section_findings' of 'a' is missing or null"):
        table.find(("section_findings", "report"))


def test_columns_are_found_in_any_spelling(tmp_path):
    table = Table(tmp_path, ("Study ID", "Ground-Truth"), [])
    assert table.find(("ground_truth",)) == "Ground-Truth"
    assert table.find(("study_id",)) == "Study ID"
    assert table.find(("id",)) is None
    assert plain_name(" Model Prediction ") == "model_prediction"


def test_a_semicolon_separates_columns_only_if_there_is_a_header(tmp_path):
    table = read_table(write(tmp_path / "a.csv", "ID;Generated\na;lungs clear, no effusion .\n"))
    assert table.column(table.need(("generated",))) == ["lungs clear, no effusion ."]
    plain = read_table(write(tmp_path / "b.csv", "lungs clear ; no effusion .\nheart normal .\n"))
    assert plain.columns == ()
    assert plain.column("") == ["lungs clear ; no effusion .", "heart normal ."]


def test_two_columns_of_one_name_and_half_a_surrogate_pair_are_named(tmp_path):
    table = read_table(write(tmp_path / "a.csv", "id,generated,Generated\na,b,c\n"))
    with pytest.raises(ValueError, match="several columns 'generated': 'generated', 'Generated'"):
        table.find(("generated",))
    with pytest.raises(ValueError, match=r"'report' of 'a' cannot be written as UTF-8") as caught:
        read_table(write(tmp_path / "a.json", '{"a": "small\\ud800"}'))
    str(caught.value).encode()
