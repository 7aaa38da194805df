"""How good a model is and how sure that number is (floor 1).

Every metric is a :class:`Metric`: a value with its 95% bootstrap interval. Importing this package needs numpy alone;
scipy and sacrebleu are imported by the functions that use them.
"""

from regard.metrics.bootstrap import Metric, interval, interval_of_sums, mean_interval
from regard.metrics.calibration import expected_calibration_error, fit_temperature
from regard.metrics.classification import ClassificationReport, ClassScores, multi_label, single_label
from regard.metrics.direction import SMALLER_IS_BETTER, is_better
from regard.metrics.generation import answered, varied
from regard.metrics.language import modelled
from regard.metrics.regression import regression
from regard.metrics.summaries import summarized
from regard.metrics.text_report import TextReport
from regard.metrics.translation import bleu_tokenizer, translated

__all__ = [
    "SMALLER_IS_BETTER",
    "ClassScores",
    "ClassificationReport",
    "Metric",
    "TextReport",
    "answered",
    "bleu_tokenizer",
    "expected_calibration_error",
    "fit_temperature",
    "interval",
    "interval_of_sums",
    "is_better",
    "mean_interval",
    "modelled",
    "multi_label",
    "regression",
    "single_label",
    "summarized",
    "translated",
    "varied",
]
