"""galaxy-chain demo: all of it on one machine, in one go."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from galaxy_chain.cli.console import console, print_json, short
from galaxy_chain.cli.options import Json
from galaxy_chain.demo.chain import DemoChain
from galaxy_chain.demo.run import demonstrate
from galaxy_chain.shown import ether

__all__ = ["demo"]

LISTED = 20
"""Participants whose earnings are listed."""


def demo(
    clients: Annotated[int, typer.Option(min=1, max=1_000, help="Number of clients that share the digits.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Number of rounds.")] = 5,
    home: Annotated[Path, typer.Option(help="Folder for everything that is kept.")] = Path(".galaxy/demo"),
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
    """Run a real federated job on a development chain: a server, clients that share a process, and an audit."""
    run = partial(
        demonstrate,
        clients,
        rounds,
        home,
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
    audited: list[int] = []
    earned: list[str] = []
    paid: list[int] = []
    rpc: list[str] = []
    pages: list[str] = []
    console.print(f"digits, {clients} clients, {rounds} rounds; everything is kept in {home}")
    with console.status("loading torch and the chain"):

        def say(said: dict[str, Any]) -> None:
            match said["event"]:
                case "chain":
                    rpc.append(said["rpc"])
                    console.print(f"chain      {said['chain']}, at {said['rpc']}")
                case "deployed":
                    console.print(f"ledger     {said['ledger']}, {said['gas']:,} gas")
                case "created":
                    console.print(f"job        {said['job']}, {said['parameters']:,} parameters, {said['gas']:,} gas\n")
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
                    console.print(
                        f"{said['round']:>5}  {said['loss']:6.3f}  {100 * said['accuracy']:6.1f} %  "
                        f"{said['updates']:>7}  {said['gas']:>9,}  {said['seconds']:7.2f}  {short(said['model'])}"
                    )
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
                    console.print(
                        f"\nThe clock of the chain is put ahead by {said['seconds'] / 3600:.1f} hours "
                        "(evm_increaseTime), until no commit\ncan be challenged any longer: rounds are settled, and "
                        "what was earned is paid out."
                    )
                case "earned":
                    paid.append(said["amount"])
                    if len(paid) <= LISTED:
                        earned.append(f"{said['role']} {short(said['account'])} {ether(said['amount'])}")
                case "audited":
                    audited.append(said["round"])
                case "finished":
                    console.print(f"\n{rounds} rounds in {said['seconds']:.1f} s; final model {said['model']}")
                    console.print(
                        f"audit      {len(audited)} rounds recomputed from ledger and content in "
                        f"{said['audit_seconds']:.1f} s, all right"
                    )
                    if len(paid) > LISTED:
                        earned.append(f"and {len(paid) - LISTED} more, {ether(sum(paid))} in all")
                    for line, text in enumerate(earned):
                        console.print(f"{'' if line else 'earned':<10} {text}")
                    console.print(f"model      {os.path.relpath(said['final_model'])}, and .safetensors beside it")
                    console.print(f"reports    {home}")
                    console.print(f"ledger     {home / 'ledger.json'}")
                    console.print(f"content    {home / 'store'}")
                    console.print(f"metrics    {home / 'metrics'}")
                case "kept":
                    where = f"--rpc {rpc[0]} --home {home}"
                    if pages:
                        console.print(f"\nThe page is at {pages[-1]}", soft_wrap=True)
                    console.print("\nThe chain runs until Ctrl-C. In another terminal:")
                    console.print(f"  galaxy-chain job show 1 {where}\n  galaxy-chain audit 1 {where}")
                    console.print(f"  galaxy-chain job report 1 {where}")

        run(say)


def _open(url: str) -> None:
    """Opens a page where somebody sits at a screen."""
    has_screen = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.stdout.isatty() and has_screen:
        import webbrowser

        webbrowser.open(url)
