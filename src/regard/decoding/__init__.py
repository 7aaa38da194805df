"""Choosing tokens (floor 3): a scorer says how likely each next token is, filters change that, a search chooses."""

from regard.decoding.filters import Banned, Filter, Forced
from regard.decoding.greedy import greedy
from regard.decoding.scorer import ModelScorer, Scorer

__all__ = ["Banned", "Filter", "Forced", "ModelScorer", "Scorer", "greedy"]
