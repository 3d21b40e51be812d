"""What a run shows of its test: scores under each protocol, what a model has to beat, and a few reports."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape

from r2cmn.evaluation.baselines import compare
from r2cmn.evaluation.run import evaluate_test
from r2cmn.evaluation.table import print_result
from r2cmn.module import CMNModule

log = logging.getLogger("r2cmn")

NUM_REPORTS = 3


def show_test(
    module: CMNModule, data: Any, scores: dict[str, float], folder: Path, title: str, device: torch.device | None
) -> dict[str, Any] | None:
    """Print the tables of a test and three reports; write `scores.json` and the baselines' reports.

    Nothing in here is collective: under DDP only the first process calls it.

    Args:
        module: that was just tested, with its `reports`.
        data: the data module that it was tested with.
        scores: of the test, as logged.
        folder: of the run.
        title: what was tested.
        device: where the module computes; None leaves the baselines out.

    Returns:
        What `result.json` holds of the baselines; None where they were left out or could not be computed.
    """
    meteor = getattr(module.test_metrics, "meteor", "auto")
    found = evaluate_test(module.reports, data.studies, module.tokenizer, title, meteor=meteor)
    found.write_json(folder / "scores.json")
    print_result(found)
    for note in found.notes:
        log.warning("%s", note)
    compared = None
    if device is not None:
        try:
            compared = compare(data, module, scores, device, folder / "baselines", "the model beside its baselines")
        except (ValueError, OSError, RuntimeError) as error:  # days of training do not end without a result for this
            log.warning("the baselines could not be computed, and the scores stand without them: %s", error)
    print_reports(module.reports, NUM_REPORTS)
    return compared


def print_reports(reports: list[tuple[int, str, str]], number: int) -> None:
    """Print generated reports beside their references, spread over the set."""
    console = Console(highlight=False)
    for index, generated, reference in reports[:: max(1, len(reports) // number)][:number]:
        console.print(
            f"[bold]study {index}, generated[/]  {escape(generated)}\n[dim]         reference  {escape(reference)}[/]"
        )
