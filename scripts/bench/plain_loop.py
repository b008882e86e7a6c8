#!/usr/bin/env python
"""The job of `galaxy-chain demo` as a plain PyTorch loop: no ledger, no processes, no proof. For `rounds.py`."""

from __future__ import annotations

import argparse
import copy
import tomllib
from importlib.resources import files

import torch

from galaxy_fl.data.datasets import load
from galaxy_fl.data.shards import load_shard
from galaxy_fl.jobs.document import BuiltinModel
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.rounds.client import round_seed
from galaxy_fl.training.models import build_model
from galaxy_fl.training.trainer import evaluate, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    job = tomllib.loads(files("galaxy_chain.demo").joinpath("digits.toml").read_text())
    specification = TrainSpecification.model_validate(job["train"])
    shards = [load_shard("digits", "train", f"{i}/{arguments.clients}") for i in range(1, arguments.clients + 1)]
    test = load("digits", "test")
    model = build_model(BuiltinModel.model_validate(job["model"]), specification.seed)
    for round in range(1, arguments.rounds + 1):
        states, weights = [], []
        for shard in shards:
            local = copy.deepcopy(model)
            result = train(local, shard, specification, round_seed(specification.seed, round))
            states.append(local.state_dict())
            weights.append(result.samples)
        total = sum(weights)
        shares = [weight / total for weight in weights]
        mean = {
            name: torch.stack([state[name] * share for state, share in zip(states, shares, strict=True)]).sum(0)
            for name in states[0]
        }
        model.load_state_dict(mean)
        found = evaluate(model, test, specification)
        print(f"round {round}: loss {found.loss:.3f}, accuracy {found.accuracy:.3f}")


if __name__ == "__main__":
    main()
