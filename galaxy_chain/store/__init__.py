"""Stores of the participants in a ledger's jobs: IPFS and gateways behind the local store, and a server for accounts.

`galaxy_fl.content` has content ids, the interface of all stores and the API; read `open.py` first, then `app.py`.
"""
