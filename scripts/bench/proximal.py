#!/usr/bin/env python
"""FedProx against plain averaging, on digits whose labels are skewed, over several seeds.

Every run is a real job in standalone mode. Prints each job's test accuracy after each round, as the server measures it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import threading
from pathlib import Path

import galaxy_fl as galaxy


def accuracies(mu: float, seed: int, arguments: argparse.Namespace) -> list[float]:
    """The accuracy of the global model on all test digits after each round of a job."""
    train = galaxy.Train(
        learning_rate=arguments.learning_rate,
        batch_size=16,
        local_epochs=arguments.local_epochs,
        proximal=mu,
        seed=seed,
    )
    job = galaxy.Job(model="mlp", rounds=arguments.rounds, train=train)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        galaxy.submit(job, clients=arguments.clients)
        shards = f"1-{arguments.clients}/{arguments.clients}"
        client = galaxy.Client(data="digits", shards=shards, partition=arguments.partition, partition_seed=seed)
        server = galaxy.Server(test_data="digits")
        threads = [threading.Thread(target=each.run) for each in (client, server)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        [report] = Path().glob("report_*_server.json")
        return [line["test"]["accuracy"] for line in json.loads(report.read_text())["rounds"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--local-epochs", type=int, default=10)
    parser.add_argument("--learning-rate", type=float, default=0.5)
    parser.add_argument("--partition", default="labels:1")
    parser.add_argument("--mu", type=float, nargs="*", default=[0.0, 0.01, 0.1])
    arguments = parser.parse_args()
    print(f"{arguments.clients} clients, {arguments.partition}, {arguments.local_epochs} local epochs")
    for seed in range(arguments.seeds):
        for mu in arguments.mu:
            found = " ".join(f"{100 * each:5.1f}" for each in accuracies(mu, seed, arguments))
            print(f"seed {seed}  mu {mu:<5g}  {found}", flush=True)


if __name__ == "__main__":
    main()
