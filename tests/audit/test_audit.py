"""Audits of invented folders, counted by hand."""

import hashlib
import json
import shutil
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from r2cmn.audit import UNKNOWN_BEFORE, audit
from r2cmn.audit.counts import count_normal
from r2cmn.data.chexpert_plus import CheXpertPlusDataModule
from r2cmn.data.iu_xray import IUXRayDataModule
from r2cmn.data.mimic_cxr import MIMICCXRDataModule
from r2cmn.data.observations import OBSERVATIONS
from r2cmn.data.reports import DataError, read_annotation
from r2cmn.data.tokenizer import TEXT_RULES
from r2cmn.prepare.collections import CHEXPERT_PLUS, IU_XRAY, MIMIC_CXR
from r2cmn.prepare.summary import Step
from r2cmn.prepare.table import prepare_table


def entry(id, report, images, **more):
    return {"id": id, "report": report, "image_path": images, **more}


def problems(found):
    return {problem.what: (list(problem.names), problem.error) for problem in found.problems}


def test_a_sound_folder_has_no_problem(sound):
    found = audit(sound)
    assert problems(found) == {}
    assert [(step.what, step.studies, step.images) for step in found.funnel] == [("in annotation.json", 6, 12)]
    assert UNKNOWN_BEFORE in found.notes
    train = found.counts["train"]
    assert (train.entries, train.studies, train.images, train.patients, train.views) == (3, 3, 6, 3, {2: 3})
    assert found.origin.license_class == "dua"  # nobody said what it is


def test_words_are_counted_as_the_model_reads_them(sound):
    lengths = audit(sound, with_images=False).counts["train"].lengths
    # "the lungs are clear .", "the heart is large .", "no effusion is seen xxxx ."
    assert (lengths.mean, lengths.mean_without_stops) == (16 / 3, 13 / 3)
    assert (lengths.shortest, lengths.longest) == (5, 6)
    assert lengths.histogram == [0, 3]


def test_the_share_of_cut_reports_is_that_at_60_and_100_ids(write_folder):
    rows = [entry(str(n), " ".join(["word"] * n), []) for n in (58, 59, 98, 99)]  # and a full stop each
    cut = audit(write_folder(train=rows), with_images=False).counts["train"].lengths.cut
    assert cut == {60: 3 / 4, 100: 1 / 4}


def test_marks_and_odd_reports_are_counted(write_folder):
    reports = [
        "XXXX and XXXX are clear.",
        "___ is ___.",
        "",
        "?!",
        "Clear.",
        "word " * 301,
        "the heart \ufffd is large",
    ]
    rows = [entry(str(n), report, [f"{n}.png"]) for n, report in enumerate(reports)]
    found = audit(write_folder(train=rows))
    assert found.counts["train"].marks == {"XXXX": (1, 2), "___": (1, 2)}
    assert problems(found) == {
        "reports without words": (["train/2", "train/3"], True),
        "reports of fewer than 3 words": (["train/1", "train/4"], False),
        "reports of more than 300 words": (["train/5"], False),
        "reports with characters that are not text or of a wrong encoding": (["train/6"], False),
    }
    last = found.funnel[-1]
    assert (last.studies, last.lost, last.images, last.lost_images) == (5, 2, 5, 2)


def test_repeated_patients_studies_and_ids_are_errors(write_folder):
    rows = [
        entry("a", "one word.", ["a.png"], subject_id=1),
        entry("b", "two words.", ["b.png"], subject_id=2),
        entry("b", "three words.", ["c.png"], subject_id=2),
    ]
    others = [entry("d", "four words.", ["d.png"], subject_id=1), entry("b", "five words.", ["e.png"], subject_id=3)]
    found = problems(audit(write_folder(train=rows, test=others)))
    found = {what: value for what, value in found.items() if "fewer" not in what}
    assert found == {
        "patients in two splits": (["1 (train and test)"], True),
        "studies in two splits": (["b (train and test)"], True),
        "ids that a split has twice": (["b (train)"], True),
    }


def test_repeated_reports_count_a_study_once(write_folder):
    def image(subject, study, name):
        return f"p1{subject // 10}/p100000{subject:02}/s500000{study:02}/{name}.jpg"

    rows = [
        entry("a", "The heart is large.", [image(1, 1, "a")]),
        entry("b", "The heart is large.", [image(1, 1, "b")]),  # of the same study
        entry("c", "Clear lungs.", [image(2, 2, "c")]),
        entry("d", "CLEAR LUNGS", [image(3, 3, "d")]),
    ]
    others = [entry("e", "clear lungs.", [image(4, 4, "e")]), entry("f", "New words.", [image(5, 5, "f")])]
    found = audit(write_folder(train=rows, test=others))
    assert found.origin.collection is MIMIC_CXR
    repeated = found.words.repeated
    assert (repeated.studies["train"], repeated.distinct["train"]) == (3, 2)
    assert repeated.also_in["train"] == {"train": 2, "val": 0, "test": 2}
    assert repeated.also_in["test"] == {"train": 1, "val": 0, "test": 0}


def test_repeated_pictures_are_grouped_with_their_reach(sound):
    images = sound / "images"
    shutil.copy(images / "s0/0.png", images / "s0/1.png")
    shutil.copy(images / "s1/0.png", images / "s4/1.png")
    Image.open(images / "s1/1.png").resize((128, 128)).save(images / "s2/1.png")
    found = audit(sound)
    groups = found.images.repeated.record(sound)["groups"]
    assert [(group["reach"], sorted(group["images"])) for group in groups] == [
        ("within a study", ["s0/0.png", "s0/1.png"]),
        ("across splits", ["s1/0.png", "s4/1.png"]),
        ("of two patients", ["s1/1.png", "s2/1.png"]),
    ]
    assert found.images.repeated.held_out == {"val": 0, "test": 1}
    assert any("1 pictures are in two splits, as 2 images" in note for note in found.notes)


def test_one_file_that_several_studies_name_is_a_repeated_picture(write_folder):
    rows = [entry("CXR9001", "The lungs are clear.", ["a.png"], patient="p1"),
            entry("CXR9002", "The heart is large.", ["b.png"], patient="p2"),
            entry("CXR9003", "No effusion is seen.", ["b.png"], patient="p2"),
            entry("CXR9004", "No effusion is there.", ["c.png", "c.png"], patient="p4")]  # fmt: skip
    dir = write_folder(train=rows, test=[entry("CXR9005", "The heart is small.", ["a.png"], patient="p5")])
    found = audit(dir)
    repeated = found.images.repeated.record(dir)
    assert repeated == {
        "compared": 3,
        "held_out": {"val": 0, "test": 1},
        "groups": [
            {"images": ["a.png"], "splits": ("train", "test"), "studies": ("CXR9001", "CXR9005"),
             "patients": ("p1", "p5"), "reach": "across splits"},
            {"images": ["b.png"], "splits": ("train",), "studies": ("CXR9002", "CXR9003"), "patients": ("p2",),
             "reach": "of two studies"},
        ],
    }  # fmt: skip
    assert any("1 pictures are in two splits, as 1 images" in note for note in found.notes)


def test_one_file_is_no_repeated_picture_if_one_study_names_it(write_folder):
    def image(study, name):
        return f"p10/p10000001/s500000{study:02}/{name}.jpg"

    rows = [entry(f"CXR900{n}", "The lungs are clear.", [image(1, "a")], subject_id=1) for n in range(2)]
    rows += [entry("CXR9002", "The heart is large.", [image(1, "b")], subject_id=1)]
    found = audit(write_folder(train=rows, test=[entry("CXR9003", "Some more words.", [image(2, "c")], subject_id=2)]))
    assert found.origin.collection is MIMIC_CXR
    assert found.images.repeated.groups == []
    assert found.images.repeated.held_out == {"val": 0, "test": 0}


def test_missing_damaged_empty_and_constant_images_are_named(sound):
    images = sound / "images"
    (images / "s0/0.png").unlink()
    content = (images / "s1/0.png").read_bytes()
    (images / "s1/0.png").write_bytes(content[: len(content) // 2])
    (images / "s2/0.png").write_bytes(b"")
    Image.fromarray(np.full((64, 64), 7, dtype=np.uint8)).save(images / "s3/0.png")
    found = audit(sound)
    names, error = problems(found)["images that cannot be read whole"]
    assert error
    assert [name.split(":")[0] for name in names] == ["s0/0.png", "s1/0.png", "s2/0.png"]
    assert problems(found)["images that show nothing (one gray)"] == (["s3/0.png"], False)
    counts = found.images.counts
    assert (counts.read, counts.unreadable, counts.constant) == (9, 3, 1)
    last = found.funnel[-1]
    assert (last.studies, last.lost) == (3, 3)


def test_sizes_and_modes_are_counted(sound):
    Image.fromarray(np.random.default_rng(0).integers(0, 65536, (30, 80)).astype(np.uint16)).save(
        sound / "images/s0/0.png"
    )
    Image.open(sound / "images/s0/1.png").convert("RGB").save(sound / "images/s0/1.png")
    counts = audit(sound).images.counts
    assert counts.sizes[:2] == [(64, 64, 11), (80, 30, 1)]
    assert counts.short_sides == (30, 64, 64)
    assert counts.modes == {"L": 10, "I;16": 1, "RGB": 1}


def test_a_folder_without_images_is_one_error_unless_it_was_prepared_so(sound):
    shutil.rmtree(sound / "images")
    assert [str(problem) for problem in audit(sound).errors] == [f"images that are not in {sound / 'images'}: 12"]
    record = {"dataset": "iu_xray", "license_class": "non_commercial", "funnel": [], "splits": {},
              "options": {"reports_only": True}}  # fmt: skip
    (sound / "prepare.json").write_text(json.dumps(record))
    assert audit(sound).errors == []


def test_normal_studies_are_counted_by_tags_else_by_labels(write_folder):
    def labels(no_finding):
        return [-2] * OBSERVATIONS.index("No Finding") + [no_finding]

    rows = [entry(f"a{n}", "Some more words.", [f"a{n}.png"], labels=labels(1 if n < 1 else -2)) for n in range(4)]
    others = [entry(f"b{n}", "Some more words.", [f"b{n}.png"], labels=labels(1 if n < 2 else -2)) for n in range(2)]
    dir = write_folder(train=rows, test=others)
    found = audit(dir, with_images=False)
    assert (found.normal.source, found.normal.share("train"), found.normal.share("test")) == ("labels", 0.25, 1.0)
    assert any(note.startswith("100.0% of the test studies are normal (2 of 2), against 25.0% in train")
               for note in found.notes)  # fmt: skip
    (dir / "mesh.json").write_text(json.dumps({"a0": {"major": ["normal"]}, "b0": {"major": ["Edema/mild", "Normal"]},
                                               "b1": {"major": ["abnormal"]}}))  # fmt: skip
    found = audit(dir, with_images=False)
    assert (found.normal.source, found.normal.known) == ("tags", {"train": 1, "val": 0, "test": 2})
    assert (found.normal.share("train"), found.normal.share("test"), found.normal.share("val")) == (1.0, 0.5, None)


def test_normal_studies_are_unknown_without_tags_and_labels(sound):
    normal = audit(sound, with_images=False).normal
    assert (normal.source, normal.share("train"), normal.sentence()) == ("unknown", None, None)


def test_the_funnel_begins_with_the_steps_of_the_preparation(tmp_path, sound):
    rows = [{"id": f"s{n}", "report": "The lungs are clear.", "images": f"s{n}/0.png", "patient": f"p{n}",
             "split": split} for n, split in enumerate(["train", "train", "val", "test"])]  # fmt: skip
    table = sound / "images" / "studies.jsonl"
    table.write_text("\n".join(json.dumps({**row, "images": [row["images"]]}) for row in rows))
    out = tmp_path / "out"
    prepare_table(table, out)
    found = audit(out)
    assert [(step.what, step.studies) for step in found.funnel] == [("rows", 4), ("in annotation.json", 4)]
    assert UNKNOWN_BEFORE not in found.notes
    annotation = json.loads((out / "annotation.json").read_text())
    annotation["test"] *= 2
    (out / "annotation.json").write_text(json.dumps(annotation))
    assert any("it was changed since" in note for note in audit(out).notes)


def test_losses_are_shown_and_the_download_is_compared(sound):
    steps = [Step("in the official split", 12, 20)]
    for what, studies, images in (("no findings", 8, 14), ("image missing or damaged", 8, 12), ("kept", 8, 12)):
        steps.append(steps[-1].then(what, studies, images))
    funnel = [step._asdict() for step in steps]
    record = {"dataset": "mimic_cxr", "license_class": "dua", "funnel": funnel, "splits": {},
              "options": {"target": "impression", "views": "all"},
              "published": [{"what": "images", "published": 377110, "here": 20, "difference": -377090}]}  # fmt: skip
    (sound / "prepare.json").write_text(json.dumps(record))
    found = audit(sound, with_images=False)
    assert [(s.studies, s.lost, s.images, s.lost_images) for s in found.funnel[:4]] == [
        (12, 0, 20, 0), (8, 4, 14, 6), (8, 0, 12, 2), (8, 0, 12, 0)]  # fmt: skip
    rows = Counter(row.source for row in found.compared)
    assert rows == {"download": 1, "Table 1": 12}  # impressions are not R2Gen's annotation
    assert found.compared[0].difference == -377090


def test_numbers_within_the_rounding_do_not_differ():
    from r2cmn.audit.published import Compared

    assert Compared("images", "Table 1", 5200, 5249, 50).difference == 0
    assert Compared("images", "Table 1", 5200, 5251, 50).difference == 51
    assert Compared("patients", "Table 1", 5200, None, 50).difference is None


def test_iu_xray_is_recognized_and_its_split_is_compared(write_folder):
    from r2cmn.prepare.iu_xray.studies import read_split

    split = read_split()
    ids = {name: [id for id in split if split[id] == name][:3] for name in ("train", "val", "test")}
    ids["train"], ids["test"] = [*ids["train"][1:], ids["test"][0], "CXR9999_IM-0001"], ids["test"][1:]
    rows = {name: [entry(id, f"Some words of {id}.", []) for id in row] for name, row in ids.items()}
    found = audit(write_folder(**rows), with_images=False)
    assert found.origin.collection is IU_XRAY
    assert found.origin.license_class == "non_commercial"
    notes = " ".join(found.notes)
    assert "2,947 of the 2,955 studies of the field's split are not here" in notes
    assert "1 studies are not in the field's split" in notes
    assert "1 studies are in another split than the field's" in notes
    assert next(row.difference for row in found.compared if row.what == "entries, train") == 4 - 2069


@pytest.mark.parametrize(
    ("collection", "module"),
    [(IU_XRAY, IUXRayDataModule), (MIMIC_CXR, MIMICCXRDataModule), (CHEXPERT_PLUS, CheXpertPlusDataModule)],
)
def test_collections_agree_with_their_data_modules(collection, module):
    assert TEXT_RULES[collection.name] == module.text_defaults
    assert collection.license_class == module.license_default


def test_images_are_read_once(sound, monkeypatch):
    before = audit(sound).record()
    monkeypatch.setattr("r2cmn.data.index._measure", lambda path: pytest.fail(f"{path} was read again"))
    assert audit(sound).record() == before


def test_a_changed_image_is_read_again(sound):
    audit(sound)
    Image.new("L", (20, 20), 5).save(sound / "images/s0/0.png")
    assert audit(sound).images.counts.constant == 1


def test_a_damaged_index_of_images_changes_nothing(sound, tmp_path, monkeypatch):
    monkeypatch.setenv("R2CMN_CACHE", str(tmp_path / "cache"))
    before = audit(sound).record()
    (index,) = (tmp_path / "cache").glob("*.sqlite")
    index.write_bytes(b"no database" * 100)
    assert audit(sound).record() == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda dir: (dir / "annotation.json").write_text("{"), "not a JSON file"),
        (lambda dir: (dir / "annotation.json").write_text('{"train": [], "val": [], "test": []}'), "holds no studies"),
        (lambda dir: (dir / "prepare.json").write_text("[]"), "is damaged"),
        (lambda dir: (dir / "mesh.json").write_text("[1]"), "holds no tags"),
        (lambda dir: shutil.rmtree(dir), "there is no data folder"),
    ],
)
def test_a_damaged_file_is_a_data_error(sound, change, sentence):
    change(sound)
    with pytest.raises(DataError, match=sentence):
        audit(sound)


@pytest.mark.parametrize(("name", "value"), [("dataset", "mimic"), ("license_class", "secret")])
def test_unknown_choices_are_refused(sound, name, value):
    with pytest.raises(ValueError, match=f"--{name.replace('_', '-')} is one of .*, not '{value}'"):
        audit(sound, **{name: value})


@pytest.mark.realdata
def test_iu_xray_has_the_measured_counts(iu_xray_dir, openi_reports):
    found = audit(iu_xray_dir, tags=openi_reports, with_images=False)
    assert found.origin.collection is IU_XRAY
    assert found.errors == []
    assert found.words.columns == 761
    assert {split: count.entries for split, count in found.counts.items()} == {"train": 2068, "val": 295, "test": 590}
    assert {s: round(c.lengths.mean, 1) for s, c in found.counts.items()} == {"train": 36.4, "val": 35.8, "test": 32.5}
    assert round(found.counts["test"].lengths.cut[60] * 590) == 29
    assert sum(count.marks["XXXX"][0] for count in found.counts.values()) == 1226
    assert found.words.repeated.also_in["test"]["train"] == 277
    assert (found.normal.normal, found.normal.known["test"]) == ({"train": 682, "val": 97, "test": 307}, 590)
    assert any(note.startswith("52.0% of the test studies are normal (307 of 590), against 33.0% in train")
               for note in found.notes)  # fmt: skip


@pytest.mark.realdata
def test_tags_of_the_archive_agree_with_another_reading(iu_xray_dir, openi_reports, tmp_path):
    other = openi_reports.parents[1] / "iu_mesh_r2gen.json"
    if not other.is_file():
        pytest.skip(f"the tags are not at {other}")
    tags = {id: {"major": row["iu_mesh"].split(";")} for id, row in json.loads(other.read_text()).items()}
    (tmp_path / "mesh.json").write_text(json.dumps(tags))
    studies = read_annotation(iu_xray_dir)
    ours = count_normal(iu_xray_dir, studies, openi_reports)
    assert count_normal(iu_xray_dir, studies, tmp_path / "mesh.json") == ours


@pytest.mark.realdata
@pytest.mark.slow
def test_iu_xray_has_two_repeated_pictures(iu_xray_dir):
    repeated = audit(iu_xray_dir).images.repeated
    # by digest, so that the ids of these studies stand in the split alone
    digests = [
        tuple(hashlib.sha256(each.encode()).hexdigest()[:12] for each in group.studies) for group in repeated.groups
    ]
    assert [(group.reach, *studies) for group, studies in zip(repeated.groups, digests, strict=True)] == [
        ("within a study", "b4e71580a185"), ("within a study", "61cbd444c654")]  # fmt: skip
