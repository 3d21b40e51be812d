"""Tables for the terminal: full names, no digit cut, n/a for missing scores."""

import io
import math
import re

import pytest
from rich.console import Console

from r2cmn.evaluation.protocols import Protocol, References
from r2cmn.evaluation.published import published
from r2cmn.evaluation.result import evaluate
from r2cmn.evaluation.scored import Settings
from r2cmn.evaluation.show import cell, chance, tables
from r2cmn.metrics.names import describe, parse_ce, short


@pytest.fixture
def result():
    texts = ["the lungs are clear .", "small left effusion .", "no change ."] * 4
    references = [References(Protocol(v, "findings", "cleaned-iu_xray"), texts) for v in ("released-1", "full-1")]
    return evaluate(["no change ."] * 12, references, title="[bold]odd[/] title", settings=Settings(40, meteor=False),
                    baselines={"[red]b": texts[::-1]})  # fmt: skip


def printed(parts, width):
    screen = Console(file=io.StringIO(), width=width, highlight=False)
    for part in parts:
        screen.print(part)
    return screen.file.getvalue()


def test_names_state_all_choices_of_a_score():
    assert parse_ce("CE_example_R_5_upos") == ("example", "R", 5, "positive")
    assert parse_ce("BLEU_4") is None
    assert parse_ce("CE_F1") is None
    assert describe("CE_macro_F1", "x") == "CE(labeler=x, uncertain=negative, average=macro, labels=14) F1"
    assert describe("ROUGE_L", "x") == "ROUGE-L"
    assert short("CE_micro_F1_5_upos") == "CE micro-5 F1 U+"


def test_the_tables_hold_every_protocol_and_system(result):
    text = printed(tables(result, published("iu_xray"), {"from elsewhere": {"BLEU_4": 0.125}}), 120)
    assert "[bold]odd[/] title" in text
    for expected in ("released-1/findings/", "full-1/findings/", "cleaned-iu_xray/coco", "12 reports", "[red]b",
                     "BASE+CMN (2021)", "95% bootstrap interval, 40 resamples of reports, seed 0"):  # fmt: skip
        assert expected in text, expected
    assert re.search(r"from elsewhere +n/a +n/a +n/a +\.125", text)
    assert re.search(r"METEOR +n/a +n/a", text)
    assert "nan" not in text
    assert text.count("ours minus [red]b") == 2


@pytest.mark.parametrize("width", [50, 60, 80, 120])
def test_a_narrow_window_cuts_no_digit_without_an_ellipsis(result, width):
    text = printed(tables(result, published("iu_xray")), width)
    for number in re.findall(r"(?<![\d-])\d?\.\d+\S*", text):
        assert "…" in number or re.fullmatch(r"\d?\.\d{3,4}[\],:]?", number), number
    assert width < 120 or "…" not in text


def test_cells():
    assert cell(math.nan) == "n/a"
    assert cell(0.12345) == "0.1235"
    assert chance(1 / 1001, 1000) == "< 0.001"
    assert chance(0.0429, 1000) == "0.043"
    assert chance(1 / 31, 30) == "0.032"
    assert chance(math.nan, 30) == "n/a"
