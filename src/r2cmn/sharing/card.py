"""The model card of a shared model: what it was trained on, its scores with intervals, baselines, and the terms.

A card holds numbers and names only: no report, no template, no word of the vocabulary, whatever the license class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2cmn.files import read_json
from r2cmn.files.weights import refusing
from r2cmn.model import count_parameters
from r2cmn.pages import Row, Table, render
from r2cmn.prepare.collections import COLLECTIONS

SHOWN = ("BLEU_1", "BLEU_2", "BLEU_3", "BLEU_4", "METEOR", "ROUGE_L", "CIDEr", "CE_macro_F1", "CE_micro_F1")
"""The scores of a card, as far as the test has them."""

LICENSES = {
    "public": "The data are public, and so is what was derived from them; cite the data set.",
    "non_commercial": "The data are for non-commercial use, and so is this model.",
    "dua": (
        "The data came under a data use agreement. The weights, the vocabulary and the reports that the model writes "
        "are derived from them and fall under the same terms: only those who signed the agreement may have them."
    ),
}
"""What a card says of each license class."""

_IMAGES = ("frontal.png", "lateral.png", "third.png")


@dataclass(frozen=True)
class Facts:
    """What a model card says beside what the module knows.

    Attributes:
        data: the data set: a name of `r2cmn.prepare.collections`, whose terms the card then carries, or a title.
        checkpoint: name of the file that the weights came from.
        scores: the content of the `scores.json` of the test of these weights; None if it was not tested.
    """

    data: str | None = None
    checkpoint: str | None = None
    scores: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, scores: str | Path | None, data: str | None) -> Facts:
        """Return the facts of a file `scores.json` and the name of a data set.

        Raises:
            ValueError: if the file cannot be read.
        """
        return cls(data, None, None if scores is None else read_json(Path(scores)))


def render_card(module: Any, facts: Facts) -> str:
    """Return the model card, in Markdown with the header that hubs read.

    Args:
        module: a `CMNModule`.
        facts: what else is known.

    Raises:
        ValueError: if the scores are not those of `scores.json`.
    """
    collection = COLLECTIONS.get(facts.data or "")
    with refusing(Path("scores.json"), ValueError):
        tested = None if facts.scores is None else _tested(facts.scores)
    model = module.hparams["model"]
    return render(
        "card.md",
        module.license_class,
        system=_class_name(model["encoder_decoder"]),
        parts={name: _class_name(model[name]) for name in ("backbone", "memory", "encoder_decoder")},
        trunk=model["backbone"].get("name"),
        parameters=count_parameters(module.model)["total"],
        vocabulary=len(module.tokenizer.words),
        max_length=module.tokenizer.max_length,
        views=module.num_views,
        size=module.transform.size,
        images=_IMAGES[: module.num_views],
        data=collection.title if collection else facts.data,
        checkpoint=facts.checkpoint,
        tested=tested,
        license=LICENSES[module.license_class],
        terms=collection.terms.strip() if collection else None,
    )


def _tested(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores of `scores.json` by protocol, as tables."""
    names = content["names"]
    return {
        "reports": content["reports"],
        "labeler": content["labeler"],
        "resampled": content["resampled"],
        "level": round(100 * content["settings"]["level"]),
        "protocols": [(protocol["protocol"], protocol["reports"], _table(protocol, names))
                      for protocol in content["protocols"]],
        "notes": content["notes"],
    }  # fmt: skip


def _table(protocol: Mapping[str, Any], names: Mapping[str, str]) -> Table:
    systems = [("this model", protocol), *((system["name"], system) for system in protocol["baselines"])]
    shown = [name for name in SHOWN if name in protocol["scores"] and _value(protocol["scores"][name]) is not None]
    head = ["", *(name for name, _ in systems)]
    cells = {name: [_cell(system["scores"].get(name)) for _, system in systems] for name in shown}
    return Table(head, [Row([names.get(name, name), *cells[name]]) for name in shown])


def _value(score: Any) -> float | None:
    value = None if score is None else score["value"]
    return None if value is None or not math.isfinite(value) else float(value)


def _cell(score: Any) -> str:
    """Return a score with its interval: `0.315 [0.289, 0.342]`."""
    value = _value(score)
    if value is None:
        return "-"
    return f"{value:.3f} [{score['low']:.3f}, {score['high']:.3f}]" if score["low"] is not None else f"{value:.3f}"


def _class_name(description: Mapping[str, Any]) -> str:
    return str(description.get("_target_", "")).rpartition(".")[2]
