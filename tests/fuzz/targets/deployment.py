"""ledger.json, which comes from whoever runs the ledger."""

from __future__ import annotations

from eth_utils.address import is_checksum_address

from galaxy_chain.ledger.deployment import Deployment
from galaxy_fl.exceptions import ConfigurationError
from tests.fuzz.clean import refused
from tests.fuzz.folder import file_with, folder

__all__ = ["fuzz"]


def fuzz(data: bytes) -> bool:
    try:
        deployment = Deployment.read(file_with("ledger.json", data))
    except ConfigurationError as error:
        return refused(error)
    assert all(map(is_checksum_address, [deployment.ledger, *deployment.rules.values()]))
    again = folder() / "again.json"
    deployment.write(again)
    assert Deployment.read(again) == deployment
    return True
