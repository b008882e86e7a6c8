"""One participant of a demonstration, in a process that the fork server makes: it has torch and web3 at once."""

from __future__ import annotations

import json
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from galaxy_chain.accounts import NodeSigner
from galaxy_chain.coordinator import Patience
from galaxy_chain.deployment import Deployment
from galaxy_chain.ledger.ledger import Ledger
from galaxy_chain.ledger.rpc import Rpc
from galaxy_chain.ledger.transactions import Transactions
from galaxy_chain.participants import DataChoice, run_client_of_job, run_server_of_job
from galaxy_chain.store import LocalStore
from galaxy_fl.exceptions import GalaxyError

__all__ = ["Instructions", "run"]


class Instructions(BaseModel):
    """What a participant is told when it starts."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    role: Literal["server", "client"]
    rpc: str
    account: str
    deployment: Deployment
    store: str
    metrics: str
    job: int
    shard: str = "1/1"


def run(connection: Connection) -> None:
    """Takes part in the job of the instructions that come first, and says what it does until it is finished."""

    def say(said: dict[str, Any]) -> None:
        connection.send_bytes(json.dumps(said).encode())

    told = Instructions.model_validate_json(connection.recv_bytes())
    try:
        rpc = Rpc(told.rpc)
        where = told.deployment
        transactions = Transactions(rpc, NodeSigner(told.account))
        ledger = Ledger(rpc, where.ledger, transactions, first_block=where.block, chain_id=where.chain_id)
        store = LocalStore(Path(told.store))
        data = DataChoice("digits", shard=told.shard)
        if told.role == "server":
            run_server_of_job(ledger, store, told.job, data, Path(told.metrics), say, Patience())
        else:
            run_client_of_job(ledger, store, told.job, data, say, Patience())
    except GalaxyError as error:
        say({"event": "failed", "message": str(error)})
    except (KeyboardInterrupt, BrokenPipeError):
        pass  # the demonstration is over
