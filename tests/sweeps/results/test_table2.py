"""Table 2: the paper's average gain, the best scores, the marks, and the three formats."""

import functools
import json
import re

import pytest

from r2cmn.evaluation.published import published
from r2cmn.sweeps.results.collect import collect
from r2cmn.sweeps.results.compare import compare, find_reference
from r2cmn.sweeps.results.formats import FORMATS
from r2cmn.sweeps.results.frame import ablated_keys, families
from r2cmn.sweeps.results.table2 import average_gain, metrics_of, table2
from r2cmn.sweeps.results.tables import title_of

TABLE_2 = "Chen et al., ACL 2021, Table 2"
ROWS = ["BASE", "BASE+MEM", "CMN"]  # as `r2cmn models` names them
PUBLISHED = [f"{name} (published)" for name in ("BASE", "BASE+MEM", "BASE+CMN")]  # as printed
IU_XRAY = "r2cmn.data.iu_xray.IUXRayDataModule"


@pytest.fixture(scope="module")
def table(tmp_path_factory, make_sweep):
    @functools.cache
    def call(data=IU_XRAY, seeds=(0, 1, 2), kinds=("none", "separate", "cross_modal"), sd=0.002):
        grid = {"memory": list(kinds), "seed": list(seeds)}
        sweep = make_sweep(
            tmp_path_factory.mktemp("table2") / "s",
            grid,
            lambda o: 0.2 if o["memory"] == "cross_modal" else 0.1,
            sd=sd,
            data=data,
        )
        found = collect([str(sweep)])
        family = families(found.done, ablated_keys(found, []))[0][0]
        names = metrics_of(["BLEU_4", "METEOR", "BLEU_1", "BLEU_2", "BLEU_3", "ROUGE_L", "distinct"])
        return table2(compare(family, names, find_reference(family, {}), None))

    return call


@pytest.mark.parametrize(("dataset", "printed"), [("iu_xray", (0.066, 0.196)), ("mimic_cxr", (0.082, 0.131))])
def test_the_average_gain_is_the_papers(dataset, printed):
    rows = {row.system: row.scores for row in published(dataset) if row.source == TABLE_2}
    gains = [average_gain(rows[name], rows["BASE"]) for name in ("BASE+MEM", "BASE+CMN")]
    assert gains == pytest.approx(printed, abs=0.0015)  # of numbers rounded to three digits


def test_rows_columns_best_and_published(table):
    made = table()
    assert made.columns == ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "AVG. Δ")
    assert [line.name for line in made.lines[:3]] == ROWS
    assert [line.name for line in made.lines[3:]] == PUBLISHED
    assert made.lines[0].cells[-1] == "-"
    assert float(made.lines[2].cells[-1].rstrip("%")) == pytest.approx(100, abs=6)
    assert [sum(line.best) for line in made.lines] == [0, 0, 6, 0, 0, 0]
    assert made.lines[2].cells[3].endswith("‡")
    assert [line.cells[-1] for line in made.lines[3:]] == ["-", "+6.6%", "+19.6%"]
    assert "reports not tested" in " ".join(made.notes)


def test_another_data_set_has_no_published_rows(table):
    assert len(table(data="r2cmn.phantom.PhantomDataModule").lines) == 3


def test_one_seed_has_no_spread_and_no_mark(table):
    made = table(seeds=(0,))
    assert not any("±" in cell or "‡" in cell for line in made.lines for cell in line.cells)
    assert "over 1 seed;" in made.notes[0]
    assert "no difference from it could be tested" in made.notes[2]


def test_equal_scores_have_no_best(table):
    made = table(kinds=("none", "separate"), sd=0.0)
    assert not any(any(line.best) for line in made.lines)


def test_markdown_has_as_many_cells_in_each_row(table):
    text = FORMATS["markdown"](table())
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {9}
    assert "**0.2" in text


def test_latex_has_as_many_cells_in_each_row_and_no_bare_letter(table):
    text = FORMATS["latex"](table())
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") - line.count(r"\&") for line in body} == {7}
    assert r"\textbf{0." in text
    assert r"\%" in text
    assert not re.search(r"(?<!\\)[%_]|[±Δ‡†]", "\n".join(body))


def test_text_is_aligned(table):
    lines = FORMATS["text"](table()).splitlines()
    assert len({len(line) for line in lines[:8]}) == 1


def test_a_sweep_of_models_has_a_row_a_system_and_blind_rows(tmp_path, make_sweep):
    sweep = make_sweep(
        tmp_path / "s",
        {"model": ["cmn", "base", "base_mem"], "seed": [0, 1]},
        lambda o: 0.2 if o["model"] == "cmn" else 0.1,
        data=IU_XRAY,
    )
    result = json.loads((sweep / "0" / "result.json").read_text())
    result["baselines"] = {"scores": {"constant": {"BLEU_4": 0.172}, "shuffled_images": {"BLEU_4": 0.1}}}
    (sweep / "0" / "result.json").write_text(json.dumps(result))
    found = collect([str(sweep)])
    groups, _ = families(found.done, ablated_keys(found, []))
    assert len(groups) == 1
    assert groups[0].keys == ["model"]
    assert [setting.label for setting in groups[0].settings] == ["model base", "model base_mem", "model cmn"]
    made = table2(compare(groups[0], metrics_of(["BLEU_4", "METEOR"]), find_reference(groups[0], {}), None))
    blind = ["best constant report (no image)"]
    assert [line.name for line in made.lines] == [*ROWS, *blind, *PUBLISHED]
    assert made.lines[3].cells == ("0.172", "-", "-")
    text = FORMATS["latex"](made)
    assert text.count(r"\midrule") == 3
    assert "no image: reports of the training set" in text


def test_a_value_that_the_model_does_not_set_is_a_column(tmp_path, make_sweep):
    sweep = make_sweep(tmp_path / "s", {"model": ["cmn", "base"], "memory.num_queried": [8, 16]}, lambda _: 0.1)
    found = collect([str(sweep)])
    groups, _ = families(found.done, ablated_keys(found, []))
    assert [set(group.keys) for group in groups] == [{"model", "memory.num_queried"}]


def test_a_column_that_prints_as_zeros_has_no_best(tmp_path, make_sweep):
    grid = {"memory": ["none", "separate"], "seed": [0, 1]}
    sweep = make_sweep(tmp_path / "s", grid, lambda o: 1e-5 if o["memory"] == "none" else 2e-5, sd=0.0)
    found = collect([str(sweep)])
    family = families(found.done, ablated_keys(found, []))[0][0]
    made = table2(compare(family, metrics_of(["BLEU_4"]), find_reference(family, {}), None))
    assert [line.cells[0][:5] for line in made.lines] == ["0.000", "0.000"]
    assert not any(line.best[0] for line in made.lines)


def test_grounding_scores_are_columns_after_the_others():
    names = ["ground/memory/pointing", "ground/attention/auprc", "ground/attention/auprc_mean_box", "BLEU_4", "CIDEr"]
    assert metrics_of(names) == ["BLEU_4", "CIDEr", "ground/attention/auprc", "ground/memory/pointing"]
    assert title_of("ground/attention/auprc") == "attention AUPRC of the test"
