#!/usr/bin/env python
"""Distillation against local training, on digits whose labels are skewed (Dirichlet), over several seeds.

Every run is a real job in standalone mode: one server, and clients that keep their own models. With alpha 0 a client
learns from nobody, which is local training. Prints each seed's mean test accuracy over the clients, and the margin.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import tempfile
import threading
from pathlib import Path

from digits_model import Net

from galaxy_fl.core.job_manager import JobManager
from galaxy_fl.core.server import FLStandaloneServer
from galaxy_fl.core.strategy import FederateStrategy, RunTimeStrategy, TrainStrategyFactory
from galaxy_fl.core.trainer_controller import TrainerController
from galaxy_fl.data.datasets import load
from galaxy_fl.data.shards import load_shard


def accuracy(alpha: float, seed: int, arguments: argparse.Namespace) -> float:
    """The clients' mean accuracy on all test digits after a job."""
    import torch

    test = load("digits", "test")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        strategy = TrainStrategyFactory(
            learning_rate=0.05,
            loss_function=RunTimeStrategy.CROSSENTROPY_LOSS,
            batch_size=32,
            epoch=arguments.rounds,
            seed=seed,
        )
        manager = JobManager()
        job = manager.generate_job(
            train_strategy=strategy,
            fed_strategy=FederateStrategy.FED_DISTILLATION,
            model=Net,
            distillation_alpha=alpha,
            min_clients=arguments.clients,
            max_clients=arguments.clients,
        )
        torch.manual_seed(seed)
        manager.submit_job(job, Net())
        participants: list[FLStandaloneServer | TrainerController] = [
            FLStandaloneServer(FederateStrategy.FED_DISTILLATION)
        ]
        for number in range(1, arguments.clients + 1):
            shard = load_shard("digits", "train", f"{number}/{arguments.clients}", arguments.partition, seed)
            participants.append(TrainerController(data=shard, test_data=test, client_id=number))
        threads = [threading.Thread(target=one.start, kwargs={"until_done": True}) for one in participants]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        reports = [json.loads(path.read_text()) for path in Path().glob("report_*_client_*.json")]
        return statistics.mean(float(report["rounds"][-1]["test"]["accuracy"]) for report in reports)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--partition", default="dirichlet:0.5")
    arguments = parser.parse_args()
    print(f"{arguments.clients} clients, {arguments.rounds} rounds, {arguments.partition}, alpha {arguments.alpha}")
    print("seed  local training  distillation  margin")
    margins = []
    for seed in range(arguments.seeds):
        alone, together = (accuracy(alpha, seed, arguments) for alpha in (0.0, arguments.alpha))
        margins.append(together - alone)
        print(f"{seed:4}  {100 * alone:12.1f} %  {100 * together:10.1f} %  {100 * margins[-1]:+6.1f}", flush=True)
    print(f"mean margin {100 * statistics.mean(margins):+.1f} points, {100 * min(margins):+.1f} at least")


if __name__ == "__main__":
    main()
