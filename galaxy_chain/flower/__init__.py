"""Flower apps whose every round stands on a ledger: `pip install 'galaxy-fl[flower]'`, see docs/how-to/flower.md.

    job.py        registers the job of an app, and says which jobs are fit for one
    arrays.py     between Flower's named arrays and the vectors of a job
    messages.py   what is asked of a client, and what its reply has to have
    client.py     a client that signs, and leaves it to the server to hand in
    serving.py    the server of such a job: hands in, aggregates and commits round after round
    mod.py        Flower's side of the client
    strategy.py   Flower's side of the server

Only the last two import Flower.
"""

import typing as _typing

from galaxy_fl.lazily import lazily as _lazily

if _typing.TYPE_CHECKING:
    from galaxy_chain.flower.job import create_job
    from galaxy_chain.flower.mod import galaxy_mod
    from galaxy_chain.flower.strategy import OnLedger

__all__ = ["OnLedger", "create_job", "galaxy_mod"]

_HOMES = {
    "OnLedger": "galaxy_chain.flower.strategy",
    "create_job": "galaxy_chain.flower.job",
    "galaxy_mod": "galaxy_chain.flower.mod",
}

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _lazily(__name__, _HOMES)
