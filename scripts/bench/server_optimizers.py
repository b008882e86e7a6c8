#!/usr/bin/env python
"""FedAvg, FedAvgM and FedAdam on digits of which each client has a few labels only, over several seeds.

Every round is that of a job: the trainer, the fixed point and the rule are those of participants, in one process,
without the waiting. Some of the clients take part in each round, as where only so many updates are taken; which ones,
the seed says, the same for every rule. Prints for each rule the mean of the test accuracies after the last rounds, so
that one unlucky round changes little, and the rounds until the accuracy first reached a mark.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
import torch
from digits_model import Net

from galaxy_fl.aggregation import RULES
from galaxy_fl.data.batches import count
from galaxy_fl.data.datasets import load
from galaxy_fl.data.shards import load_shard
from galaxy_fl.jobs.method import Averaging
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.rounds.client import round_seed
from galaxy_fl.training.trainer import evaluate, train
from galaxy_fl.vectors import Layout, decode, difference, encode

LAST = 5
"""Rounds whose accuracies are averaged."""


def accuracies(method: Averaging, seed: int, arguments: argparse.Namespace) -> list[float]:
    """The accuracy on the test digits after each round."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    specification = TrainSpecification(
        learning_rate=arguments.client_rate, batch_size=32, local_epochs=arguments.epochs, seed=seed
    )
    model, test = Net(), load("digits", "test")
    shards = [
        load_shard("digits", "train", f"{number}/{arguments.clients}", arguments.partition, seed)
        for number in range(1, arguments.clients + 1)
    ]
    layout = Layout.of(model.state_dict(), set())
    rule, word = RULES[method.rule], method.choice.rule_word
    begin = encode(model.state_dict(), layout)
    state = np.zeros((len(begin), rule.lanes), np.int32)
    state[:, 0] = begin
    draw, found = np.random.default_rng(seed), []
    for number in range(1, arguments.rounds + 1):
        chosen = draw.choice(arguments.clients, arguments.take_part, replace=False)
        weights, updates = state[:, 0].copy(), []
        for client in chosen:
            model.load_state_dict(decode(weights, layout))
            train(model, shards[client], specification, round_seed(seed, number), round=number)
            updates.append(difference(encode(model.state_dict(), layout), weights))
        following = rule.aggregate(word, state.reshape(-1), updates, [count(shards[client]) for client in chosen])
        state = following.reshape(len(begin), -1)
        model.load_state_dict(decode(state[:, 0].copy(), layout))
        found.append(evaluate(model, test, specification).accuracy or 0.0)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--take-part", type=int, default=4, help="clients of a round")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--client-rate", type=float, default=0.02)
    parser.add_argument("--partition", default="labels:2")
    parser.add_argument("--mark", type=float, default=0.8)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--rate", type=float, default=1.0, help="of FedAvgM")
    parser.add_argument("--adam-rate", type=float, default=0.01)
    parser.add_argument("--tau", type=float, default=0.001)
    arguments = parser.parse_args()
    methods = {
        "fedavg": Averaging(),
        "fedavgm": Averaging("fedavgm", learning_rate=arguments.rate, momentum=arguments.momentum),
        "fedadam": Averaging("fedadam", learning_rate=arguments.adam_rate, tau=arguments.tau),
    }
    print(
        f"{arguments.take_part} of {arguments.clients} clients a round, {arguments.rounds} rounds, "
        f"{arguments.partition}; accuracy of the last {LAST} rounds, and rounds to {100 * arguments.mark:g} %"
    )
    print("seed  " + "".join(f"{name:>18}" for name in methods))
    means: dict[str, list[float]] = {name: [] for name in methods}
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        cells = []
        for name, method in methods.items():
            found = accuracies(method, seed, arguments)
            means[name].append(statistics.mean(found[-LAST:]))
            reached = next((str(n) for n, each in enumerate(found, 1) if each >= arguments.mark), "never")
            cells.append(f"{100 * means[name][-1]:9.1f} % {reached:>6}")
        print(f"{seed:4}  " + "".join(cells), flush=True)
    print("mean  " + "".join(f"{100 * statistics.mean(each):9.1f} %       " for each in means.values()))


if __name__ == "__main__":
    main()
