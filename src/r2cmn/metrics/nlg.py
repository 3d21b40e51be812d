"""BLEU, ROUGE-L, CIDEr and METEOR as the papers of this family report them: the scorers of coco-caption.

Reports are compared word by word as the tokenizer writes them, full stops included, without the PTB tokenizer of
image captioning: with it, or with another ROUGE-L, the numbers are not comparable with the paper's tables.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Sequence
from typing import Any, Literal

from r2cmn.metrics.meteor import MeteorError, meteor

NAMES = ("BLEU_1", "BLEU_2", "BLEU_3", "BLEU_4", "METEOR", "ROUGE_L", "CIDEr")
Meteor = Literal["auto"] | bool

_warning_lock = threading.Lock()
_warned = False


def check_meteor(choice: Any) -> None:
    """Raise ValueError unless the choice is "auto", True or False."""
    if choice != "auto" and not isinstance(choice, bool):
        raise ValueError(f"metrics.meteor must be auto, true or false, not {choice!r}")


def nlg_scores(
    generated: Sequence[str], references: Sequence[str], meteor: Literal["auto"] | bool = "auto"
) -> dict[str, float]:
    """Score a corpus of reports against one reference each.

    White space is normalised first: leading spaces would count as words in ROUGE-L, and line breaks break METEOR.
    A pair of two empty reports has ROUGE-L 1 and 0 in all other scores, as in coco-caption.

    Args:
        generated: reports, words separated by spaces; may be empty strings.
        references: one for each report.
        meteor: True computes METEOR or raises; False leaves it out; "auto" computes it if it can, else warns once.

    Returns:
        BLEU_1 to BLEU_4, METEOR, ROUGE_L in [0, 1] and CIDEr in [0, 10]; METEOR is nan where it was not computed.

    Raises:
        ValueError: without reports, or if there are not as many references.
        MeteorError: if `meteor` is True and it could not be computed.
    """
    check_meteor(meteor)
    if len(generated) != len(references):
        raise ValueError(f"every report needs one reference: there are {len(generated)} and {len(references)}")
    if not generated:
        raise ValueError("there are no reports to score: call update before compute")
    generated = [" ".join(text.split()) for text in generated]
    references = [" ".join(text.split()) for text in references]
    scores = bleu(generated, references)
    scores["METEOR"] = _meteor(generated, references, meteor)
    scores["ROUGE_L"] = rouge_l(generated, references)
    scores["CIDEr"] = cider(generated, references)
    return scores


def bleu(generated: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """BLEU of the corpus, n-grams up to 1, 2, 3 and 4 (Papineni et al., 2002); at least one report."""
    from pycocoevalcap.bleu.bleu import Bleu

    values, _ = Bleu(4).compute_score(*_as_coco(generated, references), verbose=0)
    return {f"BLEU_{n}": float(value) for n, value in enumerate(values, 1)}


def rouge_l(generated: Sequence[str], references: Sequence[str]) -> float:
    """Mean ROUGE-L with beta 1.2 (Lin, 2004); splits at single spaces, so extra spaces count as words."""
    from pycocoevalcap.rouge.rouge import Rouge

    return float(Rouge().compute_score(*_as_coco(generated, references))[0])


def cider(generated: Sequence[str], references: Sequence[str]) -> float:
    """Mean CIDEr-D in [0, 10] (Vedantam et al., 2015); rare n-grams weigh more, so it depends on all references."""
    from pycocoevalcap.cider.cider import Cider

    if not any(text.split() for text in references):
        return 0.0  # the scorer needs at least one n-gram to weigh
    return float(Cider().compute_score(*_as_coco(generated, references))[0])


def _as_coco(generated: Sequence[str], references: Sequence[str]) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    return {i: [text] for i, text in enumerate(references)}, {i: [text] for i, text in enumerate(generated)}


def _meteor(generated: Sequence[str], references: Sequence[str], choice: Meteor) -> float:
    if choice is False:
        return math.nan
    try:
        return meteor(generated, references)
    except MeteorError as error:
        if choice is True:
            raise
        _warn_once(f"METEOR is left out: {error}")
        return math.nan


def _warn_once(sentence: str) -> None:
    global _warned
    with _warning_lock:
        if _warned:
            return
        _warned = True
    warnings.warn(sentence, stacklevel=4)
