#!/usr/bin/env python
"""Personal parts of a model against one model for all, and against each client alone, on the digits of examples/parts.

Every run is a real job in standalone mode: one server and four clients, each of which measures its own model on the
test digits as it sees them. Alone is a job that shares one small tensor and no more. Prints the
mean accuracy of the clients.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "parts"))

from digits import digits
from model import Net

import galaxy_fl as galaxy

CLIENTS = range(1, 5)
PERSONAL = {
    "scanned": {"fedavg": [], "fedbn": ["bn*"], "alone": ["stem.weight", "b*", "head.*"]},
    "coded": {"fedavg": [], "fedper": ["head.*"], "alone": ["stem.weight", "b*", "head.*"]},
}


def accuracy(kind: str, personal: list[str], seed: int, rounds: int) -> float:
    """The clients' mean accuracy, each with its own model, on all test digits."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        train = galaxy.Train(learning_rate=0.05, batch_size=16, seed=seed)
        job = galaxy.submit(galaxy.Job(model=Net, rounds=rounds, train=train, personal=personal), clients=len(CLIENTS))
        participants = [galaxy.Server(listeners=[])] + [
            galaxy.Client(
                data=digits("train", client, kind),
                test_data=digits("test", client, kind),
                name=str(client),
                listeners=[],
            )
            for client in CLIENTS
        ]
        threads = [threading.Thread(target=one.run) for one in participants]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        reports = [json.loads(Path(f"report_{job}_client_{client}.json").read_text()) for client in CLIENTS]
    return statistics.mean(report["rounds"][-1]["test"]["accuracy"] for report in reports)


def main() -> None:
    """Print a line for each seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=25)
    arguments = parser.parse_args()
    for kind, jobs in PERSONAL.items():
        for seed in range(arguments.seeds):
            found = {name: accuracy(kind, personal, seed, arguments.rounds) for name, personal in jobs.items()}
            print(
                f"{kind}, seed {seed}: " + ", ".join(f"{name} {value:.1%}" for name, value in found.items()), flush=True
            )


if __name__ == "__main__":
    main()
