"""A Flower app's job on a chain, and who takes part in it; what trains adds a number, all else is real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galaxy_chain.flower import create_job
from galaxy_chain.flower.client import SigningClient
from galaxy_chain.flower.messages import Answer
from galaxy_chain.flower.serving import Serving
from galaxy_chain.ledger.deployment import Deployment
from galaxy_chain.mode import ChainSettings
from galaxy_chain.place import Ledger
from galaxy_chain.transactions.manager import Signer
from galaxy_fl.rounds.coordinator import Round
from tests.galaxy_chain.foundry import Chain

__all__ = ["SAMPLES", "App", "initial"]

SAMPLES = (30, 50, 20)
TERMS = {"bond": "1 ether", "deadline": 5}


def initial(seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    """A model as Flower has it: arrays of several types, one of integers."""
    drawn = np.random.default_rng(seed)
    return {
        "layer.weight": drawn.normal(size=(9, 16)).astype(np.float32),
        "layer.count": np.array(7, np.int64),
        "layer.bias": drawn.normal(size=16),
        "half": drawn.normal(size=5).astype(np.float16),
    }


class App:
    """A job of two rounds with a server, dev:1, and three clients, dev:2 to dev:4, each in a folder of its own."""

    def __init__(self, node: Chain, deployment: Deployment, folder: Path, **options: Any) -> None:
        self.folder = folder
        store = options.pop("store", str(folder / "store"))
        self.common = {"rpc": node.url, "store": store, "ledger": folder / "ledger.json", "poll": 0.02}
        deployment.write(folder / "ledger.json")
        self.model = initial()
        terms = TERMS | {"server": node.accounts[1]} | options.pop("terms", {})
        options = {"rounds": 2, "clients": 3, "open": True} | options
        self.job = create_job(self.model, terms=terms, **options, **self.settings("owner", "dev:0"))

    def settings(self, name: str, account: str) -> dict[str, Any]:
        """Of one participant."""
        return self.common | {"home": self.folder / name, "account": account}

    def serving(self) -> Serving:
        """The server of the job; has to be closed."""
        return Serving(ChainSettings.of(self.settings("server", "dev:1")), self.job)

    def client(self, index: int, signer: Signer | None = None, **changed: Any) -> SigningClient:
        """A client of the job; has to be closed."""
        account = f"dev:{index + 2}"
        given = self.settings(f"client-{index}", account) | {"jobs": (self.job,)} | changed
        settings = ChainSettings.of(given)
        at = settings.at()
        return SigningClient.at(at, signer or at.signer, settings, self.job)

    def trained(self, index: int, arrays: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """What a client makes of a model."""
        drawn = np.random.default_rng(100 + index)
        return {
            name: value if value.dtype.kind == "i" else (value + drawn.normal(size=value.shape)).astype(value.dtype)
            for name, value in arrays.items()
        }

    def answer(self, index: int, round: Round, arrays: dict[str, npt.NDArray[Any]]) -> Answer:
        """What a client replies to a round."""
        with self.client(index) as client:
            reached = client.reach(round.attempt)
            client.check(reached, arrays)
            return client.before(reached) or client.sign(reached, self.trained(index, arrays), SAMPLES[index])

    def reading(self) -> Ledger:
        """The ledger, for an audit."""
        return ChainSettings.of(self.common | {"home": self.folder / "auditor"}).at()
