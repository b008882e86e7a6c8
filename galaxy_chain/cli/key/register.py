"""galaxy-chain key register."""

from __future__ import annotations

from galaxy_chain.cli.console import console
from galaxy_chain.cli.options import Account, AtLedger, JobNumber
from galaxy_chain.seal.vault import vault_of

__all__ = ["register"]


def register(job: JobNumber, sender: Account, at: AtLedger) -> None:
    """Register this folder's public key for an account that is no client of the job: a watchtower, another server.

    The job's owner can then share the keys with it. Clients and servers register their keys by themselves.
    """
    ledger, public = at.connect(sender), vault_of(at.home).public
    receipt = ledger.register_key(job, public).transact()
    assert ledger.transactions is not None
    address = ledger.transactions.signer.address
    console.print(f"{address} has the key {public.hex()} in job {job} from now on, {receipt.gas_used} gas")
    console.print(f"the job's owner shares with it by `galaxy-chain key share {job} {address}`")
