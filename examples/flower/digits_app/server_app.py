"""The server: OnLedger around FedAvg is all that it has of a ledger."""

from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from digits_app.task import Net, initial, test
from galaxy_chain.flower import OnLedger

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    strategy = OnLedger(FedAvg(fraction_evaluate=0.0, min_available_nodes=4), job=context.run_config["galaxy-job"])
    strategy.start(
        grid,
        ArrayRecord(initial().state_dict()),
        num_rounds=context.run_config["num-server-rounds"],
        evaluate_fn=evaluate,
    )


def evaluate(round: int, arrays: ArrayRecord) -> MetricRecord:
    model = Net()
    model.load_state_dict(arrays.to_torch_state_dict())
    return MetricRecord({"accuracy": test(model)})
