"""Published numbers: Tables 2 and 3 of the paper are complete, every row names its source."""

import csv

import pytest

from r2cmn.evaluation.published import COLUMNS, published, published_file
from r2cmn.metrics.names import NLG, parse_ce

# typed from the paper: BL-1 to BL-4, MTR, RG-L, then P, R, F1
TABLE_2 = {
    ("iu_xray", "BASE"): "0.396 0.254 0.179 0.135 0.164 0.342",
    ("iu_xray", "BASE+MEM"): "0.443 0.270 0.191 0.144 0.172 0.351",
    ("iu_xray", "BASE+CMN"): "0.475 0.309 0.222 0.170 0.191 0.375",
    ("mimic_cxr", "BASE"): "0.314 0.192 0.127 0.090 0.125 0.265 0.331 0.224 0.228",
    ("mimic_cxr", "BASE+MEM"): "0.340 0.209 0.140 0.100 0.135 0.273 0.322 0.255 0.261",
    ("mimic_cxr", "BASE+CMN"): "0.353 0.218 0.148 0.106 0.142 0.278 0.334 0.275 0.278",
}
TABLE_3 = {
    ("iu_xray", "ST"): "0.216 0.124 0.087 0.066 - 0.306",
    ("iu_xray", "ATT2IN"): "0.224 0.129 0.089 0.068 - 0.308",
    ("iu_xray", "ADAATT"): "0.220 0.127 0.089 0.068 - 0.308",
    ("iu_xray", "COATT"): "0.455 0.288 0.205 0.154 - 0.369",
    ("iu_xray", "HRGR"): "0.438 0.298 0.208 0.151 - 0.322",
    ("iu_xray", "CMAS-RL"): "0.464 0.301 0.210 0.154 - 0.362",
    ("iu_xray", "R2GEN"): "0.470 0.304 0.219 0.165 0.187 0.371",
    ("iu_xray", "CMN"): "0.475 0.309 0.222 0.170 0.191 0.375",
    ("mimic_cxr", "ST"): "0.299 0.184 0.121 0.084 0.124 0.263 0.249 0.203 0.204",
    ("mimic_cxr", "ATT2IN"): "0.325 0.203 0.136 0.096 0.134 0.276 0.322 0.239 0.249",
    ("mimic_cxr", "ADAATT"): "0.299 0.185 0.124 0.088 0.118 0.266 0.268 0.186 0.181",
    ("mimic_cxr", "TOPDOWN"): "0.317 0.195 0.130 0.092 0.128 0.267 0.320 0.231 0.238",
    ("mimic_cxr", "R2GEN"): "0.353 0.218 0.145 0.103 0.142 0.277 0.333 0.273 0.276",
    ("mimic_cxr", "CMN"): "0.353 0.218 0.148 0.106 0.142 0.278 0.334 0.275 0.278",
}
METRICS = ("BLEU_1", "BLEU_2", "BLEU_3", "BLEU_4", "METEOR", "ROUGE_L", "CE_macro_P", "CE_macro_R", "CE_macro_F1")


@pytest.mark.parametrize(("name", "table"), [("Table 2", TABLE_2), ("Table 3", TABLE_3)])
def test_the_tables_of_the_paper_are_complete(name, table):
    found = {
        (dataset, each.system): each.scores
        for dataset in ("iu_xray", "mimic_cxr")
        for each in published(dataset)
        if each.source.endswith(name)
    }
    assert found == {
        key: {m: float(v) for m, v in zip(METRICS, values.split(), strict=False) if v != "-"}
        for key, values in table.items()
    }


def test_every_row_can_be_read():
    with published_file().open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    for row in rows:
        assert row["metric"] in NLG or parse_ce(row["metric"]), row
        assert 0 <= float(row["value"]) <= 1, row
        assert row["second_hand"] in ("yes", "no"), row
        assert row["year"].isdigit(), row
        assert row["system"], row
        assert row["source"], row
        assert row["protocol"], row
        # not of the paper's authors: second-hand
        assert row["second_hand"] == "yes" or row["source"].startswith("Chen et al., ACL 2021"), row
    keys = [(r["system"], r["dataset"], r["metric"], r["source"]) for r in rows]
    assert len(keys) == len(set(keys))


def test_what_was_cited_in_the_paper_is_second_hand():
    rows = {each.system: each.second_hand for each in published("iu_xray") if each.source.endswith("Table 3")}
    assert rows.pop("CMN") is False
    assert all(rows.values())


def test_a_data_set_without_published_numbers_is_named():
    with pytest.raises(ValueError, match="no published numbers of 'phantom': there are some of iu_xray, mimic_cxr"):
        published("phantom")
