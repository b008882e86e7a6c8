"""What a watchtower or a client has demanded, judged and spent in one job: on the disk, so no restart forgets it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from galaxy_chain.ledger.records import record_word
from galaxy_chain.ledger.structs import Record
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.files import write_durably
from galaxy_fl.validation import explain

__all__ = ["Purse"]


class _State(BaseModel):
    """As the file has it; records by their words, in hexadecimal."""

    model_config = ConfigDict(extra="forbid", strict=True)

    gas: NonNegativeInt = 0
    """Wei that transactions have cost."""
    deposits: dict[str, NonNegativeInt] = Field(default_factory=dict)
    """Wei, by record, node and chunk: those that are out, and those that answers have taken."""
    wanted: set[str] = Field(default_factory=set)
    """The chunks that were to be demanded here when another had just done so."""
    right: set[str] = Field(default_factory=set)
    """The commits that were found right."""


def _key(record: Record, node: int, chunk: int) -> str:
    return f"{record_word(record).hex()} {node} {chunk}"


class Purse:
    """What a watchtower or a client has done in a job, and what it may spend still.

    Args:
        most: Wei that it may spend in all.
        file: Keeps what was done; None for this process alone.

    Raises:
        ConfigurationError: the file is not such a one, or can't be read.
    """

    def __init__(self, most: int, file: Path | None = None) -> None:
        self.most = most
        self._file = file
        self._state = _State()
        if file is None:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._state = _State.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, ValidationError) as error:
            why = explain(error) if isinstance(error, ValidationError) else error
            raise ConfigurationError(
                f"{file} does not say what a watchtower has spent: {why}. Without it all of that is forgotten: remove "
                "it if you mean that"
            ) from error

    @property
    def spent(self) -> int:
        """Wei that are gone, or out as deposits."""
        return self._state.gas + sum(self._state.deposits.values())

    @property
    def left(self) -> int:
        """Wei that may be spent still."""
        return max(0, self.most - self.spent)

    def pay(self, gas: int) -> None:
        """Notes what a transaction has cost."""
        self._state.gas += gas
        self._save()

    def deposit(self, record: Record, node: int, chunk: int, value: int) -> None:
        """Notes a deposit before it is sent: what a crash leaves behind is then too much, not too little."""
        self._state.deposits[_key(record, node, chunk)] = value
        self._save()

    def deposited(self, record: Record) -> list[tuple[int, int]]:
        """The nodes and chunks of a commit for which deposits are noted, ascending."""
        word = record_word(record).hex()
        keys = (key.split(" ") for key in self._state.deposits)
        return sorted((int(node), int(chunk)) for of, node, chunk in keys if of == word)

    def take_back(self, record: Record, node: int, chunk: int) -> None:
        """Notes that a deposit was not sent, or has come back."""
        if self._state.deposits.pop(_key(record, node, chunk), None) is not None:
            self._save()

    def want(self, record: Record, node: int, chunk: int) -> None:
        """Notes a chunk whose answer counts, though it was another who demanded it."""
        self._state.wanted.add(_key(record, node, chunk))
        self._save()

    def wants(self, record: Record, node: int, chunk: int) -> bool:
        """Whether an answer for that chunk counts: it was chosen here, and demanded."""
        key = _key(record, node, chunk)
        return key in self._state.deposits or key in self._state.wanted

    def find_right(self, record: Record) -> None:
        """Notes a commit that needs no further look."""
        self._state.right.add(record_word(record).hex())
        self._save()

    def is_right(self, record: Record) -> bool:
        """Whether the commit was found right."""
        return record_word(record).hex() in self._state.right

    def _save(self) -> None:
        if self._file is not None:
            write_durably(self._file, self._state.model_dump_json())
