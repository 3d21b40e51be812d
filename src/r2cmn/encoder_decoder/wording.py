"""The optional methods of an encoder-decoder, which turn reports into its tokens and back, and their defaults.

A model with tokens beyond the words, such as one for a whole template sentence, defines them; see
`r2cmn.types.EncoderDecoder`. Everything else writes the words of the tokenizer, one token a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from r2cmn.build import find_class, has_option
from r2cmn.types import Config

if TYPE_CHECKING:
    from r2cmn.data.reports import Study
    from r2cmn.data.tokenizer import Tokenizer


def annotate(description: Config, studies: Sequence[Study], tokenizer: Tokenizer) -> Config | None:
    """Make the annotations that an encoder-decoder or an objective needs; None if its class has no method `annotate`.

    Args:
        description: of the part; options that `annotate` names are passed to it.
        studies: of the training split alone; none to check a configuration before data are read.
        tokenizer: of the reports.

    Returns:
        Plain data (dicts, lists, numbers, texts): a checkpoint holds it, and the constructor gets it as `annotations`.
    """
    make = getattr(find_class(description["_target_"]), "annotate", None)
    if make is None:
        return None
    options = {name: value for name, value in description.items() if has_option(make, name)}
    annotations: Config | None = make(studies, tokenizer, **options)
    return annotations


def rewrites(encoder_decoder: Any) -> bool:
    """Return whether an encoder-decoder learns to write other tokens than those of the reports."""
    return hasattr(encoder_decoder, "to_targets")


def to_targets(encoder_decoder: Any, report: str, tokenizer: Tokenizer) -> list[int]:
    """Return the ids [0, tokens..., 0] that a model learns to write for a report; by default its words."""
    if rewrites(encoder_decoder):
        targets: list[int] = encoder_decoder.to_targets(report, tokenizer)
        return targets
    return tokenizer.encode(report)


def max_tokens(encoder_decoder: Any, tokenizer: Tokenizer) -> int:
    """Return the maximum number of ids of a report; a model may write tokens beside those of the words."""
    count = getattr(encoder_decoder, "max_tokens", None)
    most: int = tokenizer.max_length if count is None else count(tokenizer.max_length)
    return most


def to_words(encoder_decoder: Any, tokens: Sequence[int], tokenizer: Tokenizer) -> str:
    """Return the report of token ids without their opening 0; by default each token is a word."""
    make = getattr(encoder_decoder, "to_words", None)
    words: str = tokenizer.decode(tokens) if make is None else make(tokens, tokenizer)
    return words
