"""`r2cmn train`: what works."""

import csv
import json
import re
import shutil
import warnings

import pytest
import torch
import yaml

from r2cmn.cli import _quiet


def test_a_run_leaves_its_folder_with_scores_and_baselines(train, run, make_dataset, tmp_path):
    data = f"data.dir={make_dataset(tmp_path / 'data', num_studies=16, size=48)}"
    result = train(data)
    assert result.code == 0, result.err
    assert result.out.splitlines()[-1] == str(tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"predictions.csv", "metrics.csv", "config.yaml", "train.log", "result.json", "checkpoints"} <= names
    assert "scores.json" in names
    content = json.loads((tmp_path / "run" / "result.json").read_text())
    scores = content["scores"]
    assert {"BLEU_1", "BLEU_4", "ROUGE_L", "CIDEr", "distinct"} <= set(scores)
    assert "METEOR" in result.out
    assert "n/a" in result.out
    screen = result.out.splitlines()
    assert len(screen) <= 45, "a run ends in one screen"
    assert max(map(len, screen)) <= 120
    assert sum(", generated" in line for line in screen) == 3
    assert screen[-3].startswith("the rest is in the folder below: scores.json")
    evaluated = json.loads((tmp_path / "run" / "scores.json").read_text())
    names = [each["protocol"] for each in evaluated["protocols"]]
    assert names == [f"{version}/findings/cleaned-iu_xray/coco" for version in ("released-1", "full-1")]
    for name in ("BLEU_1", "BLEU_4", "ROUGE_L", "CIDEr", "distinct"):
        assert evaluated["scores"][name] == pytest.approx(scores[name], abs=1e-6), name
    again = run("evaluate", tmp_path / "run" / "predictions.csv", "--no-meteor", "--json", tmp_path / "again.json")
    assert again.code == 0, again.err
    file = json.loads((tmp_path / "again.json").read_text())
    assert [each["scores"] for each in file["protocols"]] == [each["scores"] for each in evaluated["protocols"]]
    with (tmp_path / "run" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["study_0", "study_1", "study_2", "study_3"]

    baselines = ["constant", "most_frequent", "random", "nearest_neighbour", "shuffled_images"]
    assert list(content["baselines"]["scores"]) == baselines
    assert {path.stem for path in (tmp_path / "run" / "baselines").iterdir()} == set(baselines)
    assert "shuffled" in result.out
    assert content["baselines"]["notes"], "after one epoch it is not better than the best constant"
    for note in content["baselines"]["notes"]:
        assert result.err.count(note) == 1
        assert note not in " ".join(result.out.split())
    checkpoint = next((tmp_path / "run" / "checkpoints").glob("best*.ckpt"))
    again = train(data, "stages=[test]", f"checkpoint={checkpoint}")
    assert again.code == 0, again.err
    tested = json.loads((tmp_path / "run" / "result.json").read_text())
    assert tested["baselines"]["scores"] == content["baselines"]["scores"]

    # the same folder again, and this time it fails: what is left must not say that the run is done
    again = train(data, "callbacks.early_stopping.monitor=val/nothing")
    assert again.code == 1
    assert "val/nothing" in again.err
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_run_killed_in_its_test_resumes_with_the_test(train, make_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("r2cmn.runs.testing.compare", None)  # baselines=false does not call it
    given = [f"data.dir={make_dataset(tmp_path / 'data', size=48)}", "baselines=false", "sweep.resume=true"]
    trained = train(*given)
    assert trained.code == 0, trained.err
    assert "shuffled" not in trained.out
    assert "BLEU-4" in trained.out
    assert not (tmp_path / "run" / "baselines").exists()
    file = tmp_path / "run" / "result.json"
    first = json.loads(file.read_text())
    assert "baselines" not in first
    assert first["parameters"] == json.loads((tmp_path / "run" / "trial.json").read_text())["parameters"]
    assert first["speed"].keys() == {"test_studies_per_second"}, "one epoch of two steps has no rate"
    file.unlink()
    again = train(*given)
    assert again.code == 0, again.err
    assert f"resuming from {tmp_path}/run/checkpoints/last.ckpt" in again.err
    second = json.loads(file.read_text())
    for key in ("objective", "epochs", "scores", "fingerprint", "overrides"):
        assert second[key] == first[key], key
    taken = train(*given)  # nothing is left to do
    assert taken.code == 0, taken.err
    assert taken.out.splitlines() == [str(tmp_path / "run")]
    assert json.loads(file.read_text()) == second
    refused = train(*given, "seed=1")
    assert "run holds another trial (seed is 1 here and 0 there)" in refused.err
    assert json.loads(file.read_text()) == second, "the other trial's result was touched"


def test_baselines_that_fail_do_not_take_the_result_along(train, save, make_dataset, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("an image is gone")

    monkeypatch.setattr("r2cmn.runs.testing.compare", fail)
    data = make_dataset(tmp_path / "data", size=48)
    result = train(f"data.dir={data}", "stages=[test]", f"checkpoint={save()}")
    assert result.code == 0, result.err
    assert "the baselines could not be computed" in result.err
    assert "an image is gone" in result.err
    content = json.loads((tmp_path / "run" / "result.json").read_text())
    assert "BLEU_4" in content["scores"]
    assert content["baselines"] is None
    assert "BLEU-4" in result.out


def test_testing_alone_scores_the_checkpoint_that_it_is_given(train, save, make_dataset, tmp_path):
    data = make_dataset(tmp_path / "data", size=48)
    images = "data.images={resize: 90, size: 80}"  # the checkpoint's hold
    result = train(f"data.dir={data}", "stages=[test]", f"checkpoint={save()}", images, without=["data.images"])
    assert result.code == 0, result.err
    assert "the checkpoint's 3 words instead of the" in result.err
    with (tmp_path / "run" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:  # the references are read in the model's words, not in numbers that mean others
        words = [word if word in ("clear", "lungs") else "<unk>" for word in row["reference_full"].split()]
        assert row["reference"] == " ".join(words[:4])
    assert "checkpoint model.ckpt" in " ".join(result.out.split())
    assert not list((tmp_path / "run").rglob("*.ckpt"))


def test_testing_alone_generates_with_the_given_settings(train, save, make_dataset, tmp_path):
    given = [f"data.dir={make_dataset(tmp_path / 'data', size=48)}", "stages=[test]", f"checkpoint={save()}"]
    written = {}
    for way in ("generation=greedy", "generation=sample generation.seed=1 generation.temperature=9", ""):
        result = train(*given, "baselines=false", *way.split(), without=["generation"])
        assert result.code == 0, result.err
        assert "the checkpoint's own" not in result.err, "the model is the one that the command line names"
        assert "tested_instead" not in (tmp_path / "run" / "config.yaml").read_text()
        with (tmp_path / "run" / "predictions.csv").open(newline="") as file:
            written[way] = [row["generated"] for row in csv.DictReader(file)]
        config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
        assert config["generation"]["_target_"].endswith("Sample" if "sample" in way else "Greedy"), way
        assert config["generation"].get("temperature") == (9 if "sample" in way else None)
        shutil.rmtree(tmp_path / "run")
    greedy, sampled, silent = written.values()
    assert len(set(greedy)) == 1, "an untrained model writes one report"
    assert len(set(sampled)) > 1
    assert silent == greedy, "the checkpoint's own way"


def test_a_test_bears_the_name_of_the_model_that_is_tested(train, save, make_dataset, tmp_path):
    data, checkpoint = f"data.dir={make_dataset(tmp_path / 'data', size=48)}", f"checkpoint={save()}"
    other = ["memory=none", "dim=32", "data.images.size=24", "backbone.pretrained=nowhere.pth"]
    result = train(
        data, checkpoint, "stages=[test]", "baselines=false", *other, without=["dim", "memory", "data.images"]
    )
    assert result.code == 0, result.err
    assert "tested with the checkpoint's own backbone, memory, encoder_decoder:" in result.err
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["memory"]["_target_"] == "r2cmn.memory.CrossModalMemory"
    assert (config["dim"], config["num_vectors"], config["memory"]["num_queried"]) == (16, 8, 2)
    assert config["data"]["images"]["size"] == 32
    assert config["tested_instead"] == ["backbone", "memory", "encoder_decoder"]
    assert json.loads((tmp_path / "run" / "trial.json").read_text())["parameters"]["memory"] > 0


@pytest.mark.parametrize("key", ["model=base", "num_layers=2"])
def test_a_test_with_another_model_named_by_one_key_is_reported(train, save, make_dataset, tmp_path, key):
    data, checkpoint = f"data.dir={make_dataset(tmp_path / 'data', size=48)}", f"checkpoint={save()}"
    parts = ["dim", "num_", "memory", "backbone", "encoder_decoder", "objective", "optimizer", "init"]
    result = train(data, checkpoint, "stages=[test]", "baselines=false", key, without=parts)
    assert result.code == 0, result.err
    assert re.search("tested with the checkpoint's own .*encoder_decoder", result.err)


def test_the_resolved_configuration_names_no_folder_that_is_not_there_yet(run):
    shown = run("train", "--cfg", "job", "--resolve")
    assert shown.code == 0, shown.err
    assert "dirpath: null" in shown.out
    assert "None" not in shown.out


def test_only_the_warning_of_a_trunk_that_is_frozen_on_purpose_is_silenced():
    eval_mode = "Found 67 module(s) in eval mode at the start of training. This may lead to unexpected behavior"
    for frozen, expected in ((True, ["another"]), (False, [eval_mode, "another"])):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _quiet({"backbone": {"frozen": frozen}})
            for text in (eval_mode, "another"):
                warnings.warn(text, stacklevel=1)
        assert [str(each.message) for each in caught] == expected


def test_a_test_has_the_strictest_license_class_of_data_and_checkpoint(train, save, make_dataset, tmp_path):
    data = f"data.dir={make_dataset(tmp_path / 'data', size=48)}"
    checkpoint = save()
    content = torch.load(checkpoint, weights_only=True)
    content["hyper_parameters"]["data"]["license_class"] = "dua"
    torch.save(content, checkpoint)
    given = [data, "data.license_class=public", "stages=[test]", f"checkpoint={checkpoint}", "baselines=false"]
    result = train(*given)
    assert result.code == 0, result.err
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["data"]["license_class"] == "dua"
    assert (tmp_path / "run" / "predictions.csv").stat().st_mode & 0o777 == 0o600
    assert "generated" not in result.out
