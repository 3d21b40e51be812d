"""`r2cmn explain`: the files of a study, of two models and of a data set, the license, and wrong arguments."""

import json
import os
import shutil
import signal
import stat
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from typer.testing import CliRunner

from r2cmn import CMNModule, ReportDataModule, compose
from r2cmn.cli import app
from r2cmn.commands.explain_studies import Job
from r2cmn.config import plain
from r2cmn.explain import Explanation
from r2cmn.files import write_whole

DATA = [
    "data=folder", "data.images={resize: 64, size: 64}", "data.text={threshold: 1, max_length: 10}",
    "data.num_workers=0", "++data.license_class=public",
]  # fmt: skip
TINY = [
    "backbone.name=test_resnet", "dim=16", "memory.num_vectors=8", "memory.num_queried=2", "memory.num_threads=2",
    "encoder_decoder.num_layers=1", "encoder_decoder.num_heads=2",
]  # fmt: skip
ONE = {"report.txt", "explanation.json", "figure5.svg", "figure5.png", "figure6.svg", "figure6.png", "explorer.html"}
BOXES = [{"finding": "effusion", "view": 0, "box": [12, 24, 36, 48]}]


@pytest.fixture(scope="module")
def made(make_dataset, tmp_path_factory):
    """A data folder with boxes, and a run with a checkpoint of CMN and one of BASE."""
    folder = make_dataset(tmp_path_factory.mktemp("made") / "data", num_studies=16, size=48)
    annotation = json.loads((folder / "annotation.json").read_text(encoding="utf-8"))
    annotation["test"][0]["boxes"] = BOXES
    (folder / "annotation.json").write_text(json.dumps(annotation), encoding="utf-8")
    run = folder.parent / "run"
    (run / "checkpoints").mkdir(parents=True)
    for name, memory in (("cmn", TINY), ("base", ["memory=none", *(o for o in TINY if not o.startswith("memory"))])):
        config = compose([*memory, *DATA, f"data.dir={folder}"])
        data = ReportDataModule(**{k: v for k, v in plain(config.data).items() if k != "_target_"})
        parts = {part: plain(config[part]) for part in ("backbone", "memory", "encoder_decoder")}
        save(parts, data, run / "checkpoints" / f"{name}.ckpt")
    OmegaConf.save(OmegaConf.create({"data": plain(config.data)}), run / "config.yaml")
    return run


def save(parts, data, path):
    """Save a module that writes at least two words."""
    for seed in range(20):
        torch.manual_seed(seed)
        module = CMNModule(parts, data.describe()).eval()
        if len(module.generate([data.studies["test"][0].images])[0].split()) > 1:
            break
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(path)


@pytest.fixture
def run(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def no_drawing(monkeypatch):
    """Write empty figures: t-SNE and 300 dots an inch take seconds."""

    def write(drawn, folder, name, mode):
        for suffix in ("svg", "png"):
            write_whole(folder / f"{name}.{suffix}", drawn, mode)

    monkeypatch.setattr("r2cmn.commands.explain_studies.write_figure", write)
    for name in ("figure5", "figure6"):
        monkeypatch.setattr(f"r2cmn.commands.explain_studies.{name}", lambda *_: "")


@pytest.fixture
def views(run):
    return [run.parent / "data" / "images" / "study_0" / f"{view}.png" for view in (0, 1)]


def explain(*arguments):
    return CliRunner().invoke(app, ["explain", *map(str, arguments), "--device", "cpu"])


def names(folder):
    return {path.name for path in Path(folder).iterdir()}


def modes(folder):
    return {stat.S_IMODE(path.stat().st_mode) for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_study_gets_report_json_figures_and_page(run, views):
    result = explain(run / "checkpoints" / "cmn.ckpt", *views, "--out", "out")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "out"
    assert names("out") == ONE
    assert Path("out/figure5.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in Path("out/figure6.svg").read_text(encoding="utf-8")
    assert modes("out") == {0o644}
    module = CMNModule.load_from_checkpoint(run / "checkpoints" / "cmn.ckpt", map_location="cpu")
    [report] = module.generate([views])
    assert Path("out/report.txt").read_text(encoding="utf-8") == report + "\n"
    found = Explanation.from_json(Path("out/explanation.json").read_text(encoding="utf-8"))
    assert " ".join(found.words) == report
    assert [(view.name, view.file) for view in found.views] == [("view 1", str(views[0])), ("view 2", str(views[1]))]
    assert found.study == "study_0"
    assert set(found.maps) == {"attention", "memory", "occlusion"}
    assert found.deletion is not None
    assert "Not for diagnosis" in Path("out/explorer.html").read_text(encoding="utf-8")


def test_two_models_are_side_by_side(run, views, no_drawing):
    checkpoints = run / "checkpoints"
    result = explain(checkpoints / "cmn.ckpt", *views, "--compare", checkpoints / "base.ckpt", "--no-deletion")
    assert result.exit_code == 0, result.output
    assert names("explained") == ONE | {"report_2.txt", "explanation_2.json"}
    base = Explanation.from_json(Path("explained/explanation_2.json").read_text(encoding="utf-8"))
    assert set(base.maps) == {"attention", "occlusion"}
    page = Path("explained/explorer.html").read_text(encoding="utf-8")
    assert page.count('<section class="model"') == 2
    assert base.model in page


def test_a_run_and_a_shared_model_are_explained_as_their_checkpoint_is(run, views, tmp_path, no_drawing):
    checkpoint = run / "checkpoints" / "cmn.ckpt"
    CMNModule.load_from_checkpoint(checkpoint, map_location="cpu").save_pretrained(tmp_path / "shared")
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    shutil.copy(checkpoint, tmp_path / "run" / "checkpoints" / "last.ckpt")
    written = []
    for number, model in enumerate((checkpoint, tmp_path / "shared", tmp_path / "run")):
        result = explain(model, *views, "--no-deletion", "--out", f"out_{number}")
        assert result.exit_code == 0, result.output
        written.append(Path(f"out_{number}/report.txt").read_text(encoding="utf-8"))
    assert written[0] == written[1] == written[2]


def test_a_data_set_gets_an_index_and_boxes(run, no_drawing):
    result = explain(run / "checkpoints" / "cmn.ckpt", "--studies", 2, "--no-deletion")
    assert result.exit_code == 0, result.output
    assert names("explained") == {"1", "2", "index.html"}
    assert names("explained/1") == names("explained/2") == ONE
    page = Path("explained/index.html").read_text(encoding="utf-8")
    assert 'href="1/explorer.html">study_0<' in page
    assert 'href="2/explorer.html">study_1<' in page
    first, second = (
        Explanation.from_json(Path(f"explained/{n}/explanation.json").read_text(encoding="utf-8")) for n in (1, 2)
    )
    assert first.views[0].boxes == [{"finding": "effusion", "box": [0.25, 0.5, 0.75, 1.0]}]
    assert (first.views[1].boxes, second.views[0].boxes) == ([], [])
    assert first.reference.endswith(" .")


def test_under_an_agreement_all_is_private_and_the_page_shows_nothing(run, no_drawing):
    terms = run.parent / "data" / "LICENSE.txt"
    terms.write_text("These are the terms.", encoding="utf-8")
    data = [*DATA, f"data.dir={run.parent / 'data'}", "++data.license_class=dua"]
    arguments = [run / "checkpoints" / "cmn.ckpt", *data, "--studies", 1, "--no-deletion"]
    result = explain(*arguments)
    assert result.exit_code == 0, result.output
    assert modes("explained") == {0o600}
    assert stat.S_IMODE(Path("explained").stat().st_mode) == 0o700
    report = Path("explained/1/report.txt").read_text(encoding="utf-8").strip()
    for page in (
        Path("explained/index.html").read_text(encoding="utf-8"),
        Path("explained/1/explorer.html").read_text(encoding="utf-8"),
    ):
        assert report not in page
        assert "study_0" not in page
        assert "iVBOR" not in page
        assert "neither words nor images" in page
    result = explain(*arguments, "--i-have-permission")
    assert result.exit_code == 0, result.output
    assert modes("explained") == {0o600}
    page = Path("explained/1/explorer.html").read_text(encoding="utf-8")
    assert "These are the terms." in page
    assert "iVBOR" in page


def test_a_given_report_is_explained(run, views, no_drawing):
    result = explain(run / "checkpoints" / "cmn.ckpt", *views, "--report", "The lungs are clear.", "--words", "lungs,x")
    assert result.exit_code == 0, result.output
    assert "note" not in result.stderr.replace("note: no report", "")
    found = Explanation.from_json(Path("explained/explanation.json").read_text(encoding="utf-8"))
    assert (found.words, found.given) == (["the", "lungs", "are", "clear", "."], True)
    assert "has x" in result.stderr
    assert '"start": 1' in Path("explained/explorer.html").read_text(encoding="utf-8")


def test_another_number_of_views_is_noted_and_pixels_may_be_replaced(run, views, no_drawing):
    result = explain(run / "checkpoints" / "cmn.ckpt", views[0], "--occlusion", "pixels", "--no-deletion")
    assert result.exit_code == 0, result.output
    assert "r2cmn: note: the model was trained on 2 view(s), this study has 1" in result.stderr
    found = Explanation.from_json(Path("explained/explanation.json").read_text(encoding="utf-8"))
    assert len(found.views) == 1
    assert found.notes["occlusion"].startswith("the pixels of a patch")
    result = explain(run / "checkpoints" / "base.ckpt", views[0], "--occlusion", "none", "--no-deletion")
    assert result.exit_code == 0, result.output
    found = Explanation.from_json(Path("explained/explanation.json").read_text(encoding="utf-8"))
    assert set(found.maps) == {"attention"}
    assert "figure6.svg" not in names("explained")


def test_an_interruption_leaves_no_page(run, views, monkeypatch, no_drawing):
    arguments = [run / "checkpoints" / "cmn.ckpt", *views, "--no-deletion"]
    assert explain(*arguments).exit_code == 0

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("r2cmn.commands.explain_studies.write_page", stop)
    assert explain(*arguments).exit_code != 0
    assert "explorer.html" not in names("explained")
    assert not [name for name in names("explained") if name.endswith(".part")]


@pytest.mark.slow
def test_ctrl_c_leaves_whole_studies_and_no_index(run, tmp_path, start_r2cmn):
    process = start_r2cmn("explain", run / "checkpoints" / "cmn.ckpt", "--studies", 4, out=tmp_path / "log")
    end = time.monotonic() + 200
    while not Path("explained/1/report.txt").is_file():
        assert time.monotonic() < end, (tmp_path / "log").read_text(encoding="utf-8")
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    process.join(60)
    assert process.exitcode == 130
    assert "Traceback" not in (tmp_path / "log").read_text(encoding="utf-8")
    assert not Path("explained/index.html").exists()
    assert not list(Path("explained").rglob("*.part"))
    for page in Path("explained").rglob("explorer.html"):
        assert names(page.parent) == ONE


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.ckpt", "x.png"], "there is no checkpoint gone.ckpt"),
        ([".", "x.png"], "neither checkpoints of a run nor a shared model"),
        (["CMN", "x.png"], "there is no image at x.png"),
        (["CMN", "CMN"], "cmn.ckpt"),
        (["CMN", "x.png", "data=phantom"], "not both"),
        (["CMN", "memory=none"], "'memory=none'"),
        (["CMN", "--split", "all"], "--split is one of train, val, test"),
        (["CMN", "VIEW", "--compare", "gone.ckpt"], "there is no checkpoint gone.ckpt"),
        (["CMN", "VIEW", "--report", " "], "--report has no words"),
        (["CMN", "VIEW", "--occlusion", "all"], "--occlusion is one of features, pixels, none"),
    ],
)
def test_wrong_arguments_are_errors_of_one_line(run, views, arguments, message):
    known = {"CMN": run / "checkpoints" / "cmn.ckpt", "VIEW": views[0]}
    result = explain(*[known.get(each, each) for each in arguments])
    assert isinstance(result.exception, ValueError)
    assert message in str(result.exception)
    assert len(str(result.exception).splitlines()) == 1
    assert not list(Path().rglob("*.html"))


def test_help_has_examples():
    result = CliRunner().invoke(app, ["explain", "--help"])
    assert result.exit_code == 0
    assert "r2cmn explain best.ckpt frontal.png lateral.png" in result.stdout


@pytest.mark.parametrize("name", ["index.html", "explorer.html", "report.txt", "explanation.json", "figure5.svg"])
def test_a_file_of_the_users_is_not_replaced_and_other_names_are_left_alone(run, views, no_drawing, name):
    own = {"reports.txt", "report_for_the_board.txt", "explanation_of_method.json", "figure5_draft.png", "x.html"}
    Path("out").mkdir()
    for each in (*own, name):
        Path("out", each).write_text("{}", encoding="utf-8")
    arguments = [run / "checkpoints" / "base.ckpt", *views, "--out", "out", "--occlusion", "none", "--no-deletion"]
    result = explain(*arguments)
    assert result.exit_code == 1
    assert f"{name} is not of r2cmn explain" in str(result.exception)
    assert names("out") == own | {name}
    Path("out", name).unlink()
    for _ in range(2):  # its own files are replaced
        result = explain(*arguments)
        assert result.exit_code == 0, result.output
    assert names("out") == own | ONE - {"figure6.svg", "figure6.png"}
    assert {Path("out", each).read_text(encoding="utf-8") for each in own} == {"{}"}


def test_of_a_data_set_as_many_views_are_read_as_the_model_was_trained_on(run, tmp_path, no_drawing):
    folder = shutil.copytree(run.parent / "data", tmp_path / "three")
    annotation = json.loads((folder / "annotation.json").read_text(encoding="utf-8"))
    for entry in annotation["test"]:
        entry["image_path"].append(entry["image_path"][0])
    (folder / "annotation.json").write_text(json.dumps(annotation), encoding="utf-8")
    data = [*DATA, f"data.dir={folder}"]
    result = explain(run / "checkpoints" / "base.ckpt", *data, "--studies", 1, "--occlusion", "none", "--no-deletion")
    assert result.exit_code == 0, result.output
    found = Explanation.from_json(Path("explained/1/explanation.json").read_text(encoding="utf-8"))
    assert len(found.views) == 2


def test_the_strictest_license_class_counts():
    from r2cmn.data.reports import strictest_license

    assert strictest_license("public", "non_commercial") == "non_commercial"
    assert strictest_license("non_commercial", "public", "") == "non_commercial"
    assert strictest_license("public", "dua", "non_commercial") == "dua"
    assert strictest_license("public", "") == "public"
    assert strictest_license("public", "of my own") == strictest_license("") == "non_commercial"


def test_a_memory_too_small_for_figure_6_is_noted():
    vectors = {"num_vectors": 2, "shared": True}
    job = Job([], None)
    assert not job._has_plane(SimpleNamespace(vectors=vectors, model="CMN"))
    assert job.notes == ["no figure 6 of CMN: 2 memory vectors, fewer than 3"]
    assert job._has_plane(SimpleNamespace(vectors={**vectors, "shared": False}, model="BASE+MEM"))
    assert not job._has_plane(SimpleNamespace(vectors=None, model="BASE"))
    assert len(job.notes) == 1
