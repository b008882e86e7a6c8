#!/usr/bin/env python
"""The same job in Flower's simulation: same model, data, shards, trainer and seeds. For `rounds.py --flower`.

Runs with a Python that has flwr[simulation] and Galaxy. Each client trains with one thread on a processor of its own,
as Galaxy's workers do.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The actors are processes of their own, which import this file's neighbours, and Galaxy.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(HERE), str(HERE.parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
)
sys.path.insert(1, str(HERE.parent.parent))  # Flower's Python need not have Galaxy installed
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"

from flower_client import client_app  # noqa: E402
from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord  # noqa: E402
from flwr.serverapp import Grid, ServerApp  # noqa: E402
from flwr.serverapp.strategy import FedAvg  # noqa: E402
from flwr.simulation import run_simulation  # noqa: E402
from jobs import JOBS, BenchmarkJob, asked  # noqa: E402

from galaxy_fl.data.datasets import load  # noqa: E402
from galaxy_fl.training.models import build_model  # noqa: E402
from galaxy_fl.training.trainer import evaluate  # noqa: E402


def server_app(job: BenchmarkJob, clients: int, rounds: int) -> ServerApp:
    """What averages and evaluates."""
    app = ServerApp()

    @app.main()
    def run(grid: Grid, context: Context) -> None:
        model = build_model(job.model, job.train.seed)
        test = load(job.data, "test") if job.evaluates else None

        def evaluated(round: int, arrays: ArrayRecord) -> MetricRecord:
            model.load_state_dict(arrays.to_torch_state_dict())
            found = evaluate(model, test, job.train)
            print(f"round {round}: loss {found.loss:.3f}, accuracy {found.accuracy:.3f}", flush=True)
            return MetricRecord({"loss": found.loss, "accuracy": found.accuracy or 0.0})

        strategy = FedAvg(
            fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=clients, min_available_nodes=clients
        )
        result = strategy.start(
            grid=grid,
            initial_arrays=ArrayRecord(model.state_dict()),
            num_rounds=rounds,
            train_config=ConfigRecord(),
            evaluate_fn=evaluated if job.evaluates else None,
        )
        if len(result.train_metrics_clientapp) < rounds:
            raise SystemExit("not every round had its clients: see what the actors say above")

    return app


def main() -> None:
    arguments = asked(__doc__)
    run_simulation(
        server_app(JOBS[arguments.job], arguments.clients, arguments.rounds),
        client_app(arguments.job, arguments.clients),
        num_supernodes=arguments.clients,
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )


if __name__ == "__main__":
    main()
