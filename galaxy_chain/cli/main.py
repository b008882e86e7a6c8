"""galaxy-chain: the command line of a ledger."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from galaxy_fl.exceptions import GalaxyError
from galaxy_fl.interrupts import interrupts_are_heard

if TYPE_CHECKING:
    from typer.core import TyperGroup

__all__ = ["application", "main"]

INTERRUPTED = 130
TERMINATED = 143
HUNG_UP = 129
TRAINING = (("client",), ("job", "create"))
"""Commands that have torch at work in any case: the others know more first, and `demo` needs more of it."""


def application() -> TyperGroup:
    """The command line with all its commands, none of which is imported yet."""
    import typer
    from typer.main import get_command

    from galaxy_chain.cli.commands import Deferred, group
    from galaxy_chain.cli.version import options

    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        epilog="Settings come from flags, then GALAXY_… variables, then galaxy.toml. Exit codes: docs/operations.md.",
    )
    app.callback(help="Federated learning whose every round stands on a blockchain.")(options)
    root: Any = get_command(app)
    for command in (
        Deferred("demo", "demo:demo", "Run a whole job on this machine, with a chain of its own."),
        Deferred("node", "node:node", "Run the embedded development chain."),
        group(
            "account",
            "Keys in encrypted keystore files on this machine.",
            new=("account.new:new", "Make a key."),
            list=("account.list:list_accounts", "List the keys."),
            **{
                "import": ("account.import_key:import_key", "Import a keystore file or a private key."),
                "export": ("account.export_key:export_key", "Export a key as an encrypted keystore file."),
            },
        ),
        Deferred("deploy", "deploy:deploy", "Deploy a ledger."),
        group(
            "job",
            "Jobs on the ledger.",
            example=("job.example:example", "Print an example of a job file."),
            create=("job.create:create", "Register a job."),
            list=("job.list:list_jobs", "List the jobs."),
            show=("job.show:show", "Show a job: terms, participants, money and rounds."),
            export=("job.export:export", "Write a job's model to a file for PyTorch."),
            report=("job.report:report", "Write a job up to be filed, with every round recomputed."),
            admit=("job.admit:admit", "Admit clients to a job that is not open."),
            expel=("job.expel:expel", "Accept no more updates from a client."),
            settle=("job.settle:settle", "Settle the rounds whose windows are over."),
            supersede=("job.supersede:supersede", "Take back a commit whose model is withheld."),
            cancel=("job.cancel:cancel", "End a job with its current round."),
            finalize=("job.finalize:finalize", "Close the books of a job."),
        ),
        Deferred("server", "participate:server", "Serve a job."),
        Deferred("client", "participate:client", "Take part in a job with your own data."),
        Deferred("relay", "relay:relay", "Hand in what clients have signed."),
        Deferred("audit", "audit:audit", "Recompute every round of a job."),
        Deferred("watch", "watch:watch", "Run a watchtower: audit commits as they come."),
        Deferred("dashboard", "dashboard:dashboard", "Serve a page that shows jobs as they happen."),
        group(
            "bond",
            "The bond of a server in a job.",
            deposit=("bond.deposit:deposit", "Add to the bond."),
            withdraw=("bond.withdraw:withdraw", "Take the bond back."),
            show=("bond.show:show", "Show what an address has at stake."),
        ),
        group(
            "key",
            "The keys of jobs that are sealed.",
            show=("key.show:show", "Show this folder's public key."),
            register=("key.register:register", "Register it for an account that is no client."),
            serve=("key.serve:serve", "Share a job's keys with its members as they come."),
            share=("key.share:share", "Share a job's keys with an account."),
            rotate=("key.rotate:rotate", "Begin a new epoch of a job."),
            list=("key.list_keys:list_keys", "List a job's epochs."),
            export=("key.export:export", "Write a job's keys into a file for an auditor."),
            **{"import": ("key.import_keys:import_keys", "Keep the keys of such a file.")},
        ),
        Deferred("claim", "claim:claim", "Credit clients with what their updates have earned."),
        Deferred("withdraw", "withdraw:withdraw", "Pay out an account's balance in a job."),
        group(
            "store",
            "The content store.",
            list=("store.list:list_contents", "List the contents."),
            get=("store.get:get", "Get verified content by its id."),
            put=("store.put:put", "Put a file into the store and pin it."),
            pin=("store.pin:pin", "Keep content."),
            unpin=("store.unpin:unpin", "Keep content no longer."),
            verify=("store.verify:verify", "Hash all contents afresh."),
            gc=("store.gc:gc", "Remove what is not pinned."),
            serve=("store.serve:serve", "Serve the store over HTTP."),
        ),
    ):
        root.add_command(command)
    return root  # type: ignore[no-any-return]


def main() -> None:
    """Run the command line; errors end it with the exit codes of docs/operations.md."""
    # numpy begins with a thread for each processor, which waits for work by running. Nothing here multiplies matrices
    # in numpy, and workers are as many as there are processors.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # An exception, so that folders are tidied and files closed; servers have handlers of their own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # a terminal that is closed; under `nohup` it is ignored
        signal.signal(signal.SIGHUP, lambda *_: sys.exit(HUNG_UP))
    try:
        with interrupts_are_heard():
            _run()
    finally:
        gc.freeze()  # Python would go through all that was imported once more, to take apart what ends with it


def _train_soon() -> None:
    """Have torch loaded while all else is, for a command that trains: each takes a second or two."""
    arguments = sys.argv[1:]
    if any(arguments[: len(command)] == [*command] for command in TRAINING) and "--help" not in arguments:
        from galaxy_fl.worker import forkserver

        forkserver.start()


def _run() -> None:
    try:
        _train_soon()
        gc.disable()  # until the command is imported, of which nothing is garbage: it takes a fourteenth of the time
        # Here, so that an interrupt meanwhile ends as quietly as a later one.
        application().main(prog_name="galaxy-chain")
    except GalaxyError as error:
        sys.stderr.write(f"galaxy-chain: {error}\n")
        sys.exit(error.exit_code)
    except OSError as error:  # a full disk, a folder that may not be written to: the world's fault, not the program's
        sys.stderr.write(f"galaxy-chain: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
