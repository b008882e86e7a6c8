"""What the ledger has, as people read it: in a terminal, on the page, in a report."""

from __future__ import annotations

from galaxy_chain.shown.amounts import ETHER, date, duration, ether

__all__ = ["ETHER", "date", "duration", "ether"]
