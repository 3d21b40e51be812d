"""JSON, YAML and CSV files with a wrong value, a wrong byte or endless nesting: read, or refused in one line."""

import csv
import io
import json
import random

import pytest

from r2cmn.commands.data_arguments import change_data
from r2cmn.config import compose, plain
from r2cmn.data.datamodule import ReportDataModule
from r2cmn.evaluation.labels import Labels
from r2cmn.evaluation.other_metrics import evaluate_scores
from r2cmn.evaluation.protocols import prepare
from r2cmn.evaluation.read import read_predictions
from r2cmn.evaluation.result import evaluate
from r2cmn.evaluation.scored import Settings
from r2cmn.runs.folder import RunFolder
from r2cmn.sweeps.results import export
from r2cmn.sweeps.results.collect import collect
from r2cmn.sweeps.resume import Resumption
from r2cmn.sweeps.settings import SweepSettings

pytestmark = pytest.mark.slow
SEED = 20260102
REPORTS = ["the heart is enlarged .", "no effusion is seen .", "the lungs are clear ."]
OVERRIDES = ["memory.num_vectors=8", "seed=0"]


def report(faults, number):
    assert not faults, f"seed {SEED}, {len(faults)} of {number}:\n" + "\n".join(faults)


def survive(fuzz, path, changes, use):
    faults = []
    for number, (text, label) in enumerate(changes):
        path.write_bytes(text)
        fault = fuzz.check_refusal(use)
        faults += [f"{number}, {path.name} {label}: {fault}"] if fault else []
    report(faults, len(changes))


@pytest.fixture
def runs(tmp_path):
    """A sweep of three finished runs; returns the folder of the first."""
    config = plain(compose([*OVERRIDES, "run_dir=x", "~callbacks", "~logger"]))
    for number in range(3):
        folder = RunFolder(tmp_path / "sweep" / str(number))
        (folder.path / ".hydra").mkdir(parents=True)
        own = [f"memory.num_vectors={8 * (1 + number % 2)}", f"seed={number // 2}"]
        config["memory"]["num_vectors"], config["seed"] = 8 * (1 + number % 2), number // 2
        folder.config_yaml.write_text(json.dumps(config))
        for name, content in (("overrides", own), ("config", config)):
            (folder.path / ".hydra" / f"{name}.yaml").write_text(json.dumps(content))
        parameters = {"total": 100, "trainable": 100, "memory": 10, "matrix": 5, "projections": 5}
        identity = {"fingerprint": f"f{number}", "parts": {"config": f"c{number}", "data": "d", "code": "e"}}
        folder.write_identity({**identity, "overrides": own, "parameters": parameters, "version": "0.1.0"})
        scores = {"BLEU_4": 0.1 + number / 10, "ROUGE_L": 0.2, "most_common": 0.1}
        result = {
            "objective": 0.1,
            "scores": scores,
            "seconds": 2.5,
            "speed": {"train": 3.0},
            "epochs": 3,
            "baselines": {"scores": {"constant": {"BLEU_4": 0.1}}},
        }
        folder.write_result({**result, "overrides": own, "parameters": parameters, "fingerprint": f"f{number}"})
    grid = {"hydra": {"sweeper": {"_target_": "x.BasicSweeper", "params": None}, "overrides": {"task": OVERRIDES}}}
    (tmp_path / "sweep" / "multirun.yaml").write_text(json.dumps(grid))
    return folder.path.parent / "0"


@pytest.mark.parametrize("name", ["config.yaml", "trial.json", "result.json", ".hydra/config.yaml", "../multirun.yaml"])
def test_files_of_runs(fuzz, runs, call_r2cmn, tmp_path, name):
    draw, path, identity = (
        random.Random(SEED),
        runs / name,
        {"fingerprint": "f0", "parts": {"config": "c0", "data": "d", "code": "e"}},
    )
    content = json.loads(path.read_text())

    def use():
        export.write_csv(tmp_path / "x.csv", export.runs(collect([str(runs.parent)]).trials))
        if draw.random() < 0.1:  # a tenth: it takes ten times as long
            ended = call_r2cmn("results", runs.parent, "--no-reports", "--html", tmp_path / "x.html", "--overwrite")
            if ended.code:
                assert ended.err.splitlines()[-1].startswith("r2cmn: error: ")
        if name == "config.yaml":
            change_data(path, ["data.batch_size=3"])
        if name == "trial.json":
            for code in ("any", "same"):
                found = Resumption(runs.parent, SweepSettings(resume=True, code=code))
                found.place(identity)
                found.check()
        if name == "result.json":
            RunFolder(runs).read_objective()

    changes = fuzz.changed_json(content, SEED)
    survive(fuzz, path, changes if "/" not in name else changes[::3], use)


def test_annotation(fuzz, make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "data", num_studies=5, num_views=1, size=8)
    content = json.loads((folder / "annotation.json").read_text())
    for entries in content.values():
        for entry in entries:
            entry |= {"labels": [0] * 14, "subject_id": entry["id"]}
    rows = [[entry["id"], entry["report"]] for entry in content["test"]]
    write_csv(tmp_path / "x.csv", [["id", "generated"], *rows])

    def use():
        ReportDataModule(folder, {"threshold": 1}, {"num_views": 1}, num_workers=0).setup()
        read = read_predictions(tmp_path / "x.csv", folder / "annotation.json")
        prepare(read, "iu_xray", None)
        Labels.read(read.ids, None, folder / "annotation.json")

    survive(fuzz, folder / "annotation.json", fuzz.changed_json(content, SEED), use)


def write_csv(path, rows):
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    path.write_text(text.getvalue())
    return path


@pytest.mark.parametrize("name", ["scores.json", "by_id.json", "scores.csv"])
def test_scores_of_other_programs(fuzz, tmp_path, name):
    ids = [f"s{number}" for number in range(3)]
    theirs = write_csv(
        tmp_path / "theirs.csv", [["id", "green", "RadCliQ-v1"], *([each, "0.5", "1.5"] for each in ids)]
    )
    by_metric = {"ids": ids, "green": [0.5, 0.25, 1], "radcliq-v1": {"mean_score": 1, "sample_scores": [1.5, 0.5, 1]}}
    contents = {"scores.json": by_metric, "by_id.json": {each: {"green": 0.5} for each in ids}}
    if name in contents:
        changes = fuzz.changed_json(contents[name], SEED)
    else:
        draw, text = random.Random(SEED), theirs.read_bytes()
        changes = [fuzz.change_text(text, draw) for _ in range(fuzz.NUMBER)]

    def use():
        found = evaluate_scores("x", [tmp_path / name], [str(theirs)], settings=Settings(num_resamples=5))
        json.dumps(found.to_dict(), allow_nan=False)

    survive(fuzz, tmp_path / name, changes, use)


@pytest.mark.parametrize("name", ["predictions.csv", "references.csv", "labels.csv", "predictions.json"])
def test_files_of_evaluate(fuzz, tmp_path, name):
    from r2cmn.data.observations import OBSERVATIONS

    ids = [f"s{number}" for number in range(3)]
    predictions = write_csv(tmp_path / "predictions.csv", [["id", "generated"], *zip(ids, REPORTS, strict=True)])
    references = write_csv(tmp_path / "references.csv", [["id", "reference"], *zip(ids, REPORTS[::-1], strict=True)])
    labels = write_csv(
        tmp_path / "labels.csv", [["id", *OBSERVATIONS], *([each, *("1 0 -1" + 11 * " 0").split()] for each in ids)]
    )
    if name == "predictions.json":
        predictions = tmp_path / name
        changes = fuzz.changed_json(dict(zip(ids, REPORTS, strict=True)), SEED)
    else:
        draw, text = random.Random(SEED), (tmp_path / name).read_bytes()
        changes = [fuzz.change_text(text, draw) for _ in range(fuzz.NUMBER)]

    def use():
        read = read_predictions(predictions, references)
        found = Labels.read(read.ids, labels if name == "labels.csv" else None, None)
        prepared = prepare(read, None, None)
        settings = Settings(num_resamples=5, seed=0, meteor=False)
        ours = evaluate(
            prepared.generated, prepared.references, title="x", groups=None, labels=found, settings=settings
        )
        ours.write_json(tmp_path / "scores.json")

    survive(fuzz, tmp_path / name, changes, use)
