"""A program that sends one wei a time: to be started twice, and to be killed.

`python -m tests.galaxy_chain.transactions.sender URL JOURNAL RECIPIENT COUNT [KEY]`; the account's key is in GALAXY_KEY.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from eth_account import Account

from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.accounts import LocalSigner
from galaxy_chain.transactions.manager import Transactions

if __name__ == "__main__":
    url, journal, recipient, count, *key = sys.argv[1:]
    signer = LocalSigner(Account.from_key(os.environ["GALAXY_KEY"]))
    transactions = Transactions(Rpc(url), signer, Path(journal))
    for _ in range(int(count)):
        print(transactions.send(recipient, b"", 1, *key).transaction, flush=True)
