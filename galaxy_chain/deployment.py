"""Deploying a ledger with its rules, and the file that says where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from eth_utils.address import is_address, to_checksum_address
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from galaxy_chain.exceptions import NoLedgerError, RpcError
from galaxy_chain.ledger.artifacts import RULE_CONTRACTS, artifact
from galaxy_chain.ledger.rpc import Rpc
from galaxy_chain.ledger.transactions import Transactions
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.job_document import explain

__all__ = ["Address", "Deployment", "address", "deploy"]


def address(value: str) -> str:
    """An address, with checksum.

    Raises:
        ValueError: it is none.
    """
    if not is_address(value):
        raise ValueError("expected an address: 0x and 40 hexadecimal digits")
    return to_checksum_address(value)


Address = Annotated[str, AfterValidator(address)]


class Deployment(BaseModel):
    """Where a ledger is: what `deploy` writes and every other command reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    chain_id: Annotated[int, Field(ge=0)]
    ledger: Address
    block: Annotated[int, Field(ge=0)]
    """Of the deployment: no event is older."""
    rules: dict[str, Address]
    """The rule contracts deployed beside it, by the names of `galaxy_fl.aggregation`."""

    def write(self, path: Path) -> None:
        """Writes the file.

        Raises:
            ConfigurationError: it can't be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.model_dump_json(indent=2) + "\n")
        except OSError as error:
            raise ConfigurationError(f"{path} can't be written: {error.strerror}") from error

    @classmethod
    def read(cls, path: Path) -> Deployment:
        """Reads the file.

        Raises:
            NoLedgerError: there is none.
            ConfigurationError: it is not valid.
        """
        try:
            return cls.model_validate_json(path.read_text())
        except FileNotFoundError:
            raise NoLedgerError(
                f"no ledger is known, for there is no {path}: deploy one with `galaxy-chain deploy`, or copy the file "
                "of the ledger that you want to join and name it with --ledger"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} can't be read: {error}") from error
        except ValidationError as error:
            raise ConfigurationError(f"{path} is no ledger file: {explain(error)}") from error


def deploy(rpc: Rpc, transactions: Transactions) -> tuple[Deployment, int]:
    """Deploys a ledger and every rule, and gives where they are and the gas that it took.

    Raises:
        InsufficientFundsError, TransactionError, RpcError: as `Transactions.send`.
    """
    gas = 0
    addresses: dict[str, str] = {}
    block = None
    for name in ("GalaxyLedger", *RULE_CONTRACTS.values()):
        receipt = transactions.send(None, artifact(name).bytecode)
        gas += receipt.gas_used
        if not is_address(receipt.contract):
            raise RpcError(f"{rpc.name} says that {name} was deployed at {receipt.contract!r:.80}, which is no address")
        assert receipt.contract is not None
        addresses[name] = to_checksum_address(receipt.contract)
        block = receipt.block if block is None else block
    assert block is not None
    rules = {rule: addresses[contract] for rule, contract in RULE_CONTRACTS.items()}
    return (
        Deployment(chain_id=rpc.number("eth_chainId"), ledger=addresses["GalaxyLedger"], block=block, rules=rules),
        gas,
    )
