"""How well an attack tells members from non-members, with intervals that cover new models."""

from dpbench.metrics.accuracy import accuracy_interval as accuracy_interval
from dpbench.metrics.evaluate import Evaluation as Evaluation
from dpbench.metrics.evaluate import evaluate as evaluate
from dpbench.metrics.examples import ExampleAdvantage as ExampleAdvantage
from dpbench.metrics.examples import example_advantage as example_advantage
from dpbench.metrics.intervals import Interval as Interval
from dpbench.metrics.precision import CalibratedPrecision as CalibratedPrecision
from dpbench.metrics.precision import calibrated_precision as calibrated_precision
from dpbench.metrics.precision import threshold_for_precision as threshold_for_precision
from dpbench.metrics.roc import Roc as Roc
from dpbench.metrics.roc import auc as auc
from dpbench.metrics.roc import precision_at as precision_at
from dpbench.metrics.roc import roc as roc
from dpbench.metrics.roc import tpr_at as tpr_at

__all__ = [
    "CalibratedPrecision",
    "Evaluation",
    "ExampleAdvantage",
    "Interval",
    "Roc",
    "accuracy_interval",
    "auc",
    "calibrated_precision",
    "evaluate",
    "example_advantage",
    "precision_at",
    "roc",
    "threshold_for_precision",
    "tpr_at",
]
