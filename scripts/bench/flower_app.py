#!/usr/bin/env python
"""The same job in Flower's simulation: same model, data, shards, trainer and seeds. For `rounds.py --flower`.

Runs with a Python that has flwr[simulation] and Galaxy. Each client trains with one thread on a processor of its own,
as Galaxy's workers do. `--ledger URL` has the app's rounds stand on a ledger, which is deployed on that development
chain: then the gas of each round is printed, too. It says how long each round but the first took, in which Flower
starts its actors.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The actors are processes of their own, which import this file's neighbours, and Galaxy.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(HERE), str(HERE.parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
)
sys.path.insert(1, str(HERE.parent.parent))  # Flower's Python need not have Galaxy installed
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"

from eth_utils.address import to_checksum_address  # noqa: E402
from flower_client import client_app  # noqa: E402
from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord  # noqa: E402
from flwr.serverapp import Grid, ServerApp  # noqa: E402
from flwr.serverapp.strategy import FedAvg, Strategy  # noqa: E402
from flwr.simulation import run_simulation  # noqa: E402
from jobs import BenchmarkJob, job_of, parser  # noqa: E402

from galaxy_chain.flower import OnLedger, create_job, galaxy_mod  # noqa: E402
from galaxy_chain.ledger.abi import ledger_abi  # noqa: E402
from galaxy_chain.ledger.deployment import deploy  # noqa: E402
from galaxy_chain.rpc.rpc import Rpc  # noqa: E402
from galaxy_chain.transactions.accounts import NodeSigner  # noqa: E402
from galaxy_chain.transactions.manager import Transactions  # noqa: E402
from galaxy_fl.data.datasets import load  # noqa: E402
from galaxy_fl.training.models import build_model  # noqa: E402
from galaxy_fl.training.trainer import evaluate  # noqa: E402


def server_app(
    job: BenchmarkJob, clients: int, rounds: int, wrapped: Callable[[FedAvg], Strategy] = lambda strategy: strategy
) -> ServerApp:
    """What averages and evaluates; `wrapped` makes the strategy that is used of FedAvg."""
    app = ServerApp()
    ended: list[float] = []

    @app.main()
    def run(grid: Grid, context: Context) -> None:
        model = build_model(job.model, job.train.seed)
        test = load(job.data, "test") if job.evaluates else None

        def evaluated(round: int, arrays: ArrayRecord) -> MetricRecord | None:
            ended.append(time.perf_counter())
            if test is None:
                return None
            model.load_state_dict(arrays.to_torch_state_dict())
            found = evaluate(model, test, job.train)
            print(f"round {round}: loss {found.loss:.3f}, accuracy {found.accuracy:.3f}", flush=True)
            return MetricRecord({"loss": found.loss, "accuracy": found.accuracy or 0.0})

        strategy = wrapped(
            FedAvg(fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=clients, min_available_nodes=clients)
        )
        result = strategy.start(
            grid=grid,
            initial_arrays=ArrayRecord(model.state_dict()),
            num_rounds=rounds,
            train_config=ConfigRecord(),
            evaluate_fn=evaluated,
        )
        if len(result.train_metrics_clientapp) < rounds:
            raise SystemExit("not every round had its clients: see what the actors say above")
        if rounds > 1:
            print(f"{(ended[-1] - ended[1]) / (rounds - 1):.2f} s a round", flush=True)

    return app


def on_ledger(job: BenchmarkJob, clients: int, rounds: int, url: str, folder: Path) -> int:
    """Deploys a ledger on a development chain, registers the job there, and sets up all participants."""
    rpc = Rpc(url)
    accounts = rpc.request("eth_accounts")
    deploy(rpc, Transactions(rpc, NodeSigner(to_checksum_address(accounts[0]))))[0].write(folder / "ledger.json")
    os.environ.update(
        GALAXY_RPC=url,
        GALAXY_HOME=str(folder),
        GALAXY_ACCOUNT="dev:0",
        GALAXY_ACCOUNTS=f"dev:1-{clients}",
        GALAXY_TRUST=to_checksum_address(accounts[0]),
        GALAXY_POLL="0.05",
    )
    return create_job(build_model(job.model, job.train.seed), rounds=rounds, clients=clients, open=True)


def gas_by_kind(url: str, first: int) -> dict[str, list[int]]:
    """What the transactions from that block on have cost, by the function that they call."""
    rpc, found = Rpc(url), dict[str, list[int]]()
    names = {function.selector.hex(): name for name, function in ledger_abi().functions.items()}
    for number in range(first, int(rpc.request("eth_blockNumber"), 16) + 1):
        for transaction in rpc.request("eth_getBlockByNumber", hex(number), True)["transactions"]:
            gas = int(rpc.request("eth_getTransactionReceipt", transaction["hash"])["gasUsed"], 16)
            found.setdefault(names.get(transaction["input"][2:10], "other"), []).append(gas)
    return found


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--ledger", metavar="URL", help="a development chain, with an account for each client")
    asked = arguments.parse_args()
    job, size = job_of(asked.job), (asked.clients, asked.rounds)
    with tempfile.TemporaryDirectory(prefix="galaxy-flower-") as folder:
        server, mods, first = server_app(job, *size), [], 0
        if asked.ledger is not None:
            number = on_ledger(job, *size, asked.ledger, Path(folder))
            first = int(Rpc(asked.ledger).request("eth_blockNumber"), 16) + 1
            server = server_app(job, *size, lambda strategy: OnLedger(strategy, job=number))
            mods = [galaxy_mod()]
        run_simulation(
            server,
            client_app(asked.job, asked.clients, mods),
            num_supernodes=asked.clients,
            backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
        )
    if asked.ledger is not None:
        for name, gas in sorted(gas_by_kind(asked.ledger, first).items()):
            print(f"{name}: {sum(gas)} gas in {len(gas)} transactions")


if __name__ == "__main__":
    main()
