"""The compiled contracts that come with the package, and the rules that its participants know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from galaxy_fl.keccak import keccak

__all__ = ["RULE_CONTRACTS", "Artifact", "artifact", "rule_of_code"]

RULE_CONTRACTS: Mapping[str, str] = {
    "weighted_mean": "WeightedMean",
    "relay": "Relay",
    "coordinate_median": "CoordinateMedian",
    "trimmed_mean": "TrimmedMean",
    "fedavgm": "FedAvgM",
    "fedadam": "FedAdam",
}
"""The contract of each rule of `galaxy_fl.aggregation`, its twin."""


@dataclass(frozen=True)
class Artifact:
    """A compiled contract: its ABI, the code that deploys it and the code that is deployed."""

    name: str
    abi: list[dict[str, Any]]
    bytecode: bytes
    runtime: bytes


@cache
def artifact(name: str) -> Artifact:
    """The artifact of a contract by its name in `contracts/`."""
    data = json.loads(files("galaxy_chain").joinpath("artifacts", f"{name}.json").read_text())
    return Artifact(name, data["abi"], bytes.fromhex(data["bytecode"][2:]), bytes.fromhex(data["runtime"][2:]))


@cache
def _rules_by_code() -> dict[bytes, str]:
    return {keccak(artifact(contract).runtime): rule for rule, contract in RULE_CONTRACTS.items()}


def rule_of_code(code: bytes) -> str | None:
    """The name of the rule whose contract has this runtime code, or None if nobody here knows it."""
    return _rules_by_code().get(keccak(code))
