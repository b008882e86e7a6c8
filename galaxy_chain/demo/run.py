"""A whole federated job on one machine: chain, server, clients, audit.

The chain is a process, the server another, and all clients a third, with as many workers as there are processors.

What clients and server earn is out only when the windows are over in which commits can be challenged. So once all are
done and wait for that, the chain's clock is put ahead, and each of them settles, claims and withdraws.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from importlib.resources import as_file, files
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galaxy_chain.demo import LYING_ROUND
from galaxy_chain.demo.chain import DemoChain, running_chain
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.worker import forkserver

if TYPE_CHECKING:
    from galaxy_chain.verify.audit import AuditedRound, Auditor

__all__ = ["demonstrate", "example_job"]

POOL = 10**18 // 2
"""What the job's owner pays, in wei: half of a server's bond, so that no round has to wait for another's window."""
FEW = 16
FEW_FAN_IN = 2
"""Updates that a partial sum stands for where there are few clients: so few that they make a tree."""
SPARE = 60
"""Seconds that the chain's clock is put ahead beyond what has to pass."""


def example_job() -> str:
    """The example of a job file, a digits job."""
    return files("galaxy_chain.demo").joinpath("digits.toml").read_text()


def demonstrate(
    clients: int,
    rounds: int,
    home: Path,
    say: Callable[[dict[str, Any]], None],
    *,
    keep: bool = False,
    cheat: bool = False,
    verify: str = "branch",
    chain: DemoChain = DemoChain.EMBEDDED,
    track: Sequence[str] = (),
    device: str = "cpu",
    dashboard: bool = False,
) -> None:
    """Runs the digits job: chain, ledger, job, one server and so many clients, and an audit at the end.

    Says `chain`, `deployed`, `created`, whatever the server says, `ahead` (the chain's clock), `audited` (a round),
    `earned` (a participant) and `finished`; with a dashboard also `dashboard` and, once a lie is proved, `shown`.

    Args:
        clients: How many, each with its own part of the digits.
        rounds: How many.
        home: Where the ledger's file, the store and the metrics go.
        say: Takes what is said.
        cheat: Let the job's own server lie in round 2. A client proves it, and another server finishes the job.
        verify: How much of each commit the clients recompute: `branch`, `full`, `sample:K` or `off`.
        track: Where participants write what they measure, as `galaxy-chain server --track` has it.
        keep: Wait for an interrupt at the end, the chain still running.
        chain: What it runs on.
        dashboard: Show the job on a page as it happens, and wait for an interrupt at the end.
        device: Where clients train and the server evaluates, as torch names it.

    Raises:
        ConfigurationError: the chain is not installed, or a server is to lie and there is no round to lie in.
        GalaxyError: something went wrong; the message of the participant that it went wrong with.
    """
    if cheat and rounds < LYING_ROUND:
        raise ConfigurationError(
            f"a server that lies does so in round {LYING_ROUND}, and there is only {rounds}: "
            f"give --rounds {LYING_ROUND} or more"
        )
    with running_chain(chain, clients + 3) as ready, ExitStack() as stack:
        # Before anything slow is imported here: the fork server imports torch meanwhile, and the embedded chain py-evm.
        forkserver.start("galaxy_chain.demo.participant")
        from galaxy_chain.demo.instructions import Instructions, unpack
        from galaxy_chain.jobs.creation import create_job
        from galaxy_chain.jobs.file import JobFile
        from galaxy_chain.ledger.contract import LedgerContract
        from galaxy_chain.ledger.deployment import deploy
        from galaxy_chain.rpc.rpc import Rpc
        from galaxy_chain.transactions.accounts import NodeSigner, unlocked
        from galaxy_chain.transactions.manager import Transactions
        from galaxy_chain.verify.audit import Auditor
        from galaxy_fl.aggregation.sum_tree import DEFAULT_FAN_IN
        from galaxy_fl.content import LocalStore
        from galaxy_fl.exceptions import GalaxyError
        from galaxy_fl.participants.events import (
            Challenged,
            Committed,
            Failed,
            Finished,
            Paid,
            Staying,
            Trained,
        )

        with as_file(files("galaxy_chain.demo").joinpath("digits.toml")) as path:
            job_file = JobFile.read(path)

        rpc = Rpc(ready())
        accounts = unlocked(rpc)
        owner, server, liar, *client_accounts = accounts
        terms = {
            "rounds": rounds,
            "min_clients": clients,
            "max_clients": clients,
            "fan_in": FEW_FAN_IN if clients <= FEW else DEFAULT_FAN_IN,
            "server": liar if cheat else server,
            "reward": POOL,
        }
        job_file = job_file.model_copy(update={"terms": job_file.terms.model_copy(update=terms)})

        say({"event": "chain", "chain": chain, "rpc": rpc.url})
        transactions = Transactions(rpc, NodeSigner(owner))
        deployment, gas = deploy(rpc, transactions)
        deployment.write(home / "ledger.json")
        say({"event": "deployed", "ledger": deployment.ledger, "gas": gas})
        ledger = LedgerContract(rpc, deployment.ledger, transactions, first_block=deployment.block)
        store = LocalStore(home / "store")
        created = create_job(ledger, deployment.rules, store, job_file)
        page = None
        if dashboard:
            from galaxy_chain.demo.page import dashboard as page_of  # with a web framework

            page = stack.enter_context(page_of(rpc.url, deployment, home))
            say({"event": "dashboard", "url": page.url_of(created.job)})
        say({"event": "created", "job": created.job, "parameters": created.parameters, "gas": created.gas})

        started = time.monotonic()
        metrics = home / "metrics" / f"{deployment.ledger}-{created.job}.jsonl"
        told = Instructions(
            role="server",
            rpc=rpc.url,
            accounts=[server],
            first=accounts.index(server),
            deployment=deployment,
            store=str(store.root.absolute()),
            metrics=str(metrics.absolute()),
            output=str(home.absolute()),
            job=created.job,
            track=list(track),
            device=device,
        )
        of_clients = {"role": "clients", "accounts": client_accounts, "first": accounts.index(client_accounts[0])}
        processes = [told, told.model_copy(update=of_clients | {"verify": verify})]
        if cheat:
            of_liar = {"role": "liar", "accounts": [liar], "first": accounts.index(liar)}
            processes.append(told.model_copy(update=of_liar))
        connections = {}
        running: dict[str, str] = {}
        for instructions in processes:
            child = stack.enter_context(forkserver.fork("galaxy_chain.demo.participant:run"))
            child.connection.send_bytes(instructions.model_dump_json().encode())
            connections[child.connection] = instructions
            running |= dict.fromkeys(instructions.accounts, instructions.role.removesuffix("s"))
        roles = dict(running)
        gas_of: dict[int, list[int]] = {}
        earned: dict[str, int] = {}
        attempts: dict[tuple[str, int], int] = {}
        waiting: set[str] = set()
        trained = 0.0
        committed: dict[int, Committed] = {}
        finished: Finished | None = None
        auditing: Future[tuple[Auditor, list[AuditedRound], float]] | None = None
        beside = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="audit"))
        while running:
            for connection in wait(list(connections)):
                try:
                    account, event = unpack(connection.recv_bytes())  # type: ignore[union-attr]
                except EOFError:
                    for account in connections.pop(connection).accounts:  # type: ignore[call-overload]
                        if account in running:
                            raise GalaxyError(f"the {roles[account]} {account} ended before the job did") from None
                    continue
                number: int | None = None
                match event:
                    case None:
                        running.pop(account, None)
                    case Failed() if roles[account] == "liar":
                        running.pop(account, None)
                        say({"event": "barred", "server": account, "message": event.message})
                    case Failed():
                        raise GalaxyError(f"the {roles[account]} {account} failed: {event.message}")
                    case Challenged():
                        say(event.model_dump(mode="json") | {"client": account})
                        if page is not None:
                            of = attempts.get((event.server, event.round))
                            say({"event": "shown", "url": page.url_of(created.job, event.round, of)})
                    case Trained():
                        number = event.round
                        gas_of.setdefault(number, []).append(event.gas or 0)
                    case Committed():
                        number = event.round
                        committed[number] = event
                        attempts[account, number] = event.attempt
                    case Finished() if roles[account] == "server":
                        finished = event
                        if auditing is None:  # all others settle their business meanwhile
                            auditing = beside.submit(_audited, partial(Auditor, ledger, store, created.job))
                    case Staying():
                        waiting.add(account)
                    case Paid():
                        earned[account] = earned.get(account, 0) + event.amount
                # The server may be heard before the last client whose update it has aggregated.
                if number in committed and len(gas_of.get(number, ())) == clients:
                    told_of = committed.pop(number)
                    say(told_of.model_dump(mode="json") | {"gas": told_of.gas + sum(gas_of[number])})
            if not trained and running and waiting.issuperset(running):
                trained = time.monotonic() - started
                # Each block is a second later than the one before, and many clients make many in a second.
                early = max(0, rpc.block("latest").time - int(time.time()))
                ahead = created.terms.challenge_seconds + early + SPARE
                rpc.request("evm_increaseTime", ahead)
                rpc.request("evm_mine")
                say({"event": "ahead", "seconds": ahead})
        assert finished is not None
        assert auditing is not None
        auditor, rounds_audited, took = auditing.result()
        began = time.monotonic()
        auditor.check_state()
        standing = [commit.record.next.root for _, commit in sorted(auditor.history.commits.items())]
        if [audited.root for audited in rounds_audited] != standing:  # a lie was found, and taken back since
            rounds_audited = list(auditor.rounds())
        for audited in rounds_audited:
            say({"event": "audited", "round": audited.round, "model": audited.root.hex()})
        took += time.monotonic() - began
        for account, role in roles.items():
            if role != "liar":
                say({"event": "earned", "role": role, "account": account, "amount": earned.get(account, 0)})
        say(finished.model_dump(mode="json") | {"seconds": trained, "audit_seconds": took})
        if keep or page is not None:
            say({"event": "kept"})
            while True:
                time.sleep(3600)


def _audited(make: Callable[[], Auditor]) -> tuple[Auditor, list[AuditedRound], float]:
    """Audit all commits: the auditor, the rounds up to the first that is wrong, and how many seconds it has taken, of a
    processor, as others work at the same time."""
    from galaxy_fl.exceptions import GalaxyError

    began = time.thread_time()
    auditor = make()
    rounds: list[AuditedRound] = []
    with suppress(GalaxyError):  # it is said at the end, if it is still so
        rounds.extend(auditor.commits())
    return auditor, rounds, time.thread_time() - began
