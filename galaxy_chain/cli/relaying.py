"""The options of whoever hands in what clients have signed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from galaxy_chain.cli.values import amount
from galaxy_chain.lane.relay import MOST_ENTRIES, RelaySettings

__all__ = ["RelayOptions", "ServerRelay"]


@dataclass(frozen=True, kw_only=True)
class RelayOptions:
    """What a relay pays, and how long it waits."""

    relay_batch: Annotated[
        int,
        typer.Option(
            envvar="GALAXY_RELAY_BATCH",
            min=1,
            max=MOST_ENTRIES,
            help="Updates of one transaction.",
            rich_help_panel="Relay",
        ),
    ] = RelaySettings.batch
    relay_wait: Annotated[
        float,
        typer.Option(
            envvar="GALAXY_RELAY_WAIT",
            min=0,
            help="Seconds that an update waits for others of its transaction.",
            rich_help_panel="Relay",
        ),
    ] = RelaySettings.wait
    relay_fee_cap: Annotated[
        float | None,
        typer.Option(
            envvar="GALAXY_RELAY_FEE_CAP",
            min=0,
            help="Gwei for a unit of gas above which nothing is handed in. By default that of --fee-cap.",
            rich_help_panel="Relay",
        ),
    ] = None
    relay_budget: Annotated[
        str,
        typer.Option(
            envvar="GALAXY_RELAY_BUDGET",
            help='The most to spend in a round, like "0.1 ether".',
            rich_help_panel="Relay",
        ),
    ] = "0.1 ether"

    def settings(self) -> RelaySettings:
        """How to relay."""
        cap = None if self.relay_fee_cap is None else int(self.relay_fee_cap * 10**9)
        return RelaySettings(self.relay_batch, self.relay_wait, cap, amount(self.relay_budget))


@dataclass(frozen=True, kw_only=True)
class ServerRelay(RelayOptions):
    """Whether a server relays, too."""

    relay: Annotated[
        bool,
        typer.Option(
            "--relay",
            help="Hand in what clients have signed and left in the store's inbox, and pay for it.",
            rich_help_panel="Relay",
        ),
    ] = False
