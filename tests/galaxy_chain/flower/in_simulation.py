"""The example in `examples/flower` as its users run it: by `flwr run`, in Flower's simulation; see `scripts/flower`."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.end_to_end.processes import LONG, ROOT, environment
from tests.galaxy_chain.flower.app import App

PROGRAMS = Path(sys.executable).parent


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def superlink(folder: Path, variables: dict[str, str]) -> Iterator[None]:
    """A SuperLink that simulates, with this environment, as `flwr run` would start it."""
    port, control = free_ports(2)
    (folder / "config.toml").write_text(
        f'[superlink]\ndefault = "here"\n\n[superlink.here]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    )
    command = [
        *(PROGRAMS / "flower-superlink", "--insecure", "--simulation", "--isolation", "subprocess"),
        *("--host", "127.0.0.1", "--port", port, "--control-api-address", f"127.0.0.1:{control}"),
    ]
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(
            list(map(str, command)), env=variables, stdout=said, stderr=said, start_new_session=True, cwd=folder
        )
    try:
        until = time.monotonic() + LONG
        while True:
            assert process.poll() is None, (folder / "said").read_text()
            assert time.monotonic() < until
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_the_example_runs_in_flowers_simulation_and_is_audited(node, deployment, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    deployment.write(home / "ledger.json")
    shutil.copytree(ROOT / "examples" / "flower", tmp_path / "app")
    variables = environment(
        GALAXY_RPC=node.url,
        GALAXY_HOME=str(home),
        GALAXY_ACCOUNT="dev:0",
        GALAXY_ACCOUNTS="dev:1-4",
        GALAXY_TRUST=node.accounts[0],
        GALAXY_POLL="0.1",
        FLWR_HOME=str(tmp_path),
        FLWR_TELEMETRY_ENABLED="0",
        RAY_USAGE_STATS_ENABLED="0",
        PATH=f"{PROGRAMS}:{os.environ['PATH']}",
    )

    def run(*command: object) -> str:
        done = subprocess.run(
            list(map(str, command)), cwd=tmp_path / "app", env=variables, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    job = re.search(r"job (\d+)", run(sys.executable, "register.py"))[1]
    with superlink(tmp_path, variables):
        said = run(
            *(PROGRAMS / "flwr", "run", ".", "--stream", "--federation-config", "num-supernodes=4"),
            *("-c", f"galaxy-job={job}"),
        )
    assert re.findall(r"round (\d) of job \d+ stands on the ledger: 4 updates", said) == ["1", "2", "3"], said
    accuracies = [float(each) for each in re.findall(r"'accuracy': '([0-9.e+-]+)'", said)]
    assert len(accuracies) == 4, said
    assert accuracies[0] < accuracies[3]
    app = App.__new__(App)
    app.folder, app.common = tmp_path, {"rpc": node.url, "store": str(home / "store"), "ledger": home / "ledger.json"}
    assert [audited.updates for audited in app.reading().audit(int(job)).rounds()] == [4, 4, 4]
