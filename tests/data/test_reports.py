import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from r2cmn.data.batches import ReportDataset, Sample, collate, view_paths
from r2cmn.data.images import ImageTransform, normalize
from r2cmn.data.reports import DataError, Study, read_annotation
from r2cmn.data.tokenizer import UNKNOWN, Tokenizer
from r2cmn.data.views import StudyViews, read_images


def _entry(**changes):
    return {"id": "a", "report": "Clear.", "image_path": ["a/0.png"]} | changes


def _write(dir, train=(), **more):
    content = {"train": list(train), "val": [], "test": []} | more
    (dir / "annotation.json").write_text(json.dumps(content))
    return dir


def test_annotation_becomes_studies(tmp_path):
    labels = [1, 0, -1, -2] + [0] * 10
    first = _entry(image_path=["a/0.png", "a/1.png"], labels=labels, subject_id=10_000_032, split="train", study_id=5)
    _write(tmp_path, [first, _entry(id="b", patient="p7")])
    studies = read_annotation(tmp_path)
    assert {split: len(rows) for split, rows in studies.items()} == {"train": 2, "val": 0, "test": 0}
    images = (tmp_path / "images" / "a" / "0.png", tmp_path / "images" / "a" / "1.png")
    assert studies["train"][0] == Study("a", "Clear.", images, "train", "10000032", tuple(labels))
    assert (studies["train"][1].patient, studies["train"][1].labels) == ("p7", None)
    for patient, keys in {"0": {"patient": 0}, "7": {"subject_id": None, "patient": 7}}.items():
        _write(tmp_path, [_entry(**keys)])
        assert read_annotation(tmp_path)["train"][0].patient == patient


@pytest.mark.parametrize("gap", [None, "", " \t", float("nan")])
def test_a_gap_names_no_patient(tmp_path, gap):
    keys = [
        {"patient": gap},
        {"subject_id": gap},
        {"subject_id": gap, "patient": "p7"},
        {"subject_id": 0, "patient": gap},
    ]
    _write(tmp_path, [_entry(id=f"CXR900{n}", **values) for n, values in enumerate(keys)])
    assert [study.patient for study in read_annotation(tmp_path)["train"]] == [None, None, "p7", "0"]


@pytest.mark.parametrize("kind", ["absolute", "dots", "file link", "folder link", "images link", "loop", "null"])
def test_an_image_outside_the_folder_is_refused_unless_it_is_allowed(tmp_path, kind):
    other, dir = tmp_path / "other", tmp_path / "data"
    (other / "images").mkdir(parents=True)
    (other / "images" / "0.png").write_bytes(b"pixels")
    (dir / "images").mkdir(parents=True)
    (dir / "images" / "file.png").symlink_to(other / "images" / "0.png")
    (dir / "images" / "folder").symlink_to(other / "images")
    (dir / "images" / "loop").symlink_to(dir / "images" / "loop")
    image = {
        "absolute": str(other / "images" / "0.png"), "dots": "../../other/images/0.png", "file link": "file.png",
        "folder link": "folder/0.png", "images link": "0.png", "loop": "loop/../../../other/0.png", "null": "a\0/0.png",
    }[kind]  # fmt: skip
    if kind == "images link":
        dir = tmp_path / "linked"
        dir.mkdir()
        (dir / "images").symlink_to(other / "images")
    _write(dir, [_entry(), _entry(id="b", image_path=["a/0.png", image])])
    with pytest.raises(DataError, match=r"study [ab] of 'train' names .*, which is not in .*allow_outside=true"):
        read_annotation(dir)
    assert read_annotation(dir, allow_outside=True)["train"][1].images[1] == dir / "images" / image


def test_images_inside_the_folder_may_have_any_path(tmp_path):
    dir = tmp_path / "data"
    (dir / "images" / "a").mkdir(parents=True)
    (dir / "raw").mkdir()
    (dir / "images" / "link.png").symlink_to(dir / "raw" / "0.png")
    names = ["link.png", "../raw/0.png", "a/../0.png", str(dir / "images" / "0.png"), "absent.png"]
    _write(dir, [_entry(image_path=names)])
    (tmp_path / "elsewhere").symlink_to(dir)
    for folder in (dir, tmp_path / "elsewhere"):
        assert len(read_annotation(folder)["train"][0].images) == 5


def test_a_byte_order_mark_is_skipped(tmp_path):
    _write(tmp_path, [_entry(report="Größe normal.")])
    content = (tmp_path / "annotation.json").read_text()
    (tmp_path / "annotation.json").write_text(content, encoding="utf-8-sig")
    assert read_annotation(str(tmp_path))["train"][0].report == "Größe normal."


def test_missing_folder_and_file_are_named(tmp_path):
    with pytest.raises(DataError, match=r"there is no data folder .*nowhere: set data\.dir to"):
        read_annotation(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no annotation\.json"):
        read_annotation(tmp_path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"train": [', r"annotation\.json is not a JSON file: .* line 1 column 12"),
        (b"", r"annotation\.json is not a JSON file: .* line 1 column 1 "),
        (b'{"train": "\xff"}', r"annotation\.json is not a JSON file: .* position 11"),
        (b"[]", "holds no object with the splits train, val, test"),
        (b'{"train": [], "val": [], "    ": []}', "lacks a list 'test': it holds 'train', 'val', '    '"),
        (b'{"train": {}}', "lacks a list 'train'"),
        (b'{"Train": [], "val": [], "test": []}', r"lacks a list 'train': it holds 'Train'.*lower case"),
        (b'{"train": [], "train": [], "val": [], "test": []}', "'train' more than once"),
        (b'{"train": [{"ID": "a"}], "val": [], "test": []}', "lacks 'id': it has 'ID'"),
        (b"{}", "lacks a list 'train': it holds nothing"),
    ],
)
def test_malformed_annotations_raise(tmp_path, content, sentence):
    (tmp_path / "annotation.json").write_bytes(content)
    with pytest.raises(DataError, match=sentence) as caught:
        read_annotation(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("text", "entry 1 of 'train' in .* is str, not an object"),
        ({"report": "", "image_path": []}, "entry 1 of 'train' in .*json lacks 'id'"),
        ({"id": "s7", "image_path": []}, r"entry 1 of 'train' in .* \(id s7\) lacks 'report'"),
        ({"id": "s7", "report": ""}, r"\(id s7\) lacks 'image_path'"),
        (_entry(id=7), "entry 1 .* has a 'id' of type int instead of str"),
        (_entry(report=None), r"\(id a\) has a 'report' of type NoneType instead of str"),
        (_entry(image_path="a/0.png"), "has a 'image_path' of type str instead of list"),
        (_entry(image_path=["a/0.png", 3]), "an 'image_path' with a value that is not a string"),
        (_entry(labels=[0] * 13), "'labels' that are not 14 integers from -2 to 1"),
        (_entry(labels=[0.0] * 14), "'labels' that are not 14 integers"),
        (_entry(labels=[True] * 14), "'labels' that are not 14 integers"),
        (_entry(labels=[2] * 14), "'labels' that are not 14 integers"),
        (_entry(labels="all"), "'labels' that are not 14 integers"),
    ],
)
def test_bad_entries_are_named(tmp_path, entry, sentence):
    _write(tmp_path, [_entry(id="good"), entry])
    with pytest.raises(DataError, match=sentence):
        read_annotation(tmp_path)


@pytest.fixture
def studies(make_dataset, tmp_path):
    return read_annotation(make_dataset(tmp_path / "drawn", num_studies=8, num_views=3, size=20))["train"]


def _dataset(studies, num_views=2):
    tokenizer = Tokenizer.build([study.report for study in studies], threshold=1)
    preparation = ImageTransform(16, 16).preparation(training=False)
    views = StudyViews(read_images(view_paths(studies, num_views), preparation), preparation.cut, num_views)
    return ReportDataset(studies, tokenizer, views), tokenizer


def test_samples_are_the_first_views_and_the_encoded_report(studies):
    dataset, tokenizer = _dataset(studies)
    assert len(dataset) == len(studies) == 4
    for index, study in enumerate(studies):
        sample = dataset[index]
        assert sample.index == index
        assert sample.tokens.tolist() == tokenizer.encode(study.report)
        assert (sample.tokens.dtype, sample.labels) == (torch.int64, None)
        for view in range(2):
            expected = ImageTransform(16, 16).evaluation(Image.open(study.images[view]).convert("RGB"))
            assert torch.equal(normalize(sample.images[view]), expected)
            assert torch.equal(collate([sample]).images[0, view], expected)
    with pytest.raises(IndexError):
        dataset[4]


def test_paths_and_reports_survive_pickling_to_a_worker(studies):
    moved = studies[0].images[0].rename(studies[0].images[0].with_name("Größe 1.png"))
    studies[0] = replace(studies[0], images=(moved, *studies[0].images[1:]))
    dataset, _ = _dataset(studies)
    again = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(collate([again[0]]).images, collate([dataset[0]]).images)
    assert torch.equal(again[3].tokens, dataset[3].tokens)


def test_a_dataset_holds_no_python_object_for_each_study(studies):
    dataset, _ = _dataset(studies)
    holders = (dataset, dataset.inputs, dataset.inputs.pixels, dataset._tokens, dataset.inputs.pixels._names)
    containers = [value for h in holders for value in vars(h).values() if isinstance(value, list | tuple | dict)]
    assert containers == []


def test_samples_have_labels(studies):
    labels = tuple(range(-2, 2)) + (1,) * 10
    dataset, _ = _dataset([replace(studies[0], labels=labels), studies[1]])
    assert dataset[0].labels.tolist() == list(labels)
    assert dataset[0].labels.dtype == torch.int8
    assert dataset[1].labels is None


def test_too_few_views_raise(studies):
    ragged = [studies[0], replace(studies[1], images=studies[1].images[:1])]
    with pytest.raises(DataError, match=f"study {studies[1].id} has 1 images, fewer than num_views=2"):
        _dataset(ragged)
    assert [view.shape for view in _dataset(ragged, num_views=1)[0][1].images] == [(3, 16, 16)]


def test_an_empty_split_has_no_samples():
    assert len(ReportDataset([], Tokenizer([UNKNOWN]), StudyViews(None, None, 1))) == 0


def _sample(index, length, labels=None):
    return Sample(index, torch.full((2, 3, 4, 4), float(index)), torch.tensor([0, *range(1, length - 1), 0]), labels)


def test_collate_pads_with_zero_to_the_longest_row():
    batch = collate([_sample(4, 3), _sample(2, 6), _sample(7, 5)])
    assert batch.index.tolist() == [4, 2, 7]
    assert batch.index.dtype == batch.tokens.dtype == torch.int64
    assert batch.images.shape == (3, 2, 3, 4, 4)
    assert batch.images[:, 0, 0, 0, 0].tolist() == [4, 2, 7]
    assert batch.tokens.tolist() == [[0, 1, 0, 0, 0, 0], [0, 1, 2, 3, 4, 0], [0, 1, 2, 3, 0, 0]]
    assert batch.labels is None


def test_collate_normalizes_gray_and_colored_views_alike():
    gray = torch.randint(0, 256, (1, 4, 4), dtype=torch.uint8)
    color = torch.randint(0, 256, (3, 4, 4), dtype=torch.uint8)
    tokens = torch.tensor([0, 1, 0])
    batch = collate([Sample(0, (gray, color), tokens, None), Sample(1, (color, gray.expand(3, 4, 4)), tokens, None)])
    assert (batch.images.shape, batch.images.dtype) == ((2, 2, 3, 4, 4), torch.float32)
    assert torch.equal(batch.images[0, 0], batch.images[1, 1])
    assert torch.equal(batch.images[0, 1], batch.images[1, 0])
    assert torch.equal(batch.images[0, 0], normalize(gray))


def test_collate_keeps_labels_only_if_all_samples_have_them():
    labels = torch.ones(14, dtype=torch.int8)
    assert collate([_sample(0, 3, labels), _sample(1, 3, -labels)]).labels[:, 0].tolist() == [1, -1]
    assert collate([_sample(0, 3, labels), _sample(1, 3)]).labels is None


@pytest.mark.realdata
def test_the_real_annotation_is_read(iu_xray_dir):
    studies = read_annotation(iu_xray_dir)
    assert {split: len(rows) for split, rows in studies.items()} == {"train": 2068, "val": 295, "test": 590}
    assert {len(study.images) for rows in studies.values() for study in rows} == {2}
    image = np.asarray(Image.open(Path(studies["test"][0].images[0])))
    assert image.std() > 1
