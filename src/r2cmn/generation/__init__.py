"""Ways to write reports, which know only how to start and how to step: beam search, greedy search and sampling."""

from r2cmn.generation.beam_search import BeamSearch
from r2cmn.generation.sample import Greedy, Sample

__all__ = ["BeamSearch", "Greedy", "Sample"]
