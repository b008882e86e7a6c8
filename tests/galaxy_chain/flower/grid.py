"""A Flower app in one process: its messages go through Flower's own wire format, to one client after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

__all__ = ["OneProcess", "client_app"]


class OneProcess(Grid):
    """Carries messages to clients.

    Args:
        apps: Each client's.
        node_configs: Each client's.
    """

    def __init__(self, apps: list[ClientApp], node_configs: list[dict[str, Any]]) -> None:
        self.apps = dict(enumerate(apps, 1))
        TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1  # as a SuperLink gives them
        self.contexts = {
            number: Context(run_id=1, node_id=number, node_config=config, state=RecordDict(), run_config={})
            for number, config in enumerate(node_configs, 1)
        }
        self.sent: list[bytes] = []
        """All messages and replies, as they went over the wire."""
        self.altered: Callable[[int, Message], Message] = lambda node, reply: reply
        """What becomes of a node's reply on its way."""

    def get_node_ids(self) -> Iterable[int]:
        return list(self.apps)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return [self._ask(message) for message in list(messages)]

    def _ask(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        arrived = self._through(message)
        try:
            reply = self.apps[node](arrived, self.contexts[node])
        except Exception as error:  # as Flower's own runtimes do
            reply = Message(Error(code=2, reason=f"{type(error)}:<'{error}'>"), reply_to=arrived)
        return self.altered(node, self._through(reply))

    def _through(self, message: Message) -> Message:
        wire = message_to_proto(message)
        self.sent.append(wire.SerializeToString())
        return message_from_proto(wire)

    # Not asked by strategies
    def set_run(self, run: Any) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Any:
        raise NotImplementedError

    def create_message(self, *arguments: Any, **options: Any) -> Message:
        raise NotImplementedError

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        raise NotImplementedError


def client_app(index: int, samples: int, mods: list[Any], **answers: Any) -> ClientApp:
    """A client whose training adds drawn numbers: always the same, so that two runs can be compared.

    Args:
        index: Which one it is.
        samples: How many it says.
        mods: The app's.
        answers: Records that the reply has in place of its own; None for none.
    """
    app = ClientApp(mods=mods)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        drawn = np.random.default_rng(100 + index)
        arrays = {name: array.numpy() for name, array in message.content["arrays"].items()}
        # Flower's own mean makes floats of integers, and numbers of arrays of none.
        steps = {name: drawn.normal(size=value.shape) for name, value in arrays.items()}
        trained = {
            name: value if name == "layer.count" else np.asarray((value + steps[name]).astype(value.dtype))
            for name, value in arrays.items()
        }
        records: dict[str, Any] = {
            "arrays": ArrayRecord({name: Array(np.asarray(value)) for name, value in trained.items()}),
            "metrics": MetricRecord({"num-examples": samples, "loss": float(index)}),
        }
        records |= answers
        return Message(
            RecordDict({name: record for name, record in records.items() if record is not None}), reply_to=message
        )

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        metrics = MetricRecord({"num-examples": samples, "seen": len(message.content["arrays"])})
        return Message(RecordDict({"metrics": metrics, "config": ConfigRecord()}), reply_to=message)

    return app
