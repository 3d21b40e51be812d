"""`prepare_iu_xray` on a miniature of the collection in each of its distributions."""

import csv
import hashlib
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from r2cmn.data.reports import read_annotation
from r2cmn.prepare import iu_xray as module
from r2cmn.prepare.archives import RawError
from r2cmn.prepare.folder import OutputError
from r2cmn.prepare.images import Rendering
from r2cmn.prepare.iu_xray import prepare_iu_xray
from r2cmn.prepare.iu_xray.studies import read_split

FULL = Rendering(side=0)


def check(out, mini, views=True, tags=True, steps=""):
    """Everything that a data folder of the miniature must hold, whatever it was made of."""
    annotation = json.loads((out / "annotation.json").read_text())
    entries = {entry["id"]: entry for split in annotation.values() for entry in split}
    assert len(entries) == len(mini.kept)
    for case in mini.kept:
        paths = [f"{case.id}/0.png", f"{case.id}/1.png"]
        assert entries[case.id] == {
            "id": case.id,
            "report": mini.text(case),
            "image_path": paths,
            "split": case.split,
        }
        assert entries[case.id] in annotation[case.split]
        for path, image in zip(paths, case.images, strict=False):
            assert np.array_equal(np.asarray(Image.open(out / "images" / path)), mini.drawn(image)), path
    order = [id for id in read_split() if id in entries]
    assert [entry["id"] for entries in annotation.values() for entry in entries] == order
    with (out / "manifest.csv").open() as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    assert set(rows) == {path for entry in entries.values() for path in entry["image_path"]}
    for path, row in rows.items():
        assert row["sha256"] == hashlib.sha256((out / "images" / path).read_bytes()).hexdigest()
        assert (row["study"], row["width"], row["height"], row["steps"]) == (path.split("/")[0], "40", "60", steps)
        assert row["view"] == (("frontal" if path.endswith("0.png") else "lateral") if views else "")
    if tags:
        mesh = json.loads((out / "mesh.json").read_text())
        assert {id: tuple(of["major"]) for id, of in mesh.items()} == {case.id: case.tags for case in mini.kept}
    assert "CC BY-NC-ND 4.0" in (out / "LICENSE.txt").read_text()
    assert json.loads((out / "prepare.json").read_text())["license_class"] == "non_commercial"
    assert [len(studies) for studies in read_annotation(out, allow_outside=True).values()] == [3, 1, 1]


def test_the_archives_of_openi(openi, mini, tmp_path):
    for number, raw in enumerate([openi, openi / "NLMCXR_reports.tgz"]):
        summary = prepare_iu_xray(raw, tmp_path / f"out{number}", rendering=FULL)
        check(summary.out, mini, views=False)
        assert {step.what: step.studies for step in summary.funnel} == {
            "reports": 9,
            "with findings": 8,
            "with two images or more": 6,
            "in the field's split": 5,
            "with two images that can be read": 5,
        }
        assert summary.splits == {"train": 3, "val": 1, "test": 1}
        assert not summary.left_out
        assert [note.split(" ")[-1] for note in summary.notes if "in no split" in note] == ["CXR9007_IM-9999"]
        assert any("holds 9 reports, Open-i's archive 3,955" in note for note in summary.notes)
        assert any("2,950 of the 2,955 studies" in note for note in summary.notes)


@pytest.mark.parametrize("images", ["NLMCXR_png", "images", "."])
def test_what_the_archives_unpack_to(mini, tmp_path, images):
    raw = mini.folder(tmp_path / "raw", mini.report_files())
    mini.folder(raw / images, mini.png_files())
    check(prepare_iu_xray(raw, tmp_path / "a", rendering=FULL).out, mini, views=False)
    flat = mini.folder(tmp_path / "flat", {name.split("/")[1]: xml for name, xml in mini.report_files().items()})
    check(prepare_iu_xray(flat, tmp_path / "b", raw / images, rendering=FULL).out, mini, views=False)


def test_the_dicom_archive(mini, tmp_path, make_dicom):
    raw = mini.folder(tmp_path / "raw", mini.report_files())
    files, last = {}, mini.first["test"].id
    for case in mini.cases:
        for image in case.images:
            stored = mini.drawn(image)
            file = make_dicom(tmp_path / "one.dcm", 255 - stored, 8, "MONOCHROME1", WindowCenter=128, WindowWidth=256,
                              ViewPosition="LL" if image == f"{last}-2001" else "")  # fmt: skip
            files[f"{case.number}/{mini.stem(image)}.dcm"] = file.read_bytes()
    mini.tgz(raw / "NLMCXR_dcm.tgz", files)
    out = prepare_iu_xray(raw, tmp_path / "out", rendering=FULL).out
    with (out / "manifest.csv").open() as file:
        views = {row["image"]: row["view"] for row in csv.DictReader(file)}
    assert views.pop(f"{last}/1.png") == "LL"
    assert set(views.values()) == {""}
    (out / "manifest.csv").write_text((out / "manifest.csv").read_text().replace(",LL,", ",,"))
    check(out, mini, views=False, steps="window 128 256; invert; 8 bits")
    assert not [path for path in out.rglob("*") if path.is_file() and b"Zyxwv" in path.read_bytes()]


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_the_mirror_on_kaggle_gives_the_same_ids_and_order(mini, tmp_path, kind):
    make = {"folder": mini.folder, "zip": mini.zipped}[kind]
    raw = make(tmp_path / ("raw" if kind == "folder" else "archive.zip"), mini.kaggle_files())
    summary = prepare_iu_xray(raw, tmp_path / "out", rendering=FULL)
    check(summary.out, mini)
    assert any("the reports are those of the mirror" in note for note in summary.notes)


@pytest.mark.parametrize("kind", ["folder", "inner folder", "zip"])
def test_the_zip_of_r2gen(mini, tmp_path, kind):
    if kind == "zip":
        raw = mini.zipped(tmp_path / "iu_xray.zip", mini.r2gen_files())
    else:
        raw = mini.folder(tmp_path / "raw", mini.r2gen_files(prefix="" if kind == "folder" else "iu_xray/"))
    check(prepare_iu_xray(raw, tmp_path / "out", rendering=FULL).out, mini, views=False, tags=False)


def test_original_reports_are_preferred_and_images_may_come_from_elsewhere(mini, tmp_path):
    changed = [case._replace(findings="Changed by a mirror.") for case in mini.cases]
    raw = mini.folder(tmp_path / "raw", mini.kaggle_files(changed))
    mini.tgz(raw / "NLMCXR_reports.tgz", mini.report_files())
    summary = prepare_iu_xray(raw, tmp_path / "a", rendering=FULL)
    assert summary.source == "Open-i"
    check(summary.out, mini)
    other = mini.zipped(tmp_path / "iu_xray.zip", mini.r2gen_files())
    check(prepare_iu_xray(raw, tmp_path / "b", other, rendering=FULL).out, mini)


def test_reports_only(openi, mini, tmp_path):
    (openi / "NLMCXR_png.tgz").unlink()
    with pytest.raises(RawError, match=r"no images beside .* or give --reports-only"):
        prepare_iu_xray(openi, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    prepare_iu_xray(openi, tmp_path / "out", reports_only=True)
    studies = read_annotation(tmp_path / "out")["test"]
    assert [(s.id, s.report) for s in studies] == [(mini.first["test"].id, "Drawn nodule.")]
    assert not list((tmp_path / "out/images").iterdir())


def test_images_are_made_smaller_copied_or_linked(mini, tmp_path):
    raw = mini.folder(
        tmp_path / "raw", {**mini.report_files(), **{f"images/{n}": c for n, c in mini.png_files().items()}}
    )
    id = mini.first["test"].id
    small = prepare_iu_xray(raw, tmp_path / "small", rendering=Rendering("jpeg", side=20)).out
    assert Image.open(small / f"images/{id}/0.jpg").size == (20, 30)
    assert read_annotation(small)["test"][0].images[1] == small / f"images/{id}/1.jpg"
    check(prepare_iu_xray(raw, tmp_path / "copy", rendering=Rendering("copy", side=0)).out, mini, views=False)
    archive = mini.tgz(tmp_path / "images.tgz", mini.png_files())
    with pytest.raises(RawError, match="--save link needs images on the disk"):
        prepare_iu_xray(raw, tmp_path / "archived", archive, rendering=Rendering("link", side=0))
    linked = prepare_iu_xray(raw, tmp_path / "link", rendering=Rendering("link", side=0)).out
    check(linked, mini, views=False)
    target = (linked / f"images/{id}/0.png").resolve()
    assert target == raw / f"images/{id}-1001.png"


def test_bad_images_leave_their_study_out_and_a_mended_one_comes_back(openi, mini, tmp_path):
    files = mini.png_files()
    train, val, test = (mini.first[split].id for split in ("train", "val", "test"))
    files[f"{test}-2001.png"] = b""
    files[f"{val}-1001.png"] = files[f"{val}-1001.png"][:-50]
    del files[f"{train}-1001.png"]
    mini.tgz(openi / "NLMCXR_png.tgz", files)
    summary = prepare_iu_xray(openi, tmp_path / "out", rendering=FULL)
    assert set(summary.left_out) == {train, val, test}
    assert summary.left_out[test] == f"{test}-2001.png is empty"
    assert "cannot be read whole" in summary.left_out[val]
    assert summary.left_out[train] == f"there is no image {train}-1001"
    assert summary.splits == {"train": 2, "val": 0, "test": 0}
    mini.tgz(openi / "NLMCXR_png.tgz", mini.png_files())
    check(prepare_iu_xray(openi, tmp_path / "out", rendering=FULL).out, mini, views=False)


def test_a_preparation_resumes_after_a_cut_archive_of_images(openi, mini, tmp_path, monkeypatch):
    whole = (openi / "NLMCXR_png.tgz").read_bytes()
    (openi / "NLMCXR_png.tgz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RawError, match=r"NLMCXR_png\.tgz is cut short or damaged"):
        prepare_iu_xray(openi, tmp_path / "out", rendering=FULL)
    assert not (tmp_path / "out/annotation.json").exists()
    done = len(list((tmp_path / "out/images").rglob("*.png")))
    assert 0 < done < 10
    (openi / "NLMCXR_png.tgz").write_bytes(whole)
    rendered = []
    render = module.render
    monkeypatch.setattr(module, "render", lambda name, *a, **b: rendered.append(name) or render(name, *a, **b))
    check(prepare_iu_xray(openi, tmp_path / "out", rendering=FULL).out, mini, views=False)
    assert len(rendered) == 10 - done
    before = (tmp_path / "out/annotation.json").stat().st_mtime_ns
    again = prepare_iu_xray(openi, tmp_path / "out", rendering=FULL)
    assert any("complete already" in note for note in again.notes)
    assert (tmp_path / "out/annotation.json").stat().st_mtime_ns == before
    with pytest.raises(OutputError, match="was begun with side 0, not 512"):
        prepare_iu_xray(openi, tmp_path / "out")


def test_wrong_places_are_one_sentence(openi, mini, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.tgz").write_text("hello")
    cases = [
        (tmp_path / "none", None, "there is no file or folder"),
        (tmp_path / "empty", None, "holds no reports of IU X-Ray: neither NLMCXR_reports.tgz"),
        (tmp_path / "text.tgz", None, "is neither a tar nor a zip"),
        (openi / "NLMCXR_png.tgz", None, "holds no reports of IU X-Ray: give NLMCXR_reports.tgz"),
        (openi, tmp_path / "none", "--images names where the images are"),
        (openi, tmp_path / "empty", "holds no image of IU X-Ray"),
        (mini.tgz(tmp_path / "a.tgz", {"ecgen-radiology/9007.xml": mini.report_files()["ecgen-radiology/9007.xml"]}),
         openi, "holds none of the 2,955 studies"),
        (mini.tgz(tmp_path / "b.tgz", {"../1.xml": b"<eCitation/>"}), openi, "leads out of its folder"),
    ]  # fmt: skip
    for raw, images, sentence in cases:
        with pytest.raises(RawError, match=sentence) as caught:
            prepare_iu_xray(raw, tmp_path / "out", images)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out/annotation.json").exists()
        shutil.rmtree(tmp_path / "out", ignore_errors=True)


def test_the_data_folder_must_not_be_among_the_images(mini, tmp_path):
    raw = mini.folder(tmp_path / "raw", mini.report_files())
    mini.folder(raw, mini.png_files())
    with pytest.raises(RawError, match="name a folder outside of it"):
        prepare_iu_xray(raw, raw / "out")


def test_the_first_of_two_files_of_an_image_counts(mini, tmp_path):
    raw = mini.folder(tmp_path / "raw", mini.report_files())
    twice = {f"{name}.png": mini.png("another picture") for name in mini.png_files()}  # next to each other in the order
    mini.folder(raw / "images", mini.png_files() | twice)
    check(prepare_iu_xray(raw, tmp_path / "out", rendering=FULL).out, mini, views=False)
