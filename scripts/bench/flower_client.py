"""The client of `flower_app.py`, where Flower's actors can import it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from jobs import job_of

from galaxy_fl.data.shards import load_shard
from galaxy_fl.rounds.client import round_seed
from galaxy_fl.training.models import build_model
from galaxy_fl.training.trainer import train


@functools.cache
def shard(name: str, index: int, clients: int) -> Any:
    """Load a client's data once an actor."""
    return load_shard(job_of(name).data, "train", f"{index}/{clients}")


def client_app(name: str, clients: int, mods: Sequence[Any] = ()) -> ClientApp:
    """What trains."""
    app = ClientApp(mods=list(mods))

    @app.train()
    def train_round(message: Message, context: Context) -> Message:
        torch.set_num_threads(1)
        job = job_of(name)
        model = build_model(job.model, job.train.seed)
        model.load_state_dict(message.content["arrays"].to_torch_state_dict())
        data = shard(name, int(context.node_config["partition-id"]) + 1, clients)
        round = int(message.content["config"]["server-round"])
        result = train(model, data, job.train, round_seed(job.train.seed, round))
        metrics = MetricRecord({"num-examples": result.samples, "loss": result.loss})
        return Message(RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics}), reply_to=message)

    return app
