"""Choosing tokens (floor 3): a scorer says how likely each next token is, filters change that, a search chooses."""

from regard.decoding.beam import Beam
from regard.decoding.constraints import Lexicon, Required
from regard.decoding.filters import Banned, Behind, Closed, Filter, Forced, Sometimes, Written
from regard.decoding.grammar import Grammar
from regard.decoding.greedy import Greedy
from regard.decoding.lexical import LexicalBeam
from regard.decoding.ngrams import MinimumLength, NoRepeat, Prefix, RepetitionPenalty
from regard.decoding.rank import minimum_bayes_risk
from regard.decoding.sample import Sample
from regard.decoding.scorer import ModelScorer, Scorer
from regard.decoding.search import Hypothesis, Progress, Strategy, search
from regard.decoding.stops import Stops, TextStream
from regard.decoding.vocabulary import Vocabulary

__all__ = [
    "Banned",
    "Beam",
    "Behind",
    "Closed",
    "Filter",
    "Forced",
    "Grammar",
    "Greedy",
    "Hypothesis",
    "LexicalBeam",
    "Lexicon",
    "MinimumLength",
    "ModelScorer",
    "NoRepeat",
    "Prefix",
    "Progress",
    "RepetitionPenalty",
    "Required",
    "Sample",
    "Scorer",
    "Sometimes",
    "Stops",
    "Strategy",
    "TextStream",
    "Vocabulary",
    "Written",
    "minimum_bayes_risk",
    "search",
]
