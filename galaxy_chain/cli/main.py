"""galaxy-chain: the command line of a ledger."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from galaxy_chain.settings_file import SETTINGS_FILE, read_settings
from galaxy_fl.exceptions import GalaxyError

if TYPE_CHECKING:
    from typer import Typer

__all__ = ["application", "main"]

INTERRUPTED = 130
TERMINATED = 143


def application() -> Typer:
    """The command line with all its commands."""
    import typer

    from galaxy_chain.cli import account, audit, demo, deploy, job, money, node, participate, store, watch

    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Federated learning whose every round stands on a blockchain.",
        epilog="Settings come from flags, then GALAXY_… variables, then galaxy.toml. Exit codes: docs/operations.md.",
    )
    app.command()(demo.demo)
    app.command()(node.node)
    app.add_typer(account.app, name="account")
    app.command()(deploy.deploy)
    app.add_typer(job.app, name="job")
    app.command()(participate.server)
    app.command()(participate.client)
    app.command()(audit.audit)
    app.command()(watch.watch)
    app.add_typer(money.app, name="bond")
    app.command()(money.claim)
    app.command("withdraw")(money.withdraw_balance)
    app.add_typer(store.app, name="store")
    return app


def _defaults(command: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings as click takes them: by command, then by parameter."""
    if hasattr(command, "commands"):
        return {name: _defaults(inner, settings) for name, inner in command.commands.items()}
    return {parameter.name: settings[parameter.name] for parameter in command.params if parameter.name in settings}


@contextmanager
def _interrupts_are_heard() -> Iterator[None]:
    """Has an interrupt come again that Python has swallowed, as it does in the callbacks of imports."""
    hook = sys.unraisablehook

    def heard(unraisable: sys.UnraisableHookArgs) -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            threading.Timer(0.05, signal.raise_signal, [signal.SIGINT]).start()
        else:
            hook(unraisable)

    sys.unraisablehook = heard
    try:
        yield
    finally:
        sys.unraisablehook = hook


def main() -> None:
    """Runs the command line; errors end it with the exit codes of docs/operations.md."""
    # An exception, so that folders are tidied and files closed; servers have handlers of their own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    with _interrupts_are_heard():
        _run()


def _run() -> None:
    try:
        # Here, so that an interrupt meanwhile ends as quietly as a later one.
        from typer.main import get_command

        command = get_command(application())
        command.main(prog_name="galaxy-chain", default_map=_defaults(command, read_settings(SETTINGS_FILE)))
    except GalaxyError as error:
        sys.stderr.write(f"galaxy-chain: {error}\n")
        sys.exit(error.exit_code)
    except OSError as error:  # a full disk, a folder that may not be written to: the world's fault, not the program's
        sys.stderr.write(f"galaxy-chain: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
