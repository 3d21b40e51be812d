"""The table of reports: which studies, with which images, and what a license class leaves of it."""

import logging
from types import SimpleNamespace

import pytest
from PIL import Image
from pytorch_lightning.loggers import WandbLogger

from r2cmn.callbacks import ReportTable as AsConfigured
from r2cmn.callbacks.report_table import ReportTable, side_by_side


class Dashboard(WandbLogger):
    """Takes tables as W&B does, and keeps them."""

    def __init__(self):
        self.tables = []

    def log_table(self, key, columns, data, step):
        self.tables.append((key, columns, data, step))


class Text:
    """Takes text, as TensorBoard does."""

    def __init__(self):
        self.said = []
        self.experiment = SimpleNamespace(add_text=lambda *said: self.said.append(said))


@pytest.fixture
def studies(tmp_path):
    for number in range(4):
        Image.new("RGB", (600, 300), (40 * number,) * 3).save(tmp_path / f"{number}_0.png")
        Image.new("L", (100, 200), 40 * number).save(tmp_path / f"{number}_1.png")
    files = [tuple(tmp_path / f"{n}_{view}.png" for view in (0, 1, 0)) for n in range(4)]
    return [SimpleNamespace(images=images) for images in files]


def show(callback, studies, license_class, *loggers, epochs=1):
    data = SimpleNamespace(studies={"val": studies}, num_views=2)
    trainer = SimpleNamespace(
        sanity_checking=False, is_global_zero=True, loggers=list(loggers), global_step=5, datamodule=data
    )
    for epoch in range(epochs):
        reports = [(i, f"g{i}, {epoch}", f"r{i}") for i in range(4)]
        module = SimpleNamespace(license_class=license_class, reports=reports)
        callback.on_validation_end(trainer, module)


def test_it_is_where_configurations_look_for_it():
    assert AsConfigured is ReportTable


@pytest.mark.parametrize(
    ("license_class", "images", "shown"),
    [("public", None, True), ("public", False, False), ("public", True, True), ("non_commercial", None, False),
     ("non_commercial", True, True)],
)  # fmt: skip
def test_images_are_shown_of_public_data_and_where_asked_for(studies, license_class, images, shown):
    logger = Dashboard()
    show(ReportTable(2, images), studies, license_class, logger)
    ((key, columns, rows, step),) = logger.tables
    assert (key, step) == ("val/reports", 5)
    assert columns == ["study", *(["images"] if shown else []), "generated", "reference"]
    assert [row[0] for row in rows] == [0, 1]
    assert [row[-2:] for row in rows] == [["g0, 0", "r0"], ["g1, 0", "r1"]]
    if shown:
        assert rows[1][1].image.size == (256 + 100, 200)  # two views, each at most 256 wide and high
        assert rows[1][1].image.getpixel((0, 0)) == 40


@pytest.mark.parametrize("images", [None, False])
def test_under_an_agreement_nothing_is_shown(studies, images):
    dashboard, text = Dashboard(), Text()
    show(ReportTable(2, images), studies, "dua", dashboard, text)
    assert dashboard.tables == text.said == []


def test_images_under_an_agreement_are_refused_before_training():
    with pytest.raises(ValueError, match=r"^callbacks\.report_table\.images=true is refused .*license_class=dua"):
        ReportTable(images=True).setup(None, SimpleNamespace(license_class="dua"), "fit")


def test_another_value_is_refused():
    with pytest.raises(ValueError, match=r"callbacks\.report_table\.images must be true, false or null, not 'few'"):
        ReportTable(images="few")


def test_every_validation_shows_the_same_studies_and_reads_their_images_once(studies, monkeypatch):
    read = []
    monkeypatch.setattr(
        "r2cmn.callbacks.report_table.side_by_side", lambda views: read.append(views) or side_by_side(views)
    )
    logger = Dashboard()
    show(ReportTable(2), studies, "public", logger, epochs=3)
    assert [[row[0] for row in rows] for _, _, rows, _ in logger.tables] == [[0, 1]] * 3
    assert [rows[0][2] for _, _, rows, _ in logger.tables] == ["g0, 0", "g0, 1", "g0, 2"]
    assert len(read) == 2


def test_tensorboard_is_given_text(studies):
    logger = Text()
    show(ReportTable(1), studies, "public", logger)
    assert logger.said == [("val/reports", "**0** g0, 0\n\n*r0*", 5)]


def test_an_image_that_is_gone_does_not_end_a_training(studies, caplog):
    studies[0].images[0].unlink()
    logger = Dashboard()
    with caplog.at_level(logging.WARNING, "r2cmn"):
        show(ReportTable(2), studies, "public", logger)
    assert logger.tables[0][2][0][:2] == [0, None]
    assert "0_0.png" in caplog.text


def test_without_a_data_module_there_are_no_images():
    logger = Dashboard()
    show(ReportTable(1), [], "public", logger)
    assert logger.tables[0][2] == [[0, None, "g0, 0", "r0"]]
