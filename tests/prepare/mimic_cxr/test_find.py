import gzip
import importlib.util
import shutil
from pathlib import Path

import pytest

from r2cmn.prepare.archives import RawError
from r2cmn.prepare.mimic_cxr.find import find_raw

_SPEC = importlib.util.spec_from_file_location("mimic_miniature", Path(__file__).with_name("mimic_miniature.py"))
miniature = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(miniature)


@pytest.fixture
def made(tmp_path):
    return miniature.make_miniature(tmp_path / "raw")


@pytest.mark.parametrize(
    "below", [".", "physionet.org", "physionet.org/files", "physionet.org/files/mimic-cxr-jpg/2.1.0"]
)
def test_it_is_found_from_every_folder_above_it(made, below):
    found = find_raw(made.raw / below)
    assert found.dir.resolve() == made.jpg.resolve()
    assert found.reports.resolve() == made.reports.resolve()
    assert found.version == "2.1.0"
    assert found.notes() == []


def test_reports_beside_the_images(made):
    moved = shutil.move(made.reports, made.jpg / "mimic-cxr-reports.zip")
    assert find_raw(made.jpg).reports.resolve() == Path(moved).resolve()


def test_reports_that_were_unpacked_beside_their_zip(made):
    (made.reports.parent / "files" / "p10").mkdir(parents=True)
    assert find_raw(made.raw).reports.resolve() == made.reports.resolve()
    made.reports.unlink()
    assert find_raw(made.raw).reports.resolve() == made.reports.parent.resolve()


def test_reports_of_the_version_of_the_images_come_first(made):
    older = made.reports.parent.parent / "2.0.0" / "mimic-cxr-reports.zip"
    older.parent.mkdir()
    shutil.copy(made.reports, older)
    assert find_raw(made.raw).reports.resolve() == made.reports.resolve()
    (made.raw / "mimic-cxr-reports.zip").write_bytes(made.reports.read_bytes())
    shutil.move(made.reports, older)
    with pytest.raises(RawError, match=r"there are two sets of reports, .* and .*"):
        find_raw(made.raw)


def test_images_of_two_versions(made):
    shutil.copytree(made.jpg, made.jpg.with_name("2.0.0"))
    with pytest.raises(RawError, match=r"holds MIMIC-CXR-JPG twice, in .* and .*: name one of them"):
        find_raw(made.raw)


def test_mixed_versions_are_noted(made):
    older = made.jpg.with_name("2.0.0")
    made.jpg.rename(older)
    notes = find_raw(older, made.reports).notes()
    assert notes[0].endswith("is named after 2.0.0 but holds a table of 2.1.0: report which one you use")
    (older / "mimic-cxr-2.1.0-test-set-labeled.csv").unlink()
    found = find_raw(older, made.reports)
    assert found.version == "2.0.0"
    assert found.notes() == ["the images are of version 2.0.0 and the reports of 2.1.0: report both"]


def test_two_versions_of_one_table(made):
    table = made.table("split")
    shutil.copy(table, table.with_name("mimic-cxr-2.1.0-split.csv.gz"))
    with pytest.raises(RawError, match=r"holds mimic-cxr-2.0.0-split.csv.gz and mimic-cxr-2.1.0-split.csv.gz, of two"):
        find_raw(made.raw).table("split")


def test_a_table_both_packed_and_unpacked_is_one_table(made):
    table = made.table("split")
    table.with_suffix("").write_bytes(gzip.decompress(table.read_bytes()))
    assert find_raw(made.raw).table("split").name == "mimic-cxr-2.0.0-split.csv"


def test_no_download_at_all(tmp_path):
    with pytest.raises(RawError, match="there is no folder"):
        find_raw(tmp_path / "none")
    with pytest.raises(RawError, match=r"holds no mimic-cxr-2.0.0-split.csv.gz, nor mimic-cxr-jpg/2.1.0/ that does"):
        find_raw(tmp_path)


def test_no_images(made):
    shutil.rmtree(made.jpg / "files")
    with pytest.raises(RawError, match=r"holds no images: the folders files/p10 to files/p19"):
        find_raw(made.raw)


def test_no_reports(made):
    made.reports.unlink()
    with pytest.raises(RawError, match=r"there are no reports in .*: download mimic-cxr-reports.zip into it"):
        find_raw(made.raw)


@pytest.mark.parametrize("name", ["metadata", "chexpert", "test-set-labeled"])
def test_a_missing_table_is_named(made, name):
    made.table(name).unlink()
    version = "2.1.0" if name == "test-set-labeled" else "2.0.0"
    with pytest.raises(RawError, match=f"lacks mimic-cxr-{version}-{name}.csv.gz or mimic-cxr-{version}-{name}.csv"):
        find_raw(made.raw).table(name)
