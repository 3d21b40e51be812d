"""Text stays text, and what is no table of reports is refused in one sentence that names the file."""

import json

import pytest

from r2cmn.evaluation.tables import Table, plain_name, read_table, some

KNOWN = ("id", "generated", "reference", "report")


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_what_looks_like_a_number_or_nothing_stays_text(tmp_path):
    path = write(tmp_path / "t.csv", 'id,generated\n007,NA\nnull,""\n1e5," spaced, and\nbroken "\nnan,größer 肺 ✓\n')
    assert read_table(path, KNOWN).rows == [
        {"id": "007", "generated": "NA"},
        {"id": "null", "generated": ""},
        {"id": "1e5", "generated": " spaced, and\nbroken "},
        {"id": "nan", "generated": "größer 肺 ✓"},
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    assert read_table(write(tmp_path / "t.csv", "\ufeffid,generated\na,b\n"), KNOWN).columns == ("id", "generated")


def test_a_report_of_any_length_is_read(tmp_path):
    long = "lungs clear . " * 40_000  # the csv module stops at 131,072 characters
    assert read_table(write(tmp_path / "t.csv", f"id,generated\na,{long}\n"), KNOWN).rows[0]["generated"] == long


def test_one_text_a_row_without_a_header(tmp_path):
    table = read_table(write(tmp_path / "t.csv", 'the lungs are clear .\n""\nNA\n'), KNOWN)
    assert table.columns == ()
    assert table.column("") == ["the lungs are clear .", "", "NA"]


def test_an_empty_line_is_an_empty_report_where_rows_are_aligned(tmp_path):
    table = read_table(write(tmp_path / "t.csv", "the lungs are clear .\n\nno change .\n"), KNOWN)
    assert table.column("") == ["the lungs are clear .", "", "no change ."]
    with_header = read_table(write(tmp_path / "t.csv", "report\na .\n\nb .\n"), KNOWN)
    assert with_header.column("report") == ["a .", "", "b ."]


def test_an_empty_line_between_rows_of_several_columns_is_none(tmp_path):
    assert len(read_table(write(tmp_path / "t.csv", "id,generated\na,b\n\nc,d\n\n"), KNOWN).rows) == 2


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty"),
        ("id,generated\n", "has a header but no row"),
        ("id,generated\na\n", "row 2: the row is shorter than the header"),
        ("id,generated\na,the heart, lungs\n", r"row 2: the row is longer than the header \(3 fields, 2 columns\)"),
        ("id,generated,id\na,b,c\n", "has the column 'id' more than once"),
        ("study,output_text\na,b\n", "has no column of a known name: its first row is study, output_text"),
        ("output_text\nthe lungs are clear .\n", "begins with 'output_text', which looks like the name of a column"),
        ("id,generated\na,größer\n".encode("latin-1"), "not a CSV of UTF-8 text"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "not a CSV of UTF-8 text"),
        (b'id,generated\na,"open\n', "not a CSV of UTF-8 text"),
    ],
)
def test_a_wrong_csv_is_one_sentence(tmp_path, content, sentence):
    path = write(tmp_path / "t.csv", content)
    with pytest.raises(ValueError, match=sentence) as caught:
        read_table(path, KNOWN)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_or_a_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no file .*gone\.csv"):
        read_table(tmp_path / "gone.csv", KNOWN)
    with pytest.raises(ValueError, match="is a folder"):
        read_table(tmp_path, KNOWN)


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
    assert read_table(write(tmp_path / "t.json", json.dumps(content)), KNOWN).rows == rows


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is not valid JSON at line 1, column 2"),
        ("{}", "holds no reports"),
        ("[]", "holds no reports"),
        ("[1, 2]", "holds no reports"),
        ('"text"', "holds no reports"),
        ('{"a": "x", "b": 3}', "the value of 'b' is int"),
        ('{"a": "x", "a": "y"}', "the key 'a' stands there more than once"),
        ('{"a": {"generated": "x"}, "b": {"generated": null}}', "'generated' of 'b' is null, not text"),
        ('[{"id": "a", "generated": "x"}, {"id": "b"}]', "'object 1' lacks 'generated'"),
        ("[" * 100_000, "nested too deeply|not valid JSON"),
        (b"\xff\xfe", "is not UTF-8 text"),
    ],
)
def test_wrong_json_is_one_sentence(tmp_path, content, sentence):
    path = write(tmp_path / "t.json", content)
    with pytest.raises(ValueError, match=sentence) as caught:
        read_table(path, KNOWN)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_columns_are_found_in_any_spelling(tmp_path):
    table = Table(tmp_path, ("Study ID", "Ground-Truth"), [])
    assert table.find(("ground_truth",)) == "Ground-Truth"
    assert table.find(("study_id",)) == "Study ID"
    assert table.find(("id",)) is None
    assert plain_name(" Model Prediction ") == "model_prediction"


def test_many_names_are_some():
    assert some(["a", "b"]) == "'a', 'b'"
    assert some("abcde") == "'a', 'b', 'c' and 2 more"
