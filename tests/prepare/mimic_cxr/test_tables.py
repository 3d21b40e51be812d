import importlib.util
from pathlib import Path

import pytest

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.prepare.archives import RawError
from r2cmn.prepare.mimic_cxr.tables import RadiographRow, read_images, read_labels

_SPEC = importlib.util.spec_from_file_location("mimic_miniature", Path(__file__).with_name("mimic_miniature.py"))
miniature = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(miniature)
FIRST = miniature.ROWS[0].dicom_id


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return miniature.make_miniature(tmp_path_factory.mktemp("raw"))


@pytest.fixture
def made(tmp_path):
    return miniature.make_miniature(tmp_path / "raw", packed=False)


def images(made):
    return read_images(made.table("split"), made.table("metadata"))


def test_images_with_split_and_view(shared):
    splits = {"train": "train", "validate": "val", "test": "test"}
    assert images(shared) == [
        RadiographRow(row.dicom_id, row.study.study, row.study.subject, splits[row.study.split], row.view)
        for row in miniature.ROWS
    ]
    assert [row.path for row in images(shared)] == [row.path for row in miniature.ROWS]


def test_columns_are_found_by_name(made):
    expected = images(made)
    for name in ("split", "metadata"):
        made.rewrite(
            name, lambda text: "".join(",".join(reversed(line.split(","))) + "\n" for line in text.splitlines())
        )
    assert images(made) == expected


def test_a_packed_name_with_unpacked_content(made):
    expected = images(made)
    table = made.table("split")
    table.rename(table.with_name(table.name + ".gz"))
    assert images(made) == expected


def _without_column(text, number):
    return "".join(
        ",".join(v for i, v in enumerate(line.split(",")) if i != number) + "\n" for line in text.splitlines()
    )


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        (
            "split",
            lambda t: _without_column(t, 3),
            r"split.csv has no column 'split'",
        ),
        ("metadata", lambda t: _without_column(t, 4), r"metadata.csv has no column 'ViewPosition'"),
        ("split", lambda t: "", r"split.csv has no column 'dicom_id'"),
        ("split", lambda t: t[: t.index("\n") + 1], r"split.csv has no rows"),
        ("split", lambda t: t[: t.rindex(",")], r"split.csv, row 18: the row is shorter"),
        (
            "split",
            lambda t: t.replace("validate", "valid"),
            r"has the split 'valid' for .* train, validate, test",
        ),
        ("split", lambda t: t + t.splitlines()[1] + "\n", rf"names the image {FIRST} twice"),
        ("split", lambda t: t.replace("train", "test", 1), r"has the patient 10000101 in two splits"),
        (
            "metadata",
            lambda t: t.replace("50000011", "50000099"),
            rf"contradict each other on image {FIRST}: take both",
        ),
        ("metadata", lambda t: t.replace(FIRST, "0" * 8), rf"contradict each other on image {FIRST}"),
        ("split", lambda t: t.replace("test", '"test'), r"split.csv is not a CSV"),
    ],
)
def test_tables_that_cannot_be_used(made, name, change, sentence):
    made.rewrite(name, change)
    with pytest.raises(ValueError, match=sentence) as caught:
        images(made)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("id", ["../../../etc/passwd", FIRST.upper(), FIRST + "x"])
def test_ids_become_paths_and_are_checked(made, id):
    for name in ("split", "metadata"):
        made.rewrite(name, lambda text: text.replace(FIRST, id))
    with pytest.raises(RawError, match="holds invalid ids"):
        images(made)


def test_a_table_that_is_cut_short(tmp_path):
    made = miniature.make_miniature(tmp_path / "raw")
    table = made.table("split")
    table.write_bytes(table.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"split.csv.gz is cut short or damaged"):
        images(made)


def test_labels_by_name_whatever_the_order(shared):
    labels = read_labels(shared.table("chexpert"), {50000011})
    expected = {"Pneumonia": -1, "Edema": 0, "Lung Opacity": 1}
    assert labels == {50000011: [expected.get(name, -2) for name in OBSERVATIONS]}
    labels = read_labels(shared.table("test-set-labeled"), {50000017, 1})
    expected = {"Lung Opacity": 0, "Cardiomegaly": 1}
    assert labels == {50000017: [expected.get(name, -2) for name in OBSERVATIONS]}


def test_labels_that_are_none(made):
    made.rewrite("chexpert", lambda text: text.replace("-1.0", "0.5"))
    with pytest.raises(RawError, match=r"has labels of study 50000011 other than 1.0, 0.0, -1.0 and blank"):
        read_labels(made.table("chexpert"), {50000011})
    made.rewrite("chexpert", lambda text: text.replace("Pleural Other", "Other"))
    with pytest.raises(ValueError, match="has no column 'Pleural Other'"):
        read_labels(made.table("chexpert"), {50000011})
