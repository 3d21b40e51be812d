"""`r2cmn results` on the command line: its output, its files, and errors of one sentence that leave no file."""

import builtins
import functools
import json
import re
import shutil
import subprocess
import sys

import pytest


@pytest.fixture
def run(monkeypatch, tmp_path, call_r2cmn):
    """Run `r2cmn results ...` here and return its exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    return functools.partial(call_r2cmn, "results")


@pytest.fixture
def sweep(tmp_path, make_sweep, make_reports):
    """Five of six trials over N, of which one failed; the effect is known."""
    grid = {"memory.num_vectors": [16, 64], "seed": [0, 1, 2]}
    folder = make_sweep(
        tmp_path / "sweep", grid, lambda o: 0.1 if o["memory.num_vectors"] == 16 else 0.2, sd=0.001, left_out=(5,),
        reports=lambda o: make_reports(0.4 if o["memory.num_vectors"] == 16 else 0.7, o["seed"]),
    )  # fmt: skip
    (folder / "2" / "result.json").unlink()
    (folder / "2" / "FAILED").write_text("reason: exit 1: ValueError: no room\n")
    return folder


def test_status_missing_trials_and_comparison_are_printed(run, sweep):
    done = run(sweep)
    assert done.code == 0
    assert "5 trials: 4 done, 1 failed" in done.out
    assert "1 of 6 trials are missing: memory.num_vectors=64 seed=2" in done.out
    assert "exit 1: ValueError: no room" in done.out
    assert "reference" in done.out
    assert "higher *" in done.out
    assert "AVG. Δ" in done.out
    assert done.err == ""


def test_all_files_are_written_and_not_replaced(run, sweep, tmp_path):
    options = {
        "csv": "t.csv",
        "parquet": "t.parquet",
        "curves": "c.csv",
        "out": "t.md",
        "html": "page.html",
        "figures": "f",
    }
    done = run(sweep, *[word for name, file in options.items() for word in (f"--{name}", f"o/{file}")])
    assert done.code == 0, done.err
    there = sorted(str(path.relative_to(tmp_path / "o")) for path in (tmp_path / "o").rglob("*") if path.is_file())
    assert there == [
        "c.csv",
        "f/memory_size.png",
        "f/memory_size.svg",
        "page.html",
        "t.csv",
        "t.md",
        "t.parquet",
    ]
    assert "| N 16 |" in (tmp_path / "o" / "t.md").read_text()
    again = run(sweep, "--no-reports", "--csv", "o/new.csv", "--out", "o/t.md")
    assert again.code == 1
    assert again.err == "r2cmn: error: o/t.md exists already: choose another name, or give --overwrite\n"
    assert not (tmp_path / "o" / "new.csv").exists()
    assert "memory_size.svg exists already" in run(sweep, "--no-reports", "--figures", "o/f").err
    assert run(sweep, "--no-reports", "--out", "o/t.md", "--overwrite").code == 0


def test_the_page_is_self_contained_and_has_no_report(run, sweep, tmp_path):
    assert run(sweep, "--html", "page.html").code == 0
    page = (tmp_path / "page.html").read_text()
    plain = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert len(page) < 1_000_000, "no library of plots is inside"
    assert not re.search(r'(src|href)="(?!#)', plain)
    assert "lungs" not in plain
    assert "pneumothorax" not in plain
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert {len(line["values"]["val/BLEU_4"]) for line in data["curves"]} == {3}
    coordinates = plain[plain.index("Parallel coordinates") :]
    assert re.findall(r'<text class="tick" [^>]*>([^<]+)</text>', coordinates) == ["N", "seed", "validation", "BLEU-4"]
    assert coordinates.count("data-trial=") == 4
    assert "exit 1: ValueError: no room" in plain
    assert len(set(re.findall(r' id="([^"]+)"', plain))) == len(re.findall(r' id="([^"]+)"', plain))


def test_trials_that_write_one_fixed_report_are_a_note(run, sweep):
    path = sweep / "1" / "result.json"
    path.write_text(path.read_text().replace('"BLEU_1"', '"most_common": 0.95, "BLEU_1"'))
    done = run(sweep, "--no-reports")
    assert "1 of 4 finished trials write the same text for 90% or more of the test studies (sweep/1)" in done.err


def test_figures_with_nothing_to_draw_do_not_keep_the_page_from_being_written(run, sweep, tmp_path):
    done = run(sweep / "0", sweep / "1", "--no-reports", "--figures", "f", "--html", "page.html")
    assert done.code == 0, done.err
    assert "r2cmn: note: --figures: no figure: nothing varies among the finished trials that have BLEU_4" in done.err
    assert "no figure: nothing varies" in (tmp_path / "page.html").read_text()


CHROMIUM = shutil.which("chromium")
MEASURE = """<script>document.title = JSON.stringify([
  [...document.querySelectorAll(".scroll")].map((e) => [e.scrollWidth, e.clientWidth]),
  document.querySelectorAll("svg .curve").length])</script>"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_no_table_is_cut_at_1280_pixels(run, tmp_path, make_sweep):
    clinical = {f"CE_{name}": 0.123 for name in ("macro_P", "macro_R", "macro_F1", "micro_F1")}
    grid = {"memory": ["none", "cross_modal"], "optimizer.weight_decay": [0.01, 0.001], "seed": [0, 1]}
    folder = make_sweep(tmp_path / "sweep", grid, lambda o: 0.2 if o["memory"] == "none" else 0.1)
    for path in folder.glob("*/result.json"):
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, "scores": {**content["scores"], "CIDEr": 1.234, **clinical}}))
    assert run(folder, "--no-reports", "--html", "page.html").code == 0
    page = tmp_path / "page.html"
    page.write_text(page.read_text().replace("</body>", f"{MEASURE}</body>"))
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,1000", "--dump-dom"]
    shown = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=55, check=True).stdout
    tables, num_curves = json.loads(re.search("<title>(.*?)</title>", shown)[1])
    assert len(tables) == 3
    assert all(needed <= room for needed, room in tables), tables
    assert num_curves > 8


def test_a_format_prints_only_table_2(run, sweep):
    done = run(sweep, "--format", "latex")
    assert done.out.startswith(r"\begin{tabular}")
    assert "trials" not in done.out


def test_trials_with_other_epochs_are_not_averaged_with_these(run, sweep, make_trial):
    make_trial(sweep / "9", {"memory.num_vectors": 16, "seed": 9, "trainer.max_epochs": 50}, 0.9)
    done = run(sweep, "--no-reports")
    assert "there are 2 tables: trainer.max_epochs 2; trainer.max_epochs 50" in done.err
    assert "0.9000" in done.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "nowhere matches no folder"),
        (["sweep", "--metric", "BLEU_5"], "--metric BLEU_5: no finished trial has it; there are BLEU_1, BLEU_2"),
        (["sweep", "--reference", "N=17"], "--reference N=17 fits none of the settings, not one; there are: N 16; N"),
        (["sweep", "--reference", "N"], "--reference takes KEY=VALUE"),
        (["sweep", "--by", "memory.num_vektors"], "--by memory.num_vektors: no finished trial has this key"),
        (["sweep", "--csv", "sweep/0/result.json/t.csv"], "sweep/0/result.json is not a folder"),
        (["sweep", "--format", "word"], "--format is one of text, markdown, latex, not 'word'"),
        (["sweep", "--out", "t.doc"], "--out t.doc: the suffix must be one of"),
        (["sweep", "--level", "95"], "--level must be between 0 and 1"),
        (["sweep", "--csv", "sweep"], "sweep is a folder: name a file"),
    ],
)  # fmt: skip
def test_a_wrong_input_is_one_sentence(run, sweep, arguments, sentence):
    done = run(*arguments)
    assert done.code == 1
    assert sentence in done.err
    error = [line for line in done.err.splitlines() if not line.startswith("r2cmn: note: ")]
    assert len(error) == 1
    assert error[0].startswith("r2cmn: error: ")


def test_a_sweep_without_finished_trials_is_an_error(run, sweep):
    for number in range(5):
        (sweep / str(number) / "result.json").unlink(missing_ok=True)
    done = run(sweep, "--csv", "t.csv")
    assert done.code == 1
    assert "none of 5 trials is finished: there is nothing to compare (sweep/0: running, no result yet" in done.err
    assert "5 trials: 4 running, 1 failed" in done.out


@pytest.mark.parametrize(
    ("library", "arguments"),
    [
        ("scipy", []),
        ("matplotlib", ["--html", "p.html"]),
        ("pyarrow", ["--parquet", "t.parquet"]),
        ("matplotlib", ["--figures", "f"]),
    ],
)
def test_a_missing_library_is_named_with_how_to_get_it(run, sweep, monkeypatch, library, arguments, tmp_path):
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def refuse(name, *rest, **named):
        if name.partition(".")[0] == library:
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.setitem(sys.modules, library, None)
    done = run(sweep, *arguments)
    assert done.code == 1
    assert f"needs {library}, which is not installed: pip install 'r2cmn[results]'" in done.err
    assert not [path for path in tmp_path.iterdir() if path.name != "sweep" and path.is_file()]


def test_a_score_that_was_left_out_is_not_an_error(run, sweep, tmp_path):
    for number in (0, 3):
        path = sweep / str(number) / "result.json"
        path.write_text(re.sub(r'"METEOR": [\d.]+', '"METEOR": NaN', path.read_text()))
    done = run(sweep, "--metric", "METEOR", "--html", "page.html")
    assert done.code == 0, done.err
    assert "not tested" in done.out
    assert "NaN" not in re.search(r'id="data">(.*?)</script>', (tmp_path / "page.html").read_text(), re.DOTALL)[1]
