"""The embedded development chain: the py-evm virtual machine as an Ethereum JSON-RPC server.

One process, nothing to install, no consensus and nothing kept on disk; everything else is as on a real
node, so that whatever talks to this one (web3.py, curl, another process) also talks to geth or anvil.

    methods.py        what each JSON-RPC method does; the file to read first
    chain.py          blocks, mining, calls, snapshots
    pool.py           transactions that wait for a block
    transactions.py   decoding and checking a signed transaction
    engine.py         the one thread in which the virtual machine runs
    logs.py           filters of eth_getLogs
    records.py        blocks, transactions, receipts and logs as JSON
    parameters.py     JSON parameters as Python values
    errors.py         JSON-RPC errors
    rpc.py            envelopes and batches
    http.py           HTTP, and who may use it
    accounts.py       the funded accounts
    server.py         Node

Importing this package costs nothing: py-evm (about a second) is imported when a `Node` is made.
"""

from galaxy_chain.node.server import DEFAULT_CHAIN_ID, DEVELOPMENT_MNEMONIC, Node

__all__ = ["DEFAULT_CHAIN_ID", "DEVELOPMENT_MNEMONIC", "Node"]
