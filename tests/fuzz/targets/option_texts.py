"""What people write for an option: amounts, partitions, shards, ways to verify and to keep."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from galaxy_chain.coordinators.keep import Keep
from galaxy_chain.jobs.file import wei
from galaxy_chain.verify.how import Verify
from galaxy_fl.data.partition import Partition, parse_shard
from galaxy_fl.exceptions import ConfigurationError, DataError
from tests.fuzz.clean import refused
from tests.fuzz.reader import Reader

__all__ = ["fuzz"]

LABELS = np.arange(60) % 5


def fuzz(data: bytes) -> bool:
    reader = Reader(data)
    parser: Callable[[str], object] = reader.pick((_wei, _partition, _shard, _verify, _keep))
    text = reader.rest().decode(errors="surrogateescape")
    try:
        return bool(parser(text))
    except ConfigurationError as error:
        return refused(error)


def _wei(text: str) -> bool:
    try:
        amount = wei(text)
    except ValueError as error:
        return refused(error)
    assert isinstance(amount, int)
    assert re.fullmatch(r"-?\d+", str(amount))
    return True


def _partition(text: str) -> bool:
    partition = Partition.parse(text)
    assert Partition.parse(str(partition)) == partition
    try:
        shards = partition.split(LABELS, 4, seed=1)
    except DataError as error:
        return refused(error)
    assert all(map(len, shards))
    assert sorted(np.concatenate(shards)) == [*range(len(LABELS))]
    return True


def _shard(text: str) -> bool:
    index, count = parse_shard(text)
    assert 1 <= index <= count
    return True


def _verify(text: str) -> bool:
    chunks = Verify.parse(text).chunks
    return chunks is None or 0 <= chunks < 10**6


def _keep(text: str) -> bool:
    rounds = Keep.parse(text).rounds
    return rounds is None or rounds > 0
