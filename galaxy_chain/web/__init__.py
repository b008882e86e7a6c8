"""The content store over HTTP: anybody reads by content id, the accounts of a job write.

Read `app.py` first, the API, then `authorization.py`, who asks, `grants.py`, what the ledger lets them do, `quota.py`,
how much, and `uploads.py`, how bytes come in. `galaxy_chain.store.http` is the client.
"""
