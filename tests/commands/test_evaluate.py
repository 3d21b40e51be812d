"""`r2cmn evaluate`: its uses, and wrong inputs, which are errors of one line and leave no file."""

import csv
import functools
import json
import logging
import os
import re
import stat
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.prepare.table import prepare_table

WORDS = ("the", "lungs", "are", "clear", "heart", "is", "normal", "no", "effusion", "pneumothorax")


@pytest.fixture
def run(monkeypatch, tmp_path, call_r2cmn):
    """Run `r2cmn evaluate ...` here, without Java, and return its exit status, stdout and stderr."""
    (tmp_path / "nothing").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr("r2cmn.metrics.nlg._warned", False)
    monkeypatch.chdir(tmp_path)
    before = logging.getLogger().handlers[:]
    yield functools.partial(call_r2cmn, "evaluate")
    logging.getLogger().handlers[:] = before


@pytest.fixture
def write(tmp_path):
    """Write a CSV of a header and rows into the test's folder."""

    def call(name, header, rows):
        with (tmp_path / name).open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        return tmp_path / name

    return call


def reports(number, seed):
    print("seed", seed)
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, size=8)) + " ." for _ in range(number)]


@pytest.fixture
def mine(write):
    """Reports and references of 12 studies, with a patient for each two."""
    rows = zip(range(12), reports(12, 1), reports(12, 2), [i // 2 for i in range(12)], strict=True)
    return write("mine.csv", ["id", "generated", "reference", "patient"], rows)


@pytest.fixture
def annotation(tmp_path):
    """An annotation of 6 training and 12 test reports written as prose, of two images a study."""
    truth = [text.replace(" .", ".").capitalize() for text in reports(18, 2)]
    entries = [{"id": f"{i}", "report": text, "image_path": [], "subject_id": i // 2, "study_id": i // 2,
                "labels": [1] + [-2] * 13} for i, text in enumerate(truth)]  # fmt: skip
    splits = {"train": [{**each, "id": f"t{each['id']}"} for each in entries[12:]] * 4, "val": [], "test": entries[:12]}
    (tmp_path / "annotation.json").write_text(json.dumps(splits))
    return tmp_path / "annotation.json"


def content(path):
    return json.loads(path.read_text())


# ---- uses ------------------------------------------------------------------------------------------------------------


def test_one_file_with_reports_and_references(run, mine, tmp_path):
    result = run(mine, "--json", "s.json")
    assert result.code == 0, result.err
    found = content(tmp_path / "s.json")
    assert found["reports"] == 12
    assert found["protocol"] == "given-1/unstated/as-given/coco"
    assert found["resampled"] == "6 groups by patient"
    assert re.search(r"BLEU-4 +0\.\d{4} \[0\.\d{3}, 0\.\d{3}\]", result.out)
    assert re.search(r"METEOR +n/a", result.out)
    assert "METEOR" in result.err
    assert "CE(labeler=builtin-1, uncertain=negative," in result.out
    assert found["scores"]["BLEU_4"] == found["protocols"][0]["scores"]["BLEU_4"]["value"]


def scores_of(number, seed):
    return np.random.default_rng(seed).uniform(0.2, 0.9, number).round(3).tolist()


def test_scores_of_other_programs_get_intervals_tests_and_a_place_on_the_page(run, mine, tmp_path):
    (tmp_path / "ours.json").write_text(json.dumps({"green": scores_of(12, 1), "radcliq_v1": scores_of(12, 2)}))
    (tmp_path / "constant.json").write_text(json.dumps({f"{n}": {"green": 0.1} for n in reversed(range(12))}))
    result = run(mine, "--scores", "ours.json", "--baseline-scores", "constant=constant.json", "--json", "s.json",
                 "--html", "p.html", "--resamples", 50)  # fmt: skip
    assert result.code == 0, result.err
    assert re.search(
        r"GREEN +higher is better +0\.\d{4} \[0\.\d{3}, 0\.\d{3}\] +0\.1000 \[0\.100, 0\.100\]", result.out
    )
    assert re.search(r"RadCliQ-v1 +lower is better +0\.\d{4}", result.out)
    assert re.search(r"1/RadCliQ-v1 +higher is better +[12]\.\d{4}", result.out)
    assert "joined row by row" in result.err
    found = content(tmp_path / "s.json")
    assert found["scores"]["BLEU_4"] > 0
    other = found["other_metrics"]
    assert other["resampled"] == "6 groups by patient"
    assert other["scores"]["green"]["value"] == pytest.approx(np.mean(scores_of(12, 1)))
    assert other["baselines"][0]["ours_minus_it"]["green"]["p"] < 0.15  # 6 patients: 2 of 64 exchanges
    page = (tmp_path / "p.html").read_text()
    assert page.index("Scores of other programs") < page.index("Ours minus constant") < page.index("How to read")


def test_scores_alone_need_no_reports(run, write, tmp_path):
    write("ours.csv", ["study_id", "patient", "ratescore", "Speed"], [[i, i // 3, 0.5 + i / 100, 7] for i in range(12)])
    result = run("--scores", "ours.csv", "--json", "s.json", "--resamples", 50)
    assert result.code == 0, result.err
    assert "'Speed' left out, of no known direction" in result.err
    assert "RaTEScore" in result.out
    assert "BLEU" not in result.out
    found = content(tmp_path / "s.json")["other_metrics"]
    assert (found["resampled"], found["reports"]) == ("4 groups by patient", 12)
    result = run("--scores", "ours.csv", "--direction", "Speed=higher", "--resamples", 50)
    assert re.search(r"Speed +higher is better +7\.0000", result.out)


def test_no_f1_is_printed_without_its_average_and_labels(run, mine, tmp_path):
    result = run(mine, "--baseline", mine, "--published", "mimic_cxr", "--html", "p.html")
    assert result.code == 0, result.err
    named = False  # whether the line stands below the whole name of a clinical score
    for line in result.out.splitlines():
        named = ("average=" in line) or (named and re.match(r" *(P|R|F1) ", line) is not None)
        rest = re.sub(r"(macro|micro|example)-(14|5) F1|F1 of the observation", "", line)
        # the head of a table of systems stands in lines: CE, macro, 14, F1
        assert (
            named or "F1" not in rest or not re.sub(r"F1|distinct|BLEU|METEOR|ROUGE|CIDEr|system|[ 1-4L]", "", rest)
        ), line
    html = (tmp_path / "p.html").read_text().split("</style>")[1]
    for cell in re.findall(r"<t[hd](?! class=.prose)[^>]*>(.*?)</t[hd]>", html):
        words = re.sub(r"<[^>]+>", "", cell)
        assert (
            words == "F1" or "F1" not in words or re.search(r"[-\u2011](14|5) F1|labels=(14|5)\) F1|of the obs", words)
        ), words


def test_an_annotation_gives_protocols_patients_and_seen_references(run, annotation, mine, tmp_path):
    result = run(mine, annotation, "--json", "s.json", "--html", "p.html")
    assert result.code == 0, result.err
    assert "mimic_cxr" in result.err
    found = content(tmp_path / "s.json")
    names = [each["protocol"] for each in found["protocols"]]
    assert names == [f"{v}/findings/cleaned-mimic_cxr/coco" for v in ("released-1", "full-1", "study-1")]
    assert [each["reports"] for each in found["protocols"]] == [12, 12, 6]
    assert found["resampled"] == "6 groups by patient"
    assert "seen_references" in found["protocols"][0]["degeneracy"]
    page = (tmp_path / "p.html").read_text()
    assert "neither reports nor ids" in page  # MIMIC-CXR
    assert stat.S_IMODE((tmp_path / "p.html").stat().st_mode) == 0o600
    named = run(
        mine, annotation, "--dataset", "iu_xray", "--section", "impression", "--groups", "none", "--json", "t.json"
    )
    assert named.code == 0
    assert content(tmp_path / "t.json")["protocol"] == "released-1/impression/cleaned-iu_xray/coco"
    assert content(tmp_path / "t.json")["resampled"] == "reports"


@pytest.mark.parametrize("license_class", ["dua", "public"])
def test_the_page_of_a_prepared_folder_has_its_license_class(run, write, tmp_path, license_class):
    truth, raw, splits = reports(12, 2), tmp_path / "raw", ["train"] * 3 + ["val"] + ["test"] * 8
    raw.mkdir()
    for number in range(12):
        Image.fromarray(np.full((9, 9), 9 * number, dtype=np.uint8)).save(raw / f"{number}.png")
    rows = [[f"CXR90{n:02}", truth[n], f"{n}.png", splits[n]] for n in range(12)]
    prepare_table(write("raw/studies.csv", ["id", "report", "images", "split"], rows), tmp_path / "data",
                  license_class=license_class)  # fmt: skip
    written = reports(12, 1)
    mine = write("mine.csv", ["id", "generated"], [[row[0], written[n]] for n, row in enumerate(rows)][4:])
    result = run(mine, tmp_path / "data" / "annotation.json", "--html", "p.html", "--no-meteor", "--resamples", 20)
    assert result.code == 0, result.err
    page, is_private = (tmp_path / "p.html").read_text(), license_class == "dua"
    assert stat.S_IMODE((tmp_path / "p.html").stat().st_mode) == (0o600 if is_private else 0o644)
    assert ("neither reports nor ids" in page) == is_private
    assert any(row[0] in page for row in rows) == any(text in page for text in written[4:]) == (not is_private)


def test_the_page_of_a_runs_predictions_has_the_license_class_of_its_config(run, mine, tmp_path):
    (tmp_path / "run").mkdir()
    path = mine.rename(tmp_path / "run" / "predictions.csv")
    for license_class, mode in (("dua", 0o600), ("public", 0o644)):
        (tmp_path / "run" / "config.yaml").write_text(f"data:\n  license_class: {license_class}\n")
        page = f"{license_class}.html"
        assert run(path, "--html", page, "--no-meteor", "--resamples", 20).code == 0
        assert stat.S_IMODE((tmp_path / page).stat().st_mode) == mode
        assert (reports(12, 1)[0] in (tmp_path / page).read_text()) == (license_class == "public")


def test_several_baselines_are_compared(run, mine, write, tmp_path):
    same = write("same.csv", ["id", "report"], zip(range(12), reports(12, 1), strict=True))
    (tmp_path / "b").mkdir()
    other = write("b/same.csv", ["id", "report"], reversed(list(zip(range(12), reports(12, 3), strict=True))))
    result = run(mine, "--baseline", same, "--baseline", other, "--json", "s.json", "--resamples", 30, "--seed", 7)
    assert result.code == 0, result.err
    first, second = content(tmp_path / "s.json")["protocols"][0]["baselines"]
    assert [first["name"], second["name"]] == [str(same), str(other)]  # one stem would not tell them apart
    assert first["ours_minus_it"]["BLEU_1"] == {"value": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}
    assert 1 / 31 <= second["ours_minus_it"]["BLEU_1"]["p"] < 1
    assert content(tmp_path / "s.json")["settings"]["num_resamples"] == 30
    assert f"oursminus{other}" in "".join(result.out.split())


def test_one_column_of_references_alone(run, write, tmp_path):
    path = write("p.csv", ["id", "generated", "reference", "reference_full"], [["1", "a b .", "a b .", "a b c ."]])
    both = run(path, "--json", "s.json")
    assert [each["protocol"].split("/")[0] for each in content(tmp_path / "s.json")["protocols"]] == [
        "released-1",
        "full-1",
    ]
    full = run(path, "--column", "reference_full", "--json", "f.json")
    assert both.code == full.code == 0
    assert content(tmp_path / "f.json")["protocol"].startswith("full-1/")
    assert content(tmp_path / "f.json")["scores"]["BLEU_1"] == content(tmp_path / "s.json")["protocols"][1]["scores"][
        "BLEU_1"]["value"]  # fmt: skip


def test_labels_from_elsewhere(run, mine, write, annotation, tmp_path):
    random = np.random.default_rng(0)
    rows = [[i, *(random.choice(["", "1.0", "0.0", "-1.0"], size=14))] for i in range(12)]
    labels = write("chexbert.csv", ["study_id", *OBSERVATIONS], rows)
    result = run(mine, "--labels-pred", labels, "--labels-ref", labels, "--json", "s.json")
    assert result.code == 0, result.err
    found = content(tmp_path / "s.json")
    assert found["names"]["CE_micro_F1"] == "CE(labeler=chexbert.csv, uncertain=negative, average=micro, labels=14) F1"
    assert found["scores"]["CE_micro_F1"] == 1.0
    truth = run(mine, annotation, "--labels-ref", annotation, "--json", "t.json")
    assert truth.code == 0, truth.err
    assert content(tmp_path / "t.json")["protocols"][0]["observations"][0]["references"] == 12


def test_published_numbers_are_printed(run, mine):
    result = run(mine, "--published", "iu_xray")
    assert result.code == 0
    assert re.search(r"BASE\+CMN \(2021\) +\.475 +\.309 +\.222 +\.170 +\.191 +\.375", result.out)
    assert "second-hand" in result.out


def test_help_has_examples(run):
    result = run("--help")
    assert result.code == 0
    assert "r2cmn evaluate res.csv gts.csv" in result.out


def test_no_meteor_prints_no_note_about_java(run, mine):
    result = run(mine, "--no-meteor")
    assert result.code == 0
    assert "METEOR" not in result.err


# ---- wrong inputs ---------------------------------------------------------------------------------------------------


def assert_refused(result, pattern, folder, *allowed):
    said = [line for line in result.err.splitlines() if line.strip()]
    assert result.code == 1, result.err
    assert result.out == ""
    assert len(said) == 1, said
    assert said[0].startswith("r2cmn: error: ")
    assert re.search(pattern, said[0]), said
    assert not list(folder.rglob("*.part"))
    assert not {"out.json", "out.html"} & {path.name for path in folder.rglob("*")}


WRONG = {
    "no file": ([], ["gone.csv"], r"there is no file gone\.csv"),
    "empty": ([("p.csv", b"")], ["p.csv"], r"p\.csv is empty"),
    "no references": ([("p.csv", b"id,generated\n1,a\n")], ["p.csv"], r"p\.csv has no column 'reference'"),
    "no reports": ([("p.csv", b"id,reference\n1,a\n")], ["p.csv"], r"p\.csv has no column 'generated'"),
    "unknown columns": ([("p.csv", b"study,out\n1,a\n")], ["p.csv"], "no column of a known name"),
    "ids twice": ([("p.csv", b"id,generated,reference\n1,a,b\n1,c,d\n")], ["p.csv"], "more than once: '1'"),
    "a comma": ([("p.csv", b"id,generated,reference\n1,a,b,c\n")], ["p.csv"], "row 2: the row is longer"),
    "latin-1": ([("p.csv", "id,generated,reference\n1,é,b\n".encode("latin-1"))], ["p.csv"], "UTF-8"),
    "missing ids": (
        [("p.csv", b"id,generated\n1,a\n"), ("r.csv", b"id,report\n1,a\n2,b\n")], ["p.csv", "r.csv"],
        r"p\.csv lacks 1 of the 2 ids of r\.csv: '2'",
    ),
    "extra ids": (
        [("p.csv", b"id,generated\n1,a\n2,b\n"), ("r.csv", b"id,report\n1,a\n")], ["p.csv", "r.csv"],
        r"p\.csv has 1 ids that r\.csv does not have: '2'",
    ),
    "rows": ([("p.csv", b"a .\nb .\n"), ("r.csv", b"a .\n")], ["p.csv", "r.csv"], "p.csv has 2 rows and r.csv 1"),
    "pairs in one": ([("p.csv", b"a .\nb .\n")], ["p.csv"], "give the file of the references"),
    "torn json": ([("p.json", b'{"1": ')], ["p.json"], r"p\.json is not a JSON file: .*line 1"),
    "null": ([("p.json", b'{"1": {"report": "x"}, "2": {"report": null}}')], ["p.json"], "'2' is missing or null"),
    "other split": ([], ["mine.csv", "annotation.json", "--split", "dev"], "no split 'dev'"),
    "empty split": ([], ["mine.csv", "annotation.json", "--split", "val"], "no study in its split 'val'"),
    "other ids": ([("p.csv", b"id,generated\nx,a\n")], ["p.csv", "annotation.json"], "lacks 12 of the 12 ids"),
    "dataset": ([], ["mine.csv", "--dataset", "chexpert"], "--dataset is one of iu_xray, .*, not 'chexpert'"),
    "column": ([], ["mine.csv", "--column", "truth"], "no column 'truth'"),
    "groups": ([], ["mine.csv", "--groups", "doctor"], "--groups doctor: no file has this column; there are id, gen"),
    "published": ([], ["mine.csv", "--published", "phantom"], "no published numbers of 'phantom'"),
    "license": ([], ["mine.csv", "--license-class", "mine"], "--license-class is one of public"),
    "baseline": ([("b.csv", b"id,generated\n1,a\n")], ["mine.csv", "--baseline", "b.csv"], r"b\.csv lacks 11 of"),
    "no baseline": ([], ["mine.csv", "--baseline", "gone.csv"], r"no file gone\.csv"),
    "labels": ([("l.csv", b"id,Edema\n1,1\n")], ["mine.csv", "--labels-pred", "l.csv"], r"l\.csv has no column for"),
    "no labels": ([], ["mine.csv", "--labels-ref", "gone.csv"], r"no file gone\.csv"),
    "labels of others": (
        [("l.csv", f"id,{','.join(OBSERVATIONS)}\n1{',1' * 14}\n".encode())], ["mine.csv", "--labels-ref", "l.csv"],
        r"l\.csv lacks the labels of 11 of 12 studies: '0', '2', '3' and 8 more",
    ),
    "labels in json": ([("l.json", b"{}")], ["mine.csv", "--labels-ref", "l.json"], r"l\.json is not an annotation"),
    "meteor": ([], ["mine.csv", "--meteor"], "METEOR needs `java`"),
    "nothing": ([], [], "give a file of reports, or --scores FILE"),
    "page of scores": ([("s.json", b'{"green": [1]}')], ["--scores", "s.json"], "--html needs a file of reports"),
    "scores of a baseline": ([], ["mine.csv", "--baseline-scores", "x=s.json"], "--baseline-scores needs --scores"),
    "aggregates": ([("s.json", b'{"green": 0.5}')], ["mine.csv", "--scores", "s.json"], "s.json holds one number for"),
    "rows of scores": ([("s.json", b'{"green": [1, 2]}')], ["mine.csv", "--scores", "s.json"], "s.json has 2 rows and"),
    "null score": (
        [("s.csv", b"id,green\n1,0.5\n2,\n")], ["mine.csv", "--scores", "s.csv"],
        r"s\.csv: 'green' of report 2 is nothing",
    ),
    "target is a folder": ([], ["mine.csv", "--json", "nothing"], "nothing is a folder: name a file"),
    "target in a file": ([], ["mine.csv", "--html", "mine.csv/p.html"], "mine.csv"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_input_is_an_error_of_one_line(run, mine, annotation, tmp_path, case):
    files, arguments, pattern = WRONG[case]
    for name, text in files:
        (tmp_path / name).write_bytes(text)
    targets = [] if "target" in case else ["--json", "out.json", "--html", "out.html"]
    assert_refused(run(*arguments, *targets), pattern, tmp_path)


@pytest.mark.slow
def test_a_fresh_process_scores_without_lightning_or_hydra(mine, tmp_path):
    script = (
        "import sys; from r2cmn import cli; sys.argv = ['r2cmn', 'evaluate', *sys.argv[1:]]\n"
        "try: cli.main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "heavy = [n for n in ('pytorch_lightning', 'hydra', 'omegaconf', 'timm', 'wandb') if n in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, mine, "--no-meteor", "--html", tmp_path / "p.html"],
        capture_output=True, text=True, check=False, env={**os.environ},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
