"""Choosing tokens (floor 3): a scorer says how likely each next token is, filters change that, a search chooses."""

from regard.decoding.filters import Banned, Closed, Filter, Forced, Written
from regard.decoding.greedy import greedy
from regard.decoding.scorer import ModelScorer, Scorer

__all__ = ["Banned", "Closed", "Filter", "Forced", "ModelScorer", "Scorer", "Written", "greedy"]
