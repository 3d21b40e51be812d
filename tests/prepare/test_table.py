import json

import pytest

from r2cmn.prepare.archives import RawError
from r2cmn.prepare.table import TableError, read_table

HEADER = "id,report,images,patient,split\n"


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def problems(path):
    with pytest.raises(TableError) as caught:
        read_table(path)
    assert all(f"row {row}: {what}" in str(caught.value) for row, what in caught.value.problems)
    return [tuple(problem) for problem in caught.value.problems]


def test_a_csv_and_a_jsonl_say_the_same(tmp_path):
    table = write(tmp_path / "a.csv", f'\ufeff{HEADER}a,"Clear, both.\nTwo lines",x/1.png; 2.png,p,train\n'
                  "b,Clear.,3.png,,validate\nc,Clear.,4.png,q,test\n")  # fmt: skip
    lines = [
        {
            "id": "a",
            "report": "Clear, both.\nTwo lines",
            "images": ["x/1.png", "2.png"],
            "patient": "p",
            "split": "train",
        },
        {"id": "b", "report": "Clear.", "images": ["3.png"], "split": "val"},
        {"id": "c", "report": "Clear.", "images": ["4.png"], "patient": "q", "split": "test"},
    ]
    same = write(tmp_path / "a.jsonl", "\n\n".join(json.dumps(line) for line in lines) + "\n")
    rows = read_table(table)
    assert [(r.id, r.report, r.images, r.patient, r.split) for r in rows] == [
        ("a", "Clear, both.\nTwo lines", (tmp_path / "x/1.png", tmp_path / "2.png"), "p", "train"),
        ("b", "Clear.", (tmp_path / "3.png",), "", "val"),
        ("c", "Clear.", (tmp_path / "4.png",), "q", "test"),
    ]
    assert [r.number for r in rows] == [2, 3, 4]
    others = read_table(same)
    assert [(r.id, r.report, r.images, r.patient, r.split) for r in others] == [
        (r.id, r.report, r.images, r.patient, r.split) for r in rows
    ]
    assert [r.number for r in others] == [1, 3, 5]


def test_every_problem_is_listed_with_its_row(tmp_path):
    path = write(tmp_path / "a.csv", HEADER + (
        "a,Clear.,1.png,p,train\n"
        "a,Clear.,2.png,q,val\n"          # 3: repeated
        ",Clear.,3.png,,train\n"          # 4: no id
        "../x,Clear.,4.png,,train\n"      # 5: a path
        "d,..,5.png,,train\n"             # 6: no words
        "e,Clear., ; ,,train\n"           # 7: no image
        "f,Clear.,6.png,,holdout\n"       # 8: unknown split
        "g,Clear.,7.png,,\n"              # 9: no split
        "h,Clear.,8.png,p,test\n"         # 10: patient p is in train
        "i\n"                             # 11: short
    ))  # fmt: skip
    assert problems(path) == [
        (3, "the id 'a' is that of row 2"),
        (4, "it has no id"),
        (5, "the id '../x' is no name of a folder: leave slashes and outer blanks out"),
        (6, "the report has no words"),
        (7, "it has no image"),
        (8, "the split 'holdout' is none of train, val, test"),
        (9, "it has no split, but other rows do"),
        (10, "patient 'p' is in test, and in train in row 2"),
        (11, "it has no image"),
        (11, "it has no report"),
        (11, "it has no split, but other rows do"),
    ]


def test_values_of_a_wrong_type_are_problems(tmp_path):
    lines = [
        {"id": 7, "report": "Clear.", "images": ["a.png"]},
        {"id": "b", "report": None, "images": ["a.png"]},
        {"id": "c", "report": 3, "images": "a.png"},
        {"id": ["d"], "report": "Clear.", "images": [1]},
    ]
    path = write(tmp_path / "a.jsonl", "\n".join(json.dumps(line) for line in lines))
    assert problems(path) == [
        (2, "it has no report"),
        (3, "images is not a list of file names"),
        (3, "it has no image"),
        (3, "report is int, not text"),
        (4, "id is list, not text"),
        (4, "images is not a list of file names"),
        (4, "it has no image"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.csv", "", "has no column 'id': its columns are none"),
        ("a.csv", "id,images\na,b\n", "has no column 'report': its columns are id, images"),
        ("a.csv", HEADER, "has no row"),
        ("a.csv", HEADER.encode() + b"a,ok,1.png,,\nb,\xe9t\xe9,2.png,,\n", "is not UTF-8 text in line 3: save it as"),
        ("a.csv", HEADER + 'a,"b', "is no CSV"),
        ("a.csv", HEADER + "a,Clear.,1.png,,train\n", "has no row with the split val"),
        ("a.jsonl", '{"id": 1}\n{', "is not valid JSON in line 2"),
        ("a.jsonl", "[1]", "holds no object in line 1"),
    ],
)
def test_what_is_no_table_is_one_sentence(tmp_path, name, text, sentence):
    with pytest.raises(RawError, match=sentence) as caught:
        read_table(write(tmp_path / name, text))
    assert "\n" not in str(caught.value)
