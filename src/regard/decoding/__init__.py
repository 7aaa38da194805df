"""Choosing tokens (floor 3): a scorer says how likely each next token is, filters change that, a search chooses."""

from regard.decoding.beam import Beam
from regard.decoding.filters import Banned, Closed, Filter, Forced, Sometimes, Written
from regard.decoding.greedy import Greedy
from regard.decoding.sample import Sample
from regard.decoding.scorer import ModelScorer, Scorer
from regard.decoding.search import Hypothesis, Progress, Strategy, search

__all__ = [
    "Banned",
    "Beam",
    "Closed",
    "Filter",
    "Forced",
    "Greedy",
    "Hypothesis",
    "ModelScorer",
    "Progress",
    "Sample",
    "Scorer",
    "Sometimes",
    "Strategy",
    "Written",
    "search",
]
