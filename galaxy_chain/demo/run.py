"""A whole federated job on one machine: chain, server, clients, audit.

The chain is a process, the server another, and all clients a third, with as many workers as there are processors.

What clients and server earn is out only when the windows are over in which commits can be challenged. So once all are
done and wait for that, the chain's clock is put ahead, and each of them settles, claims and withdraws.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from importlib.resources import as_file, files
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galaxy_chain.demo import LYING_ROUND
from galaxy_chain.demo.chain import DemoChain, running_chain
from galaxy_chain.demo.job import CLIENTS, DIGITS, MOST_CLIENTS, ROUNDS, OwnJob, with_terms
from galaxy_chain.demo.place import expect_own, scratch
from galaxy_chain.verify.how import Verify
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.worker import forkserver

if TYPE_CHECKING:
    from galaxy_chain.demo.instructions import AuditReport

__all__ = ["demonstrate"]

POOL = 10**18 // 2
"""What the job's owner pays, in wei: half of a server's bond, so that no round has to wait for another's window."""
UNCHANGED = "relay"
"""The rule by which no round makes another model."""
FEW = 16
FEW_FAN_IN = 2
"""Updates that a partial sum stands for where there are few clients: so few that they make a tree."""
ADMITTED_AT_ONCE = 200
"""Clients of a job that is not open, each of whom takes the owner's transaction some 26,000 gas."""
STDERR = 2
SPARE = 60
"""Seconds that the chain's clock is put ahead beyond what has to pass."""


def demonstrate(
    clients: int | None,
    rounds: int | None,
    home: Path,
    say: Callable[[dict[str, Any]], None],
    *,
    own: OwnJob | None = None,
    keep: bool = False,
    cheat: bool = False,
    verify: str = "branch",
    chain: DemoChain = DemoChain.EMBEDDED,
    track: Sequence[str] = (),
    device: str = "cpu",
    dashboard: bool = False,
) -> None:
    """Runs the digits job, or one's own: chain, ledger, job, one server and so many clients, and an audit.

    Says `begun` (the job's name, and how many clients and rounds), `chain`, `deployed`, `created`, whatever the server
    says, `ahead` (the chain's clock), `audited` (a round), `earned` (a participant) and `finished`; with a dashboard
    also `dashboard` and, once a lie is proved, `shown`.

    Args:
        clients: How many, each with its own part of the data; None for four, or the `min_clients` of one's own job.
        rounds: How many; None for five, or those of one's own job.
        home: Where the ledger's file, the store and the metrics go.
        say: Takes what is said.
        own: The job to run in place of the digits, by its own terms but for who and how many take part. Its owner, who
            is taken to be who runs the demonstration, is trusted: a model that is a program runs.
        cheat: Let the job's own server lie in round 2. A client proves it, and another server finishes the job.
        verify: How much of each commit the clients recompute: `branch`, `full`, `sample:K` or `off`.
        track: Where participants write what they measure, as `galaxy-chain server --track` has it.
        keep: Wait for an interrupt at the end, the chain still running.
        chain: What it runs on.
        dashboard: Show the job on a page as it happens, and wait for an interrupt at the end.
        device: Where clients train and the server evaluates, as torch names it.

    Raises:
        ConfigurationError: the chain is not installed, `verify` is not of its form, a server is to lie and there is no
            round to lie in, or one's own job needs what a demonstration has not.
        JobDocumentError: the job's file can't be read, or is not valid.
        GalaxyError: something went wrong; with message and exit code of the participant that it went wrong with.
    """
    Verify.parse(verify)
    # Before anything slow is imported here: the fork server imports torch meanwhile, and the embedded chain py-evm.
    modules = () if own is None else own.modules
    forkserver.start("galaxy_chain.demo.participant", "galaxy_chain.demo.auditor", *modules, stdout=STDERR)
    job_file = None if own is None else own.written
    if clients is None:
        clients = CLIENTS if job_file is None else job_file.terms.min_clients
    if rounds is None:
        rounds = ROUNDS if job_file is None else job_file.terms.rounds
    if cheat and rounds < LYING_ROUND:
        raise ConfigurationError(
            f"a server that lies does so in round {LYING_ROUND}, and there is only {rounds}: "
            f"give --rounds {LYING_ROUND} or more"
        )
    if job_file is not None and cheat and job_file.rule.name == UNCHANGED:
        raise ConfigurationError(
            f"--cheat has a server lie about a round's model, and with the rule {UNCHANGED} that does not change: the "
            "ledger itself takes no other; try the job without --cheat"
        )
    if clients > MOST_CLIENTS:
        raise ConfigurationError(
            f"terms.min_clients is {clients}, and a demonstration has {MOST_CLIENTS} clients at most: give --clients"
        )
    with running_chain(chain, clients + 3) as ready, ExitStack() as stack:
        from galaxy_chain.demo.instructions import Instructions, unpack
        from galaxy_chain.jobs.creation import create_job
        from galaxy_chain.jobs.file import JobFile
        from galaxy_chain.ledger.contract import LedgerContract
        from galaxy_chain.ledger.deployment import deploy
        from galaxy_chain.rpc.rpc import Rpc
        from galaxy_chain.transactions.accounts import NodeSigner, unlocked
        from galaxy_chain.transactions.manager import Transactions
        from galaxy_fl.aggregation.sum_tree import DEFAULT_FAN_IN
        from galaxy_fl.content import LocalStore
        from galaxy_fl.exceptions import GalaxyError
        from galaxy_fl.participants.events import (
            Challenged,
            Committed,
            Exhausted,
            Failed,
            Finished,
            Noted,
            Paid,
            Staying,
            Trained,
        )

        expect_own(home / "ledger.json")
        decided: dict[str, Any] = {"rounds": rounds}
        if job_file is None:
            with as_file(files("galaxy_chain.demo").joinpath("digits.toml")) as path:
                job_file = JobFile.read(path)
            decided |= {"reward": POOL, "fan_in": FEW_FAN_IN if clients <= FEW else DEFAULT_FAN_IN}
        say({"event": "begun", "name": job_file.name, "clients": clients, "rounds": rounds})
        rpc = Rpc(ready())
        accounts = unlocked(rpc)
        owner, server, liar, *client_accounts = accounts
        job_file = with_terms(job_file, clients, server=liar if cheat else server, **decided)

        say({"event": "chain", "chain": chain, "rpc": rpc.url})
        transactions = Transactions(rpc, NodeSigner(owner))
        deployment, gas = deploy(rpc, transactions)
        deployment.write(home / "ledger.json")
        say({"event": "deployed", "ledger": deployment.ledger, "gas": gas})
        ledger = LedgerContract(rpc, deployment.ledger, transactions, first_block=deployment.block)
        store = LocalStore(home / "store")
        folder = Path() if own is None else own.file.parent
        created = create_job(ledger, deployment.rules, store, job_file, folder)
        warnings = [] if own is None else own.warnings(ledger, deployment.rules, created)
        if not job_file.terms.open:
            for first in range(0, clients, ADMITTED_AT_ONCE):
                ledger.admit(created.job, client_accounts[first : first + ADMITTED_AT_ONCE]).transact()
        page = None
        if dashboard:
            from galaxy_chain.demo.page import dashboard as page_of  # with a web framework

            page = stack.enter_context(page_of(rpc.url, deployment, home))
            say({"event": "dashboard", "url": page.url_of(created.job)})
        told_of_job = {"job": created.job, "parameters": created.parameters, "gas": created.gas, "warnings": warnings}
        say({"event": "created"} | told_of_job)

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
            data=DIGITS if own is None else own.data,
            test_data=DIGITS if own is None else own.test_data,
            data_root=None if own is None else own.data_root,
            partition="iid" if own is None else own.partition,
            trust=[] if own is None else [owner],
            scratch=str(stack.enter_context(scratch(home.absolute()))),
            keeps=own is not None,
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
        past, ahead, trained = 0, 0, 0.0
        """The last round whose window is over, how many seconds the clock is put ahead, and when all were trained."""

        def put_ahead() -> None:
            """Let all windows be over that are open."""
            nonlocal ahead
            # Each block is a second later than the one before, and many clients make many in a second.
            early = max(0, rpc.block("latest").time - int(time.time()) - ahead)
            seconds = created.terms.challenge_seconds + early + SPARE
            ahead += seconds
            rpc.request("evm_increaseTime", seconds)
            rpc.request("evm_mine")
            say({"event": "ahead", "seconds": seconds})

        committed: dict[int, Committed] = {}
        finished: Finished | None = None
        auditor = stack.enter_context(forkserver.fork("galaxy_chain.demo.auditor:run")).connection
        auditor.send_bytes(told.model_copy(update={"role": "auditor", "accounts": []}).model_dump_json().encode())
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
                        failed = GalaxyError(f"the {roles[account]} {account} failed: {event.message}")
                        failed.exit_code = event.exit_code
                        raise failed
                    case Challenged():
                        say(event.model_dump(mode="json") | {"client": account})
                        if page is not None:
                            of = attempts.get((event.server, event.round))
                            say({"event": "shown", "url": page.url_of(created.job, event.round, of)})
                    case Exhausted():
                        raise GalaxyError(
                            f"the client {account} trains no more in round {event.round}, which would take its epsilon "
                            f"from {event.epsilon:.3g} to {event.next:.3g}, above {event.stop_at:g}, and here all "
                            "clients are in each round: raise stop_at_epsilon, or have fewer rounds"
                        )
                    case Noted():
                        say(event.model_dump(mode="json"))
                    case Trained():
                        number = event.round
                        gas_of.setdefault(number, []).append(event.gas or 0)
                        if len(gas_of[number]) == clients and number - 1 - past >= created.terms.max_unsettled:
                            past = number - 1
                            put_ahead()
                    case Committed():
                        number = event.round
                        committed[number] = event
                        attempts[account, number] = event.attempt
                        with suppress(OSError):  # it has ended: that is said when its report is asked for
                            auditor.send_bytes(b"")
                    case Finished() if roles[account] == "server":
                        finished = event
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
                put_ahead()
        assert finished is not None
        audit = _found(auditor)
        for number, model in enumerate(audit.models, 1):
            say({"event": "audited", "round": number, "model": model})
        for account, role in roles.items():
            if role != "liar":
                say({"event": "earned", "role": role, "account": account, "amount": earned.get(account, 0)})
        say(finished.model_dump(mode="json") | {"seconds": trained, "audit_seconds": audit.seconds})
        if keep or page is not None:
            say({"event": "kept"})
            while True:
                time.sleep(3600)


def _found(auditor: Connection) -> AuditReport:
    """What an audit of all has found.

    Raises:
        AuditError: something is wrong.
    """
    from galaxy_chain.demo.instructions import ALL_IS_OVER, AuditReport
    from galaxy_chain.exceptions import AuditError

    try:
        auditor.send_bytes(ALL_IS_OVER)
        report = AuditReport.model_validate_json(auditor.recv_bytes())
    except (EOFError, OSError):
        raise AuditError("the auditor ended before the audit did") from None
    if report.error is not None:
        raise AuditError(report.error)
    return report
