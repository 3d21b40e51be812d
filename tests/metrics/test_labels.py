import csv
import gzip

import numpy as np
import pytest

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.metrics.labels import read_labels

# as CheXpert's labeler orders its columns, which is not the order of OBSERVATIONS
CHEXPERT = ["No Finding", *OBSERVATIONS[:-1]]


def write(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def row(**labels):
    return dict.fromkeys(OBSERVATIONS, "") | {name.replace("_", " "): value for name, value in labels.items()}


def test_columns_are_matched_by_name_in_any_order(tmp_path):
    one, other = row(Edema="1.0", Pneumonia="-1.0"), row(No_Finding="1", Fracture="0.0", Pleural_Effusion="0")
    rows = [["50", "7", "text, with\na line break", *(labels[n] for n in CHEXPERT)] for labels in (one, other)]
    rows[1][1] = "NA"
    path = write(tmp_path / "chexpert.csv", ["subject_id", "study_id", "Reports", *CHEXPERT], rows)
    found = read_labels(path)
    assert list(found) == ["7", "NA"]
    assert all(labels.dtype == np.int8 and labels.shape == (14,) for labels in found.values())
    by_name = [{n: int(v) for n, v in zip(OBSERVATIONS, labels, strict=True) if v != -2} for labels in found.values()]
    assert by_name == [{"Edema": 1, "Pneumonia": -1}, {"No Finding": 1, "Fracture": 0, "Pleural Effusion": 0}]


def test_other_spellings_of_names(tmp_path):
    header = ["id", *("airspace_opacity" if n == "Lung Opacity" else n.upper() for n in OBSERVATIONS)]
    path = write(tmp_path / "a.csv", header, [["x", *("1" if n == "Lung Opacity" else "nan" for n in OBSERVATIONS)]])
    assert read_labels(path)["x"].tolist() == [1 if n == "Lung Opacity" else -2 for n in OBSERVATIONS]


def test_a_named_column_of_ids(tmp_path):
    path = write(tmp_path / "a.csv", ["id", "Dicom", *OBSERVATIONS], [["a", "b", *[""] * 14]])
    assert list(read_labels(path)) == ["a"]
    assert list(read_labels(path, "dicom")) == ["b"]
    with pytest.raises(ValueError, match=r"a\.csv has no column 'uid' \(its columns are id, Dicom"):
        read_labels(path, "uid")


def test_gzip_and_a_byte_order_mark(tmp_path):
    text = "﻿" + ",".join(["study_id", *OBSERVATIONS]) + "\n\n5," + ",".join(["0"] * 14) + "\n"
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert read_labels(tmp_path / "a.csv.gz")["5"].tolist() == [0] * 14


@pytest.mark.parametrize(
    ("header", "rows", "sentence"),
    [
        (["Reports", *OBSERVATIONS], [], "no column 'id' or 'study_id'"),
        ([], [], "no column 'id' or 'study_id'.*none"),
        (["id", *OBSERVATIONS[2:]], [], "no column for Enlarged Cardiomediastinum, Cardiomegaly"),
        (["id", *OBSERVATIONS, "Airspace Opacity"], [], "more than one column for Lung Opacity"),
        (["id", *OBSERVATIONS], [["a", *[""] * 14], ["a", *[""] * 14]], "the id 'a' occurs twice"),
        (["id", *OBSERVATIONS], [[" ", *[""] * 14]], "the id of a row is empty"),
        (["id", *OBSERVATIONS], [["a", *["1"] * 13]], "row 2: the row is shorter than the header"),
        (["id", *OBSERVATIONS], [["a", "2", *[""] * 13]], "id 'a', column 'Enlarged Cardiomediastinum': '2'"),
        (["id", *OBSERVATIONS], [["a", *[""] * 13, "yes"]], "id 'a', column 'No Finding': 'yes'"),
    ],
)
def test_a_wrong_file_is_an_error_of_one_line(tmp_path, header, rows, sentence):
    path = write(tmp_path / "bad.csv", header, rows)
    with pytest.raises(ValueError, match=sentence) as raised:
        read_labels(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"id,\xff\xfe", b"\x1f\x8b\x08", b'id,"a'])
def test_a_file_that_is_not_text_is_an_error(tmp_path, content):
    for name in ("a.csv", "a.csv.gz"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.csv.*( is not a CSV|is cut short|has no column)"):
            read_labels(tmp_path / name)
    with pytest.raises(ValueError, match="no file"):
        read_labels(tmp_path / "absent.csv")
