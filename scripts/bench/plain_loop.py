#!/usr/bin/env python
"""One job as a plain PyTorch loop: no ledger, no processes, no proof. For `rounds.py`.

It trains where `GALAXY_DEVICE` says, as Galaxy's own programs do.
"""

from __future__ import annotations

import copy
import os

import torch
from jobs import asked, job_of

from galaxy_fl.data.datasets import load
from galaxy_fl.data.shards import load_shard
from galaxy_fl.rounds.client import round_seed
from galaxy_fl.training.models import build_model
from galaxy_fl.training.trainer import evaluate, train


def main() -> None:
    arguments = asked(__doc__)
    job, device = job_of(arguments.job), os.environ.get("GALAXY_DEVICE", "cpu")
    shards = [load_shard(job.data, "train", f"{i}/{arguments.clients}") for i in range(1, arguments.clients + 1)]
    test = load(job.data, "test")
    model = build_model(job.model, job.train.seed)
    for round in range(1, arguments.rounds + 1):
        states, weights = [], []
        for shard in shards:
            local = copy.deepcopy(model)
            result = train(local, shard, job.train, round_seed(job.train.seed, round), device)
            states.append(local.state_dict())
            weights.append(result.samples)
        total = sum(weights)
        shares = [weight / total for weight in weights]
        mean = {
            name: torch.stack([state[name] * share for state, share in zip(states, shares, strict=True)]).sum(0)
            for name, value in states[0].items()
            if value.is_floating_point()
        }
        model.load_state_dict(mean, strict=False)  # counters of batches are each client's own
        if job.evaluates:
            found = evaluate(model, test, job.train, device)
            print(f"round {round}: loss {found.loss:.3f}, accuracy {found.accuracy:.3f}")


if __name__ == "__main__":
    main()
