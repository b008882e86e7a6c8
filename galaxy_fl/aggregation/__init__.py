"""Aggregation rules: pure functions over vectors, the twins of contracts/rules/ (protocol section 6)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from galaxy_fl.aggregation.aggregate import aggregate_files
from galaxy_fl.aggregation.coordinate_median import CoordinateMedian
from galaxy_fl.aggregation.fedadam import FedAdam
from galaxy_fl.aggregation.fedavgm import FedAvgM
from galaxy_fl.aggregation.relay import Relay
from galaxy_fl.aggregation.rule import MAX_WEIGHT, Rule, RuleKind, SumRule, is_sum
from galaxy_fl.aggregation.server_optimizer import ServerOptimizer, has_moments
from galaxy_fl.aggregation.summing import sum_files
from galaxy_fl.aggregation.trimmed_mean import TrimmedMean
from galaxy_fl.aggregation.weighted_mean import WeightedMean

__all__ = [
    "MAX_WEIGHT",
    "RULES",
    "CoordinateMedian",
    "FedAdam",
    "FedAvgM",
    "Relay",
    "Rule",
    "RuleKind",
    "ServerOptimizer",
    "SumRule",
    "TrimmedMean",
    "WeightedMean",
    "aggregate_files",
    "has_moments",
    "is_sum",
    "sum_files",
]

_ALL: tuple[Rule, ...] = (WeightedMean(), Relay(), CoordinateMedian(), TrimmedMean(), FedAvgM(), FedAdam())

RULES: Mapping[str, Rule] = MappingProxyType({rule.name: rule for rule in _ALL})
"""Every rule by the name that job documents use."""
