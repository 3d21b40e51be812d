"""The dashboard: what it shows, and that it can be written without an account."""

import json
import sys

import pytest

pytest.importorskip("wandb_workspaces", reason="pip install 'r2cmn[dashboard]'")

from r2cmn.loggers import workspace as dashboard


@pytest.fixture(scope="module")
def sections():
    spec = dashboard.build("project", "entity")._spec["spec"]["section"]
    return {section["name"]: section["panels"] for section in spec["panelBankConfig"]["sections"]}


def test_each_setting_has_its_curve_and_its_bars(sections):
    settings = {"memory.value.num_vectors", "memory.value.num_queried", "memory.value.num_threads",
                "choices.value.memory", "choices.value.encoder_decoder", "choices.value.objective"}  # fmt: skip
    for name, kind, key in (
        ("Validation, by setting", "Run History Line Plot", "val/BLEU_4"),
        ("Loss, by setting", "Run History Line Plot", "val/loss"),
        ("Test, by setting", "Bar Chart", "test/BLEU_4"),
    ):
        panels = [p for p in sections[name] if p["viewType"] == kind and p["config"]["metrics"] == [key]]
        assert {panel["config"]["groupBy"] for panel in panels} == settings
        assert all(panel["config"]["groupAgg"] == "mean" for panel in panels)


def test_settings_are_plotted_against_the_best_validation_score(sections):
    parallel = [p for p in sections["Settings against BLEU-4"] if p["viewType"] == "Parallel Coordinates Plot"]
    accessors = [column["accessor"] for column in parallel[0]["config"]["columns"]]
    assert accessors == ["config:memory.value.num_vectors", "config:memory.value.num_queried",
                         "config:memory.value.num_threads", "summary:objective"]  # fmt: skip
    scatter = [p["config"] for p in sections["Settings against BLEU-4"] if p["viewType"] == "Scatter Plot"]
    assert {plot["xAxis"] for plot in scatter} == {"config:parameters.value.total", "config:parameters.value.matrix"}


def test_a_sweep_alone_may_be_shown():
    spec = dashboard.build("project", "entity", "it's 1")._spec["spec"]["section"]
    (leaf,) = spec["runSets"][0]["filters"]["filters"]
    assert (leaf["key"]["name"], leaf["op"], leaf["value"]) == ("group", "=", "it's 1")
    assert not dashboard.build("project", "entity")._spec["spec"]["section"]["runSets"][0]["filters"].get("filters")


def test_it_is_written_whole(tmp_path):
    dashboard.write(dashboard.build("project", "entity"), tmp_path / "deep" / "d.json")
    content = json.loads((tmp_path / "deep" / "d.json").read_text())
    assert content["project"] == "project"
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["d.json"]


def test_what_is_not_installed_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(ValueError, match=r"^r2cmn dashboard needs wandb-workspaces: pip install 'r2cmn\[dashboard\]'$"):
        dashboard.build("p", "e")


def test_a_server_that_refuses_is_one_sentence(monkeypatch):
    workspace = dashboard.build("p", "e")

    def refuse(self):
        raise ValueError("no such project\nand more")

    monkeypatch.setattr(type(workspace), "save_as_new_view", refuse)
    with pytest.raises(ValueError, match=r"did not save it \(no such project\): --out FILE writes the workspace"):
        dashboard.save(workspace)
