import pytest

from r2cmn.prepare.iu_xray.kaggle import openi_id, read_mirror, read_views


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("1_IM-9999-4001.dcm.png", "CXR1_1_IM-9999-4001"),
        ("images/9000_IM-9999-1001.dcm.png", "CXR9000_IM-9999-1001"),
        ("9000/9000_IM-9999-1001.dcm", "CXR9000_IM-9999-1001"),
        ("CXR9000_IM-9999-1001.png", "CXR9000_IM-9999-1001"),
        ("CXR1_1_IM-9999-3001.png", "CXR1_1_IM-9999-3001"),
        ("9011_IM-9999-1001.DCM", "CXR9011_IM-9999-1001"),
    ],
)
def test_an_image_has_one_id_in_all_distributions(name, id):
    assert openi_id(name) == id


def test_images_are_put_in_the_order_of_openi(tmp_path, mini):
    mini.folder(tmp_path, mini.kaggle_files())
    reports = {report.number: report for report in read_mirror(tmp_path)}
    for case in mini.cases:
        assert reports[case.number].images == case.images
        assert reports[case.number].findings == mini.text(case)
    assert read_views(tmp_path)[mini.cases[4].images[0]] == "frontal"
    assert read_views(tmp_path)[mini.cases[4].images[1]] == "lateral"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("indiana_projections.csv", None, "holds no indiana_projections.csv"),
        ("indiana_reports.csv", b"uid,MeSH\n1,normal\n", "has no column 'findings'"),
        ("indiana_reports.csv", b"uid,MeSH,findings\n1,normal,ok\n2,normal,\xff\n", "is not a CSV of UTF-8 text"),
        ("indiana_reports.csv", b"uid,MeSH,findings\n1,normal\n", "row 2: the row is shorter"),
        ("indiana_reports.csv", b'uid,MeSH,findings\n1,normal,"a\n', "is not a CSV"),
        ("indiana_reports.csv", b"uid,MeSH,findings\nx,normal,a\n", "the uid 'x'"),
        ("indiana_reports.csv", b"", "has no column 'uid'"),
    ],
)
def test_a_table_at_fault_is_named(tmp_path, mini, name, content, sentence):
    mini.folder(tmp_path, mini.kaggle_files())
    (tmp_path / name).unlink() if content is None else (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=sentence) as caught:
        read_mirror(tmp_path)
    assert "\n" not in str(caught.value)
