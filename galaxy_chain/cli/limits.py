"""The options for what a participant is ready to pay under a job's terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from galaxy_chain.cli.values import amount
from galaxy_chain.jobs.terms import Limits

__all__ = ["BondLimits", "DepositLimits", "TermsLimits"]


@dataclass(frozen=True, kw_only=True)
class TermsLimits:
    """Options for everybody."""

    any_terms: Annotated[
        bool,
        typer.Option(
            "--any-terms",
            help="Only warn about terms that cost money, or that leave commits which cannot be challenged.",
            rich_help_panel="Account",
        ),
    ] = False

    def limits(self) -> Limits:
        """The limits that the options name."""
        return Limits(any_terms=self.any_terms)


@dataclass(frozen=True, kw_only=True)
class BondLimits(TermsLimits):
    """Options for a server."""

    max_bond: Annotated[
        str,
        typer.Option(
            envvar="GALAXY_MAX_BOND",
            help='The largest bond to deposit in a job, like "2 ether".',
            rich_help_panel="Account",
        ),
    ] = "2 ether"

    def limits(self) -> Limits:
        """The limits that the options name."""
        return Limits(bond=amount(self.max_bond), any_terms=self.any_terms)


@dataclass(frozen=True, kw_only=True)
class DepositLimits(TermsLimits):
    """Options for a client or a watchtower."""

    max_deposit: Annotated[
        str,
        typer.Option(
            envvar="GALAXY_MAX_DEPOSIT",
            help='The most that the demands of a job may cost, like "0.1 ether".',
            rich_help_panel="Account",
        ),
    ] = "0.1 ether"

    def limits(self) -> Limits:
        """The limits that the options name."""
        return Limits(deposit=amount(self.max_deposit), any_terms=self.any_terms)
