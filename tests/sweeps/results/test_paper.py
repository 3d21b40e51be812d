"""The entries of published.yaml, and the entry of a run."""

import json

import pytest

from r2cmn.evaluation.published import published
from r2cmn.groups import PARTS
from r2cmn.sweeps.results.collect import collect
from r2cmn.sweeps.results.compare import compare, find_reference
from r2cmn.sweeps.results.frame import ablated_keys, families
from r2cmn.sweeps.results.paper import ablations, compared_groups, paper, published_system, rank, system_of
from r2cmn.sweeps.results.table2 import metrics_of, table2


def test_each_entry_names_a_published_system_and_groups_of_the_configuration():
    known = {(row.system, row.source) for data in paper()["data"] for row in published(data)}
    assert {(system["system"], system["source"]) for system in paper()["systems"]} <= known
    assert compared_groups() <= set(PARTS)
    named = [paper()["default_system"], paper()["base_system"]]
    assert [system["system"] for system in paper()["systems"] if system["system"] in named] == named[::-1]
    assert all(key.startswith("memory.") and ablation.stated for key, ablation in ablations().items())


def test_a_run_with_other_choices_has_no_row():
    choices = {"memory": "none", "encoder_decoder": "transformer", "data": "iu_xray"}
    assert system_of(choices)["system"] == "BASE"
    assert system_of(choices | {"memory": "mine"}) is None
    assert system_of({"memory": "none"}) is None
    assert published_system("phantom", system_of(choices)) is None


def test_choices_of_the_paper_come_first_in_its_order():
    assert sorted(["mine", "cross_modal", "separate", "none"], key=rank) == ["none", "separate", "cross_modal", "mine"]


@pytest.mark.parametrize(("dropout", "names"), [(0.1, ["BASE", "ATT2IN"]), (0.3, None)])
def test_a_users_encoder_decoder_has_its_row_of_table_3(tmp_path, make_trial, dropout, names):
    base = {"memory": "none", "encoder_decoder.dropout": 0.1}
    mine = base | {"encoder_decoder._target_": "mine.models.AttentionLSTM", "encoder_decoder.dropout": dropout}
    for seed in (0, 1):
        data = "r2cmn.data.iu_xray.IUXRayDataModule"
        make_trial(tmp_path / f"{seed}", base | {"seed": seed}, 0.1 + seed / 100, data=data)
        folder = make_trial(tmp_path / f"{seed + 2}", mine | {"seed": seed}, 0.2 + seed / 90, data=data)
        choices = {"memory": "none", "encoder_decoder": "att2in", "hydra/launcher": "pool"}
        content = {"hydra": {"runtime": {"choices": choices}}}
        (folder / ".hydra" / "hydra.yaml").write_text(json.dumps(content))
    found = collect([str(tmp_path)])
    ((family,), _) = families(found.done, ablated_keys(found, ["encoder_decoder"]))
    expected = ["transformer", "att2in"]
    assert [setting.values["encoder_decoder._target_"] for setting in family.settings] == expected
    assert find_reference(family, {"encoder_decoder": "att2in"}) is family.settings[1]
    table = table2(compare(family, metrics_of(["BLEU_4", "ROUGE_L"]), family.settings[0], None))
    if names is None:
        assert family.settings[1].label == "encoder_decoder att2in, encoder_decoder.dropout 0.3"
    else:
        assert [line.name for line in table.lines[:2]] == names
    assert [line.name for line in table.lines[2:]] == ["BASE (published)", "ATT2IN (published)"]
    assert table.lines[3].cells[:2] == ("0.068", "0.308")
    assert "Table 2 and Chen et al., ACL 2021, Table 3;" in table.notes[-1]
