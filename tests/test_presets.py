"""The table of the presets in docs/train/presets.md against what the presets come to, and against the paper's text."""

import re
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from r2cmn.config import compose, plain

ROOT = Path(__file__).resolve().parents[1]
PRESETS = ("iu_xray_paper", "iu_xray_released", "mimic_cxr_paper", "mimic_cxr_released")
SAID, UNSAID = re.findall(r"(?:^\|.*\n)+", (ROOT / "docs" / "train" / "presets.md").read_text(), flags=re.M)

# What a preset decides is in these; below them only how a machine works, not what comes out.
DECIDING = ("backbone", "memory", "encoder_decoder", "init", "generation", "objective", "optimizer", "metrics", "data")
OF_THE_MACHINE = {
    "data.dir", "data.num_workers", "data.cache", "data.cache_features", "data.on_bad_sample", "data.license_class",
    "data.allow_outside", "data.max_unknown",
}  # fmt: skip
# referred to by other keys, which the table has
REFERRED_TO = {"dim", "num_vectors"}


def rows(table):
    """Rows as {column: cell}."""
    lines = [[cell.strip() for cell in line.strip("|\n ").split("|")] for line in table.splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


ROWS = rows(SAID) + rows(UNSAID)
KEYS = [row["key"].strip("`") for row in ROWS]


@pytest.fixture(scope="module")
def presets():
    return {name: compose([f"experiment={name}", "data.dir=nowhere"]) for name in PRESETS}


def leaves(node, at=""):
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{at}{key}.")
        else:
            yield f"{at}{key}"


@pytest.mark.parametrize("preset", PRESETS)
def test_every_cell_equals_the_value_of_the_preset(presets, preset):
    found = {key: OmegaConf.select(presets[preset], key, throw_on_missing=True, default="—") for key in KEYS}
    cells = {key: yaml.safe_load(row[preset].strip("()")) for key, row in zip(KEYS, ROWS, strict=True)}
    assert found == cells


@pytest.mark.parametrize("preset", PRESETS)
def test_every_value_that_a_preset_decides_has_a_row(presets, preset):
    decided = {key for part in DECIDING for key in leaves(plain(presets[preset][part]), f"{part}.")} - OF_THE_MACHINE
    written = yaml.safe_load((ROOT / "conf" / "experiment" / f"{preset}.yaml").read_text())
    decided |= set(leaves({k: v for k, v in written.items() if k != "defaults"})) - REFERRED_TO
    assert decided <= set(KEYS)
    assert len(KEYS) == len(set(KEYS))


def test_parentheses_are_around_what_the_paper_does_not_say_and_nothing_else():
    for row in rows(SAID):
        assert not any(row[preset].startswith("(") for preset in PRESETS), row
    for row in rows(UNSAID):
        for preset in PRESETS:
            assert row[preset].startswith("(") == (preset.endswith("_paper") and row[preset] != "—"), row


def test_both_data_sets_have_the_papers_values_where_it_gives_one_for_all():
    for row in rows(SAID):
        if "num_views" not in row["key"]:
            assert row["iu_xray_paper"] == row["mimic_cxr_paper"], row


def test_the_words_are_the_papers(paper_text):
    settings = paper_text[paper_text.index("### 3.1 ") : paper_text.index("## 4 Results")]
    settings = " ".join(re.sub(r"-\n\n(?=[a-z])", "", settings).split())
    for row in rows(SAID):
        assert row["the paper's words"] in settings, row["the paper's words"]
        numbers = {float(number) for number in re.findall(r"\d+(?:\.\d+)?", row["the paper's words"])}
        value = yaml.safe_load(row["iu_xray_paper"])
        if numbers and "et al." not in row["the paper's words"] and type(value) in (int, float):
            assert value in numbers, row
    rates = re.search(r"learning rates .*? set to \$5 \\times 10\^\{-5\}\$ and \$1 \\times 10\^\{-4\}\$", settings)
    assert rates, "of the visual extractor and of the rest"
    cells = [rows(SAID)[KEYS.index(f"optimizer.{key}")]["iu_xray_paper"] for key in ("backbone_lr", "lr")]
    assert [float(cell) for cell in cells] == [5e-5, 1e-4]
