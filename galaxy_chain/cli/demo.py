"""galaxy-chain demo: all of it on one machine, in one go."""

from __future__ import annotations

import os
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from galaxy_chain.cli.console import console, print_json, short
from galaxy_chain.cli.options import Json
from galaxy_chain.demo.chain import DemoChain
from galaxy_chain.demo.job import MOST_CLIENTS, OwnJob
from galaxy_chain.demo.run import demonstrate
from galaxy_chain.shown import ether
from galaxy_fl.exceptions import ConfigurationError

__all__ = ["demo"]

LISTED = 20
"""Participants whose earnings are listed; where there are more, those who have earned most."""


def demo(
    job: Annotated[
        Path | None,
        typer.Argument(
            metavar="JOB.toml",
            help="Job file of your own to try, on --data. Its terms hold, but for who and how many take part. A model "
            "that it brings along is a program, and runs here.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="For a job of your own, what clients divide and train on: digits, mnist, fashion-mnist, cifar-10, or "
            "module:function of your own."
        ),
    ] = None,
    test_data: Annotated[
        str | None,
        typer.Option(help="For a job of your own, the data set on whose test split each model is evaluated."),
    ] = None,
    partition: Annotated[
        str | None,
        typer.Option(help="For a job of your own, how data are divided: iid (the default), dirichlet:ALPHA, labels:K."),
    ] = None,
    clients: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_CLIENTS,
            help="Number of clients, all of which are in each round; by default 4, or min_clients.",
        ),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Number of rounds; by default 5, or those of the job file.")
    ] = None,
    # Not by the name of a setting: that folder is of ledgers that count.
    place: Annotated[Path, typer.Option("--home", help="Folder for everything that is kept.")] = Path(".galaxy/demo"),
    data_root: Annotated[
        str | None, typer.Option(envvar="GALAXY_DATA_ROOT", help="Folder in which downloaded data sets are.")
    ] = None,
    cheat: Annotated[
        bool, typer.Option("--cheat", help="Let the server lie in round 2, and show what becomes of it.")
    ] = False,
    verify: Annotated[
        str,
        typer.Option(
            help="How much of each commit clients recompute: branch (the partial sums of their own update, and others "
            "that they draw), full, sample:K (K random chunks), or off."
        ),
    ] = "branch",
    chain: Annotated[
        DemoChain,
        typer.Option(help="What it runs on: the embedded chain, or anvil, Foundry's node, which is much quicker."),
    ] = DemoChain.EMBEDDED,
    device: Annotated[str, typer.Option(envvar="GALAXY_DEVICE", help="Torch device: cpu, cuda, cuda:1, mps.")] = "cpu",
    dashboard: Annotated[
        bool,
        typer.Option(
            "--dashboard",
            help="Show the job on a page as it happens, a lie with both values and what became of it, until Ctrl-C.",
        ),
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the chain running at the end, to look around.")] = False,
    track: Annotated[
        list[str] | None,
        typer.Option(
            metavar="tensorboard:DIR|mlflow:URI|csv:FILE",
            help="Where participants write what they measure, round by round. May be repeated.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Run a real federated job on a development chain: a server, clients that share a process, and an audit.

    Without a job file it is handwritten digits. With one it is that job, before anybody else hears of it: its model,
    training, rule and terms, with accounts and money that are worth nothing.
    """
    run = partial(
        demonstrate,
        clients,
        rounds,
        place,
        own=_own(job, data, test_data, partition, data_root),
        keep=keep,
        cheat=cheat,
        verify=verify,
        chain=chain,
        track=track or (),
        device=device,
        dashboard=dashboard,
    )
    if json:
        run(print_json)
        return
    how_many: list[int] = []
    audited: list[int] = []
    earners: list[tuple[int, str]] = []
    rpc: list[str] = []
    pages: list[str] = []
    with console.status("loading torch and the chain") as status:

        def say(said: dict[str, Any]) -> None:
            match said["event"]:
                case "begun":
                    how_many.append(said["rounds"])
                    console.print(
                        f"{said['name']}, {said['clients']} clients, {said['rounds']} rounds; everything is kept in "
                        f"{place}",
                        markup=False,
                    )
                case "chain":
                    rpc.append(said["rpc"])
                    console.print(f"chain      {said['chain']}, at {said['rpc']}")
                case "deployed":
                    console.print(f"ledger     {said['ledger']}, {said['gas']:,} gas")
                case "created":
                    console.print(f"job        {said['job']}, {said['parameters']:,} parameters, {said['gas']:,} gas")
                    status.stop()  # warnings are for another stream of the same terminal
                    for warning in said["warnings"]:
                        typer.echo(f"warning: {warning}", err=True)
                    status.start()
                    status.update("training")
                    console.print()
                    console.print("round    loss  accuracy  updates        gas  seconds  model", style="bold")
                case "dashboard":
                    pages.append(said["url"])
                    console.print(f"dashboard  {said['url']}", soft_wrap=True)
                    if not cheat:
                        _open(said["url"])
                case "shown":
                    pages.append(said["url"])
                    console.print(f"       on the page: {said['url']}", soft_wrap=True)
                    _open(said["url"])
                case "committed":
                    status.update("training")
                    console.print(
                        f"{said['round']:>5}  {_shown(said['loss'], '.3f'):>6}  {_shown(said['accuracy'], '.1%'):>8}  "
                        f"{said['updates']:>7}  {said['gas']:>9,}  {said['seconds']:7.2f}  {short(said['model'])}"
                    )
                    if why := said["unevaluated"] or said["diverged"]:
                        console.print(f"       not measured: {why}", markup=False)
                case "noted":
                    console.print(f"       {said['message']}", markup=False)
                case "challenged":
                    of = f" of partial sum {said['node']}" if said["node"] else ""
                    console.print(
                        f"       wrong: client {short(said['client'])} proves it to the ledger by chunk "
                        f"{said['chunk']}{of}; the round is open again"
                    )
                case "barred":
                    console.print(
                        f"       server {short(said['server'])} has lost its bond and is barred; another continues"
                    )
                case "ahead":
                    status.update("settling, paying out, auditing")
                    console.print(
                        f"\nThe clock of the chain is put ahead by {said['seconds'] / 3600:.1f} hours "
                        "(evm_increaseTime), until none of these commits\ncan be challenged any longer: the rounds are "
                        "settled, and what was earned is due."
                    )
                case "earned":
                    if said["amount"]:
                        earners.append((said["amount"], f"{said['role']} {short(said['account'])}"))
                case "audited":
                    audited.append(said["round"])
                case "finished":
                    status.stop()
                    console.print(f"\n{how_many[0]} rounds in {said['seconds']:.1f} s; final model {said['model']}")
                    console.print(
                        f"audit      {len(audited)} rounds recomputed from ledger and content in "
                        f"{said['audit_seconds']:.1f} s, all right"
                    )
                    first = earners[:LISTED] if len(earners) <= LISTED else sorted(earners, reverse=True)[:LISTED]
                    earned = [f"{who} {ether(amount)}" for amount, who in first]
                    if len(earners) > LISTED:
                        in_all = ether(sum(amount for amount, _ in earners))
                        earned.append(f"and {len(earners) - LISTED} more, {in_all} in all")
                    for line, text in enumerate(earned):
                        console.print(f"{'' if line else 'earned':<10} {text}")
                    if said["final_model"]:
                        console.print(f"model      {os.path.relpath(said['final_model'])}, and .safetensors beside it")
                    else:
                        console.print(f"models     {place}, one of each client, as the method has it")
                    console.print(f"reports    {place}")
                    console.print(f"ledger     {place / 'ledger.json'}")
                    console.print(f"content    {place / 'store'}")
                    console.print(f"metrics    {place / 'metrics'}")
                case "kept":
                    where = f"--rpc {rpc[0]} --home {shlex.quote(str(place))}"
                    if pages:
                        console.print(f"\nThe page is at {pages[-1]}", soft_wrap=True)
                    console.print("\nThe chain runs until Ctrl-C. In another terminal:")
                    console.print(f"  galaxy-chain job show 1 {where}\n  galaxy-chain audit 1 {where}")
                    console.print(f"  galaxy-chain job report 1 {where}")

        run(say)


def _own(
    job: Path | None, data: str | None, test_data: str | None, partition: str | None, data_root: str | None
) -> OwnJob | None:
    """Return the job of one's own that is to be tried, None for the digits."""
    if job is not None:
        if data is None:
            raise ConfigurationError(
                f"{job} says nothing of data: name those that the clients divide among them and train on, as in "
                "--data digits or --data module:function"
            )
        return OwnJob(job, data, test_data, "iid" if partition is None else partition, data_root)
    options = {"--data": data, "--test-data": test_data, "--partition": partition}
    given = [f"{option} {value}" for option, value in options.items() if value is not None]
    if given:
        raise ConfigurationError(
            f"{given[0]} is for a job of your own: name its file (`galaxy-chain job example` prints one), or leave the "
            "option out to see the digits"
        )
    return None


def _shown(value: float | None, form: str) -> str:
    """Return what a server has measured; a hyphen where it has not."""
    return "-" if value is None else format(value, form)


def _open(url: str) -> None:
    """Opens a page where somebody sits at a screen."""
    has_screen = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.stdout.isatty() and has_screen:
        import webbrowser

        webbrowser.open(url)
