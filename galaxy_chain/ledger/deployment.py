"""Deploying a ledger with its rules, and the file that says where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from eth_utils.address import is_address, to_checksum_address
from pydantic import AfterValidator, Field, ValidationError

from galaxy_chain.exceptions import NoLedgerError, RpcError, UnfitChainError
from galaxy_chain.ledger.artifacts import RULE_CONTRACTS, artifact
from galaxy_chain.ledger.genuine import PARTS, check_code
from galaxy_chain.rpc.errors import RpcAnswerError
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.manager import Transactions
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.files import write_durably
from galaxy_fl.validation import Strict, explain

__all__ = ["Address", "Deployment", "address", "deploy"]

NEWEST_INSTRUCTIONS = bytes.fromhex("5f5f5f5e5f5ff3")
"""Three times PUSH0 (of Shanghai), MCOPY (of Cancun), and the end: a chain without them may well deploy contracts that
have them, and only fails when they are called."""
EARLIEST, LATEST = 1_400_000_000, 2**33
"""Seconds: before there was an Ethereum, and the year 2242."""


def address(value: str) -> str:
    """An address, with checksum.

    Raises:
        ValueError: it is none.
    """
    if not is_address(value):
        raise ValueError("expected an address: 0x and 40 hexadecimal digits")
    return to_checksum_address(value)


Address = Annotated[str, AfterValidator(address)]


class Deployment(Strict):
    """Where a ledger is: what `deploy` writes and every other command reads."""

    chain_id: Annotated[int, Field(ge=0)]
    ledger: Address
    block: Annotated[int, Field(ge=0)]
    """Number of the block of the deployment: no event is older."""
    rules: dict[str, Address]
    """The rule contracts deployed beside it, by the names of `galaxy_fl.aggregation`."""

    def write(self, path: Path) -> None:
        """Writes the file.

        Raises:
            ConfigurationError: it can't be written.
        """
        try:
            write_durably(path, self.model_dump_json(indent=2) + "\n")
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
                f"no ledger is known: {path} is missing; deploy one with `galaxy-chain deploy`, or copy the file "
                "of the ledger that you want to join and name it with --ledger"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} can't be read: {error}") from error
        except ValidationError as error:
            raise ConfigurationError(f"{path} is not a ledger file: {explain(error)}") from error


def deploy(rpc: Rpc, transactions: Transactions) -> tuple[Deployment, int]:
    """Deploys a ledger, which makes the contracts that it consists of, and every rule.

    Returns:
        Where they are, and the gas that it took.

    Raises:
        UnfitChainError: the chain can't run the contracts, or has no seconds; no gas is spent.
        InsufficientFundsError, TransactionError, RpcError: as `Transactions.send`.
    """
    contracts = ("GalaxyLedger", *RULE_CONTRACTS.values())
    _check_time(rpc)
    _try_code(rpc, transactions.signer.address, None, NEWEST_INSTRUCTIONS, b"")
    for name in (*(name for name, _ in PARTS), *contracts):
        contract = artifact(name)
        _try_code(rpc, transactions.signer.address, name, contract.bytecode, contract.runtime)
    gas = 0
    addresses: dict[str, str] = {}
    block = None
    for name in contracts:
        receipt = transactions.send(None, artifact(name).bytecode)
        gas += receipt.gas_used
        if not is_address(receipt.contract):
            raise RpcError(
                f"{rpc.name} says that {name} was deployed at {receipt.contract!r:.80}, which is not an address"
            )
        assert receipt.contract is not None
        addresses[name] = to_checksum_address(receipt.contract)
        block = receipt.block if block is None else block
    assert block is not None
    check_code(rpc, addresses["GalaxyLedger"])
    rules = {rule: addresses[contract] for rule, contract in RULE_CONTRACTS.items()}
    return (
        Deployment(chain_id=rpc.number("eth_chainId"), ledger=addresses["GalaxyLedger"], block=block, rules=rules),
        gas,
    )


def _check_time(rpc: Rpc) -> None:
    """Makes sure that blocks have seconds since 1970: windows and deadlines are in seconds."""
    latest = rpc.block("latest")
    if latest.time > LATEST or (latest.number > 0 and latest.time < EARLIEST):
        raise UnfitChainError(
            f"block {latest.number} of {rpc.name} has the time {latest.time}, which is none in seconds since 1970 "
            "(milliseconds?): a job's windows would be over at once, or never; deploy on a chain that has seconds"
        )


def _try_code(rpc: Rpc, sender: str, name: str | None, code: bytes, runtime: bytes) -> None:
    """Has the node deploy code without a transaction, and makes sure of what comes of it."""
    what = "the instructions PUSH0 and MCOPY" if name is None else name
    try:
        found = rpc.data("eth_call", {"from": sender, "data": "0x" + code.hex()}, "latest")
        said = "other code comes of it"
    except RpcAnswerError as error:
        found, said = None, error.reason
    if found != runtime:
        raise UnfitChainError(
            f"the chain of {rpc.name} can't run {what} ({said}): the ledger needs Ethereum's rules since Cancun "
            "(2024); deploy it on a chain that has them. No gas was spent"
        )
