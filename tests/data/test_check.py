import os
from dataclasses import replace

import pytest
from rich.console import Console

from r2cmn.data import index
from r2cmn.data.check import Funnel, check_studies, check_vocabulary
from r2cmn.data.images import load_image
from r2cmn.data.index import measure_images
from r2cmn.data.reports import DataError, read_annotation
from r2cmn.data.tokenizer import CLEANING, Tokenizer


@pytest.fixture
def studies(tiny_dataset):
    return read_annotation(tiny_dataset)


@pytest.fixture
def opened(monkeypatch):
    """The images that were decoded."""
    seen = []

    def load(path, **options):
        seen.append(path)
        return load_image(path, **options)

    monkeypatch.setattr(index, "load_image", load)
    return seen


def _printed(funnel):
    console = Console(width=160, record=True, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    console.print(funnel)
    return console.export_text()


def _change(studies, split, position, **changes):
    studies[split][position] = replace(studies[split][position], **changes)
    return studies[split][position]


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-200])


def test_good_studies_are_kept_in_order(studies, opened):
    studies["test"][0] = replace(studies["test"][0], report=f" {studies['train'][4].report}\n")
    for position, text in ((1, "Another."), (2, "A third.")):
        _change(studies, "test", position, report=text)
    for position in range(3):
        _change(studies, "val", position, report=f"Only here {position}.")
    kept, funnel = check_studies(studies, num_views=2)
    assert kept == studies
    assert len(opened) == 24
    counts = {"train": 6, "val": 3, "test": 3}
    assert funnel == Funnel(read=counts, kept=counts, repeated={"val": 0.0, "test": 1 / 3}, num_views=2)
    assert "33.3%" in _printed(funnel)


def test_only_the_views_that_are_used_are_opened(studies, opened):
    check_studies(studies, num_views=1)
    assert {path.name for path in opened} == {"0.png"}


def test_images_that_are_not_used_are_counted(studies):
    _change(studies, "val", 0, images=studies["val"][0].images[:1])
    _, funnel = check_studies(studies, num_views=1)
    assert (funnel.more_views, funnel.unused_images) == (11, 11)
    assert "11 images of 11 studies are not used: the model reads 1 of each study" in _printed(funnel)
    assert "not used" not in _printed(check_studies({"train": studies["train"]}, num_views=2)[1])


def test_a_path_of_windows_is_explained(studies):
    _change(studies, "val", 0, images=tuple(path.parent / f"x\\{path.name}" for path in studies["val"][0].images))
    with pytest.raises(DataError, match=r"there is no image at .*: write / between folders, not"):
        check_studies(studies, num_views=2)


@pytest.mark.parametrize("name", ["id", "report", "patient"])
def test_text_that_is_no_utf8_is_refused_by_study(studies, name):
    _change(studies, "train", 2, **{name: "half\ud800"})
    with pytest.raises(DataError, match=rf"train/.*: its {name} cannot be written as UTF-8.*U\+D800") as caught:
        check_studies(studies, num_views=2)
    str(caught.value).encode()  # the sentence itself can be written
    kept, funnel = check_studies(studies, num_views=2, on_bad_sample="skip")
    assert (len(kept["train"]), len(funnel.bad)) == (5, 1)


def test_reports_of_mostly_unknown_words_are_refused_with_the_share(studies):
    tokenizer = Tokenizer.build([study.report for study in studies["train"]], threshold=1)
    check_vocabulary(studies, tokenizer, 0.5)
    for text in ("肺野清晰。心影不大。", "sub-1001_ses-1.dcm", "\x89PNG\r\n\x1a\n\0\0\0\rIHDR"):
        for position in range(3):
            _change(studies, "test", position, report=f"{text} {position}")
        with pytest.raises(DataError, match=r"(100|[5-9]\d)% of the words of the test reports.*data\.max_unknown=1"):
            check_vocabulary(studies, tokenizer, 0.5)
        check_vocabulary(studies, tokenizer, 1)


def _spoil(studies):
    """Spoil one study in each way; return the expected ids and reasons."""
    repeated = _change(studies, "train", 1, id=studies["train"][0].id)
    empty = _change(studies, "train", 2, report=" . \n")
    one_view = _change(studies, "val", 0, images=studies["val"][0].images[:1])
    missing = studies["test"][0]
    missing.images[1].unlink()
    truncated = studies["train"][3]
    _truncate(truncated.images[0])
    return {
        ("train", repeated.id): "its id is that of an earlier study",
        ("train", empty.id): "its report has no words",
        ("val", one_view.id): "it has 1 of 2 images",
        ("test", missing.id): f"there is no image at {missing.images[1]}",
        ("train", truncated.id): f"{truncated.images[0]} cannot be read whole",
    }


def test_bad_samples_are_skipped_and_listed_on_request(studies):
    first = studies["train"][0]
    expected = _spoil(studies)
    kept, funnel = check_studies(studies, num_views=2, on_bad_sample="skip")
    assert {split: len(rows) for split, rows in kept.items()} == {"train": 3, "val": 2, "test": 2}
    assert kept["train"][0] is first
    assert funnel.kept == {"train": 3, "val": 2, "test": 2}
    assert len(funnel.bad) == len(expected)
    for sample in funnel.bad:
        assert sample.reason.startswith(expected[sample.split, sample.id])
    printed = " ".join(_printed(funnel).split())
    assert f"train/{first.id}: its id is that of an earlier study" in printed


def test_bad_samples_are_an_error_by_default_and_cheap_checks_come_first(studies, opened):
    broken = studies["test"][0]
    broken.images[0].write_bytes(b"")
    empty = _change(studies, "train", 2, report="")
    with pytest.raises(DataError, match=rf"^1 of 12 studies cannot be used \(train/{empty.id}: its report") as caught:
        check_studies(studies, num_views=2)
    assert str(caught.value).endswith("or set data.on_bad_sample=skip to leave them out")
    with pytest.raises(DataError, match=r"it has 2 of 3 images.*or set data\.images\.num_views to read fewer"):
        check_studies(studies, num_views=3)
    assert opened == []
    _change(studies, "train", 2, report="Clear.")
    with pytest.raises(DataError, match=rf"test/{broken.id}: .*0\.png is empty"):
        check_studies(studies, num_views=2)


def test_at_most_twenty_bad_samples_are_listed(make_dataset, tmp_path):
    studies = read_annotation(make_dataset(tmp_path / "many", num_studies=60, num_views=1, size=8))
    for position in range(25):
        _change(studies, "train", position, report="")
    with pytest.raises(DataError) as caught:
        check_studies(studies, num_views=1)
    assert str(caught.value).count("no words") == 20
    assert "and 5 more" in str(caught.value)
    printed = _printed(check_studies(studies, num_views=1, on_bad_sample="skip")[1])
    assert printed.count("no words") == 20
    assert "and 5 more" in printed


@pytest.mark.parametrize("on_bad_sample", ["error", "skip"])
def test_a_study_or_patient_in_two_splits_is_always_an_error(studies, on_bad_sample, opened):
    _change(studies, "train", 0, patient="p1")
    _change(studies, "train", 1, patient="p1")  # one patient may have several studies in one split
    check_studies(studies, num_views=2, on_bad_sample=on_bad_sample)
    opened.clear()
    _change(studies, "val", 0, patient="p1")
    with pytest.raises(DataError, match=r"no patient may be in two splits.*: p1 \(train and val\)"):
        check_studies(studies, num_views=2, on_bad_sample=on_bad_sample)
    twice = studies["train"][0].id
    _change(studies, "test", 2, id=twice)
    with pytest.raises(DataError, match=rf"no study may be in two splits.*: {twice} \(train and test\)"):
        check_studies(studies, num_views=2, on_bad_sample=on_bad_sample)
    assert opened == []


def test_a_split_without_studies_raises(studies):
    for position in range(3):
        _change(studies, "val", position, report="")
    with pytest.raises(DataError, match="split 'val' has no studies left: 3 were in the annotation"):
        check_studies(studies, num_views=2, on_bad_sample="skip")
    with pytest.raises(DataError, match="split 'test' has no studies left: 0 were"):
        check_studies({"train": studies["train"], "test": []}, num_views=2)


def test_an_unknown_on_bad_sample_raises(studies):
    with pytest.raises(ValueError, match=r"on_bad_sample is one of error, skip, not 'drop'"):
        check_studies(studies, num_views=2, on_bad_sample="drop")


def test_good_images_are_not_decoded_again_until_they_change(studies, opened, monkeypatch, tmp_path):
    monkeypatch.setenv("R2CMN_CACHE", str(tmp_path / "cache"))
    paths = [path for rows in studies.values() for study in rows for path in study.images]
    assert measure_images(paths)[1] == {}
    assert len(opened) == 24
    opened.clear()
    assert measure_images(paths)[1] == {}
    assert opened == []
    _truncate(paths[3])
    for _ in range(2):  # a bad image is looked at each time
        assert list(measure_images(paths)[1]) == [paths[3]]
        assert opened == [paths[3]]
        opened.clear()
    paths[5].write_bytes(paths[4].read_bytes())
    os.utime(paths[5], ns=(1, 1))
    measure_images(paths)
    assert set(opened) == {paths[3], paths[5]}


def test_an_unusable_cache_is_not_an_error(studies, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("R2CMN_CACHE", str(tmp_path / "file"))
    assert measure_images(studies["train"][0].images)[1] == {}
    monkeypatch.setenv("R2CMN_CACHE", str(tmp_path / "torn"))
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / f"image_index_v{index._VERSION}.sqlite").write_bytes(b"no database" * 100)
    _truncate(studies["train"][1].images[0])
    assert list(measure_images(studies["train"][1].images)[1]) == [studies["train"][1].images[0]]


@pytest.mark.slow
@pytest.mark.realdata
def test_all_real_images_can_be_read(iu_xray_dir):
    kept, funnel = check_studies(read_annotation(iu_xray_dir), num_views=2, clean=CLEANING["iu_xray"])
    assert sum(len(rows) for rows in kept.values()) == 2953
    assert funnel.bad == ()
    assert funnel.repeated["test"] == pytest.approx(277 / 590), "46.9%, as evaluations and baselines count"
