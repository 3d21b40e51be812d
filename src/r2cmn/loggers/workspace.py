"""The W&B workspace of the ablations: its panels and the keys that they show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from r2cmn.files import write_json
from r2cmn.files.words import first_line
from r2cmn.groups import COMPARED

NUMBERS = {
    "N, memory vectors": "memory.num_vectors",
    "K, queried vectors": "memory.num_queried",
    "threads": "memory.num_threads",
}
"""Ablated numbers and their keys in the logged configuration."""

SETTINGS = {**NUMBERS, **{group.replace("_", "-"): f"choices.{group}" for group in COMPARED}}
"""Settings that group curves and bars, and their keys in the logged configuration."""

BEST = "objective"
"""Best validation BLEU-4, in the summary of a finished run."""

TEST_SCORES = ("test/BLEU_1", "test/BLEU_2", "test/BLEU_3", "test/BLEU_4", "test/METEOR", "test/ROUGE_L", "test/CIDEr")

MEMORY_USE = {
    "share of the N vectors queried": ("val/memory/share_patches", "val/memory/share_words"),
    "entropy of use (1: even)": ("val/memory/entropy_patches", "val/memory/entropy_words"),
    "overlap of patches and words, and by chance": ("val/memory/overlap", "val/memory/overlap_chance"),
    "alignment with boxes (0.5: chance)": ("val/memory/alignment", "val/memory/alignment_any_finding"),
}

# logged with callbacks.memory_use.per_thread=true
THREAD_USE = {
    "each thread (with per_thread): share queried by patches": r"val/memory/thread_\d+/share_patches",
    "each thread (with per_thread): share queried by words": r"val/memory/thread_\d+/share_words",
    "each thread (with per_thread): overlap": r"val/memory/thread_\d+/overlap",
}

SYSTEM = {
    "GPU utilization, %": r"system/gpu\.\d+\.gpu",
    "GPU memory, %": r"system/gpu\.\d+\.memoryAllocated",
    "CPU, %": r"system/cpu",
    "memory of the process, MB": r"system/proc\.memory\.rssMB",
}


def build(project: str, entity: str, group: str | None = None) -> Any:
    """Build the workspace without sending it.

    Args:
        project: W&B project.
        entity: user or team of the project.
        group: sweep whose runs are shown; None shows all.

    Raises:
        ValueError: if wandb-workspaces is not installed.
    """
    ws, _ = _libraries()
    shown = {} if group is None else {"filters": f"Metric('Group') == {group!r}"}
    return ws.Workspace(
        entity=entity,
        project=project,
        name="r2cmn ablations" if group is None else f"r2cmn ablations, {group}",
        sections=[
            _section("Validation, by setting", list(_curves("val/BLEU_4", "epoch")), is_open=True),
            _section("Test, by setting", _test_panels(), is_open=True),
            _section("Settings against BLEU-4", _trade_offs(), columns=2, is_open=True),
            _section("Loss, by setting", list(_curves("val/loss", "epoch"))),
            _section("Training", _training_panels()),
            _section("Memory use", _memory_panels()),
            _section("Clinical efficacy and degeneracy", _honesty_panels(), columns=2),
            _section("Reports", _report_panels(), columns=1),
            _section("System", _system_panels(), columns=2),
        ],
        settings=ws.WorkspaceSettings(max_runs=100),
        runset_settings=ws.RunsetSettings(**shown),
    )


def has_account() -> bool:
    """Return whether a W&B account is set up, without a prompt or a request."""
    import wandb

    return bool(wandb.login(prompt=False, verify=False))


def find_entity() -> str:
    """Return the default entity of the account.

    Raises:
        ValueError: if the server cannot be reached.
    """
    import wandb

    try:
        return str(wandb.Api().default_entity)
    except (wandb.errors.Error, OSError, ValueError) as error:
        raise ValueError(f"W&B cannot be reached ({first_line(error)}): --out FILE writes the workspace") from error


def save(workspace: Any) -> str:
    """Save the workspace as a new view of its project and return its address.

    Raises:
        ValueError: if the server cannot be reached or refuses.
    """
    import wandb

    try:
        workspace.save_as_new_view()
    except (
        wandb.errors.Error,
        OSError,
        ValueError,
        KeyError,
        TypeError,
    ) as error:  # KeyError, TypeError: a response without a view
        raise ValueError(f"W&B did not save it ({first_line(error)}): --out FILE writes the workspace") from error
    return str(workspace.url)


def write(workspace: Any, path: Path) -> None:
    """Write the workspace as JSON."""
    write_json(path, workspace._spec)


def keys(workspace: Any) -> set[str]:
    """Return every key of the panels as W&B names it: `val/loss`, `config.memory.value...`; patterns as `/.../`."""
    found: set[str] = set()
    for section in workspace._spec["spec"]["section"]["panelBankConfig"]["sections"]:
        for panel in section["panels"]:
            config = panel["config"]
            found |= {*config.get("metrics", []), *(config[k] for k in ("xAxis", "yAxis", "zAxis") if k in config)}
            found |= {f"config:{config['groupBy']}"} if "groupBy" in config else set()
            found |= {column["accessor"] for column in config.get("columns", [])}
            found |= {f"/{config['metricRegex']}/"} if "metricRegex" in config else set()
    return found


def _libraries() -> tuple[Any, Any]:
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ModuleNotFoundError as error:
        raise ValueError("r2cmn dashboard needs wandb-workspaces: pip install 'r2cmn[dashboard]'") from error
    return ws, wr


def _section(name: str, panels: list[Any], columns: int = 4, is_open: bool = False) -> Any:
    ws, _ = _libraries()
    rows = max(1, -(-len(panels) // columns))
    layout = ws.SectionLayoutSettings(columns=columns, rows=min(rows, 3))
    return ws.Section(name=name, panels=panels, is_open=is_open, layout_settings=layout)


def _curves(key: str, x: str) -> Iterator[Any]:
    """Plot mean and standard deviation over the runs of each value of each setting."""
    _, wr = _libraries()
    for name, setting in SETTINGS.items():
        yield wr.LinePlot(
            title=f"{key} by {name}", x=x, y=[key], groupby=wr.Config(setting), groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
        )  # fmt: skip


def _bars(key: str) -> Iterator[Any]:
    _, wr = _libraries()
    for name, setting in SETTINGS.items():
        yield wr.BarPlot(
            title=f"{key} by {name}", metrics=[key], groupby=wr.Config(setting), groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
        )  # fmt: skip


def _test_panels() -> list[Any]:
    return [*_bars("test/BLEU_4"), *_bars("test/CE_micro_F1")]


def _trade_offs() -> list[Any]:
    _, wr = _libraries()
    columns = [
        wr.ParallelCoordinatesPlotColumn(metric=wr.Config(setting), display_name=name, log=name[1] == "," or None)
        for name, setting in NUMBERS.items()
    ]
    best = wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(BEST), display_name="best val/BLEU_4")
    sizes = {"parameters.total": "all parameters", "parameters.matrix": "parameters of the memory matrix"}
    return [
        wr.ParallelCoordinatesPlot(title="N, K and threads against val/BLEU_4", columns=[*columns, best]),
        wr.ParallelCoordinatesPlot(
            title="N, K and threads against test/BLEU_4",
            columns=[*columns, wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric("test/BLEU_4"))],
        ),
        *[
            wr.ScatterPlot(
                title=f"test/BLEU_4 against {name}", x=wr.Config(key), y=wr.SummaryMetric("test/BLEU_4"), log_x=True
            )
            for key, name in sizes.items()
        ],
    ]


def _training_panels() -> list[Any]:
    _, wr = _libraries()
    return [
        wr.LinePlot(title="train/loss", x="trainer/global_step", y=["train/loss"]),
        wr.LinePlot(title="learning rates", x="epoch", y=["lr/backbone", "lr/rest"]),
        wr.LinePlot(title="scores", x="epoch", y=["val/BLEU_1", "val/METEOR", "val/ROUGE_L", "val/CIDEr"]),
        wr.BarPlot(title="training, studies per second", metrics=["speed/train_studies_per_second"]),
    ]


def _memory_panels() -> list[Any]:
    _, wr = _libraries()
    plots = [wr.LinePlot(title=title, x="epoch", y=list(shown)) for title, shown in MEMORY_USE.items()]
    return plots + [wr.LinePlot(title=title, x="epoch", metric_regex=regex) for title, regex in THREAD_USE.items()]


def _honesty_panels() -> list[Any]:
    _, wr = _libraries()
    efficacy = [f"val/CE_{average}_F1" for average in ("macro", "micro", "example")]
    return [
        wr.LinePlot(title="clinical efficacy, F1", x="epoch", y=efficacy),
        wr.LinePlot(title="distinct reports, share of the most common one", x="epoch",
                    y=["val/distinct", "val/most_common"], range_y=(0, 1)),
        wr.BarPlot(title="test: distinct reports, share of the most common one",
                   metrics=["test/distinct", "test/most_common"]),
        wr.LinePlot(title="words per report", x="epoch", y=["val/mean_length"]),
    ]  # fmt: skip


def _report_panels() -> list[Any]:
    _, wr = _libraries()
    return [
        wr.BarPlot(title="test scores", metrics=list(TEST_SCORES)),
        wr.WeavePanelSummaryTable(table_name="val/reports"),
    ]


def _system_panels() -> list[Any]:
    _, wr = _libraries()
    return [wr.LinePlot(title=title, x="RelativeTime(Wall)", metric_regex=regex) for title, regex in SYSTEM.items()]
