#!/usr/bin/env python
"""One job through Galaxy's command line, as people run it: a chain, server, clients, audit. For `rounds.py`.

Each command is a process of its own but for the clients, which are one operator's and share one. Contents are in a
local store. Ends with the audit's exit code, or a last line that says how long the audit has taken.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from jobs import job_file, job_of, parser

from galaxy_chain.demo.chain import DemoChain, running_chain

HERE = Path(__file__).resolve().parent


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--chain", choices=DemoChain, type=DemoChain, default=DemoChain.EMBEDDED)
    options.add_argument("--folder", type=Path, help="where its files go, and stay; by default one that is removed")
    arguments = options.parse_args()
    clients = arguments.clients
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])  # where the data set is
    with ExitStack() as running:
        # Whoever measures it removes half a gigabyte of updates when the clock has stopped, as the plain loop has none.
        folder = arguments.folder or running.enter_context(tempfile.TemporaryDirectory())
        environment = os.environ | {"PYTHONPATH": path}

        def galaxy(*words: str) -> list[str]:
            return [sys.executable, "-m", "galaxy_chain", *words]

        @contextmanager
        def started(*words: str) -> Iterator[subprocess.Popen[str]]:
            process = subprocess.Popen(galaxy(*words), cwd=folder, env=environment, text=True)
            try:
                yield process
            finally:
                process.kill()
                process.wait()

        def done(*words: str) -> str:
            return subprocess.run(
                galaxy(*words), cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, check=True
            ).stdout

        chain = running.enter_context(running_chain(arguments.chain, clients + 1))
        job = job_of(arguments.job)
        terms = {"rounds": arguments.rounds, "min_clients": clients, "max_clients": clients}
        environment["GALAXY_RPC"] = chain()
        text = re.sub(
            r"(?m)^(\w+) = \d+",
            lambda it: f"{it[1]} = {terms[it[1]]}" if it[1] in terms else it[0],
            job_file(arguments.job).read_text(),
        )
        (Path(folder) / "job.toml").write_text(text)
        done("deploy", "--account", "dev:0")
        done("job", "create", "job.toml", "--account", "dev:0")
        test = ["--data", job.data] if job.evaluates else []
        # Rewards are out when windows are over, a day later: nobody waits for that here.
        participants = [
            running.enter_context(started("server", "--job", "1", "--account", "dev:0", "--leave", *test)),
            running.enter_context(
                started(
                    "client", "--job", "1", "--data", job.data, "--leave",
                    "--shards", f"1-{clients}/{clients}", "--accounts", f"dev:1-{clients}",
                )
            ),
        ]  # fmt: skip
        for participant in participants:
            if code := participant.wait():
                sys.exit(code)
        began = time.monotonic()
        print(done("audit", "1"), end="")
        print(json.dumps({"audit_seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main()
