"""The evaluation of a run's test: the same path as a file's, from the reports that the module holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from r2cmn.data.reports import Study
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.evaluation.protocols import released_and_full
from r2cmn.evaluation.result import Result, evaluate
from r2cmn.evaluation.scored import Settings


def evaluate_test(
    reports: Sequence[tuple[int, str, str]],
    studies: Mapping[str, Sequence[Study]],
    tokenizer: Tokenizer,
    title: str,
    baselines: Mapping[str, Sequence[str]] | None = None,
    meteor: Any = "auto",
) -> Result:
    """Score the reports of a test under `released-1` and `full-1`, with intervals that resample patients.

    Args:
        reports: (index, generated, reference), as `CMNModule.reports` holds them.
        studies: by split; the index is the position in test.
        tokenizer: the model's.
        title: what was tested.
        baselines: reports of other systems for the same studies, in the order of `reports`, by name.
        meteor: as in `Settings`.
    """
    tested = [studies["test"][index] for index, _, _ in reports]
    references = released_and_full(
        tokenizer, [study.report for study in tested], [study.report for study in studies["train"]]
    )
    patients = [study.patient for study in tested]
    groups = None if None in patients else ("patient", [str(patient) for patient in patients])
    return evaluate(
        [generated for _, generated, _ in reports],
        references,
        title=title,
        groups=groups,
        baselines=baselines,
        settings=Settings(meteor=meteor),
    )
