"""What a demonstration tells its participants: apart from them, because they import what it need not wait for."""

from __future__ import annotations

from typing import Literal

from galaxy_chain.ledger.deployment import Deployment
from galaxy_fl.validation import Strict

__all__ = ["Instructions"]


class Instructions(Strict):
    """What a participant is told when it starts."""

    role: Literal["server", "liar", "client"]
    rpc: str
    account: str
    deployment: Deployment
    store: str
    metrics: str
    output: str
    """Folder for final models and reports."""
    job: int
    shard: str = "1/1"
    verify: str = "branch"
