"""Sentences of a report."""

from __future__ import annotations

from string import whitespace


def split_sentences(cleaned: str) -> list[str]:
    """Split a report, as `Tokenizer.clean` or `Tokenizer.decode` returns it, at its full stops; none are empty."""
    sentences = (sentence.strip(f".{whitespace}") for sentence in f"{cleaned} ".split(" . "))
    return [sentence for sentence in sentences if sentence]
