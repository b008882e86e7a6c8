"""The client: galaxy_mod is all that it has of a ledger."""

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from digits_app.task import Net, partition, train
from galaxy_chain.flower import galaxy_mod

app = ClientApp(mods=[galaxy_mod()])


@app.train()
def train_round(message: Message, context: Context) -> Message:
    model = Net()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    data = partition(context.node_config["partition-id"], context.node_config["num-partitions"])
    loss = train(model, data, context.run_config["local-epochs"], context.run_config["learning-rate"])
    metrics = MetricRecord({"loss": loss, "num-examples": len(data)})
    return Message(RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics}), reply_to=message)
