"""Observations of a report by rules: phrases, cues of negation and doubt, and the order in which they win."""

from r2cmn.metrics.labeler.rule import Mention, RuleLabeler

__all__ = ["Mention", "RuleLabeler"]
