"""Dividing one data set among n clients: alike, skewed by a Dirichlet distribution, or by label.

Every function takes the labels, an integer array of shape [samples], and gives n arrays of int64 indices:
disjoint, none empty, and together all samples. The same seed gives the same division.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from galaxy_fl.exceptions import ConfigurationError, DataError

__all__ = ["Indices", "Partition", "by_label", "dirichlet", "iid", "parse_shard", "parse_shards"]

Indices: TypeAlias = npt.NDArray[np.int64]
Labels: TypeAlias = npt.NDArray[Any]

DIRICHLET_ATTEMPTS = 1000


def iid(labels: Labels, n: int, seed: int) -> list[Indices]:
    """Shuffle and deal out evenly: sizes differ by at most one.

    Raises DataError when there are fewer samples than clients.
    """
    _check(labels, n)
    order = np.random.default_rng(seed).permutation(len(labels))
    return list(np.array_split(order, n))


def dirichlet(labels: Labels, n: int, alpha: float, seed: int, min_samples: int = 1) -> list[Indices]:
    """Deal out each class in proportions drawn from a symmetric Dirichlet distribution.

    The smaller `alpha`, the more the clients' classes differ (Hsu, Qi, Brown: "Measuring the effects of
    non-identical data distribution for federated visual classification", 2019). Drawn again until every
    client has `min_samples`.

    Raises DataError when that can't be had.
    """
    _check(labels, n * min_samples)
    if not 0 < alpha < np.inf:
        raise DataError(f"alpha of a Dirichlet partition is {alpha}, expected a positive number such as 0.5")
    generator = np.random.default_rng(seed)
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    for _ in range(DIRICHLET_ATTEMPTS):
        dealt: list[list[Indices]] = [[] for _ in range(n)]
        for members in classes:
            shares = generator.dirichlet(np.full(n, alpha))
            ends = np.round(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
            for client, part in zip(dealt, np.split(generator.permutation(members), ends), strict=True):
                client.append(part)
        shards = [np.concatenate(parts) for parts in dealt]
        if min(map(len, shards)) >= min_samples:
            return shards
    raise DataError(
        f"no division of {len(labels)} samples among {n} clients with alpha {alpha:g} gave each of them "
        f"{min_samples} samples: use a larger alpha or fewer clients"
    )


def by_label(labels: Labels, n: int, labels_per_client: int, seed: int) -> list[Indices]:
    """Give each client samples of `labels_per_client` classes only, shared evenly among a class's holders.

    Raises DataError when the clients together can't hold all classes, or a class can't serve its holders.
    """
    _check(labels, n)
    generator = np.random.default_rng(seed)
    classes = generator.permutation(np.unique(labels))
    if not 1 <= labels_per_client <= len(classes) <= n * labels_per_client:
        raise DataError(
            f"{n} clients with {labels_per_client} labels each do not fit {len(classes)} labels: each needs "
            f"1 to {len(classes)}, and together they must hold every label"
        )
    dealt: list[list[Indices]] = [[] for _ in range(n)]
    for number, label in enumerate(classes):
        # Going round the classes: the holder of place p has class p modulo the number of classes.
        places = range(number, n * labels_per_client, len(classes))
        members = generator.permutation(np.flatnonzero(labels == label))
        for place, part in zip(places, np.array_split(members, len(places)), strict=True):
            dealt[place // labels_per_client].append(part)
    shards = [np.concatenate(parts) for parts in dealt]
    if not all(map(len, shards)):
        raise DataError(f"a label has fewer samples than the clients that share it: use fewer than {n} clients")
    return shards


@dataclass(frozen=True)
class Partition:
    """One of the ways above with its parameter, as a user writes it: `iid`, `dirichlet:0.5`, `labels:2`."""

    kind: str
    parameter: float | None = None

    @classmethod
    def parse(cls, text: str) -> Partition:
        """Read a partition from its text.

        Raises ConfigurationError for anything else than the three forms.
        """
        if text == "iid":
            return cls("iid")
        if found := re.fullmatch(r"dirichlet:(\d+(?:\.\d+)?)", text, re.ASCII):
            if (alpha := float(found[1])) > 0:
                return cls("dirichlet", alpha)
        elif (found := re.fullmatch(r"labels:(\d{1,9})", text, re.ASCII)) and int(found[1]) > 0:
            return cls("labels", int(found[1]))
        raise ConfigurationError(
            f"partition {text!r}: expected 'iid', 'dirichlet:ALPHA' (such as dirichlet:0.5) or 'labels:K' "
            f"(such as labels:2)"
        )

    def __str__(self) -> str:
        return self.kind if self.parameter is None else f"{self.kind}:{self.parameter}"

    @property
    def by_labels(self) -> bool:
        """Whether what the labels are matters."""
        return self.kind != "iid"

    def split(self, labels: Labels, n: int, seed: int) -> list[Indices]:
        """Divide among `n` clients; raises DataError as the functions above."""
        if self.kind == "dirichlet" and self.parameter is not None:
            return dirichlet(labels, n, self.parameter, seed)
        if self.kind == "labels" and self.parameter is not None:
            return by_label(labels, n, int(self.parameter), seed)
        return iid(labels, n, seed)


def parse_shard(text: str) -> tuple[int, int]:
    """Read `"i/n"`, the i-th of n shards counted from 1.

    Raises ConfigurationError for anything else.
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    if not found:
        raise ConfigurationError(f"shard {text!r}: expected I/N, such as 1/4 for the first of four")
    index, count = int(found[1]), int(found[2])
    if not 1 <= index <= count:
        raise ConfigurationError(f"shard {text!r}: shards of {count} are counted from 1/{count} to {count}/{count}")
    return index, count


def parse_shards(text: str | Sequence[str]) -> list[str]:
    """Read the shards of several clients of one division, and return each as `parse_shard` takes it.

    Args:
        text: `"i-j/n"`, the i-th to the j-th of n, or `"i/n"`; or several of these, as a list or with commas between.

    Raises:
        ConfigurationError: it is none of these, or names a shard twice, or shards of two divisions.
    """
    if isinstance(text, str):
        entries = [entry.strip() for entry in text.split(",")]
    elif isinstance(text, Sequence) and text and all(isinstance(entry, str) for entry in text):
        entries = [entry.strip() for several in text for entry in several.split(",")]
    else:
        raise ConfigurationError(
            f"shards is {text!r:.80}, expected a text that says of how many, such as '1-100/100' or '3/100', or a list "
            "of such texts"
        )
    shards: dict[str, None] = {}
    counts = set[int]()
    for entry in entries:
        found = re.fullmatch(r"(\d{1,6})-(\d{1,6})/(\d{1,6})", entry, re.ASCII)
        if found is not None:
            first, last, count = map(int, found.groups())
        elif "-" in entry or "/" not in entry:
            raise ConfigurationError(f"shards {entry!r:.80}: expected I-J/N, such as '1-100/100', or I/N for one of N")
        else:
            first, count = parse_shard(entry)
            last = first
        if not 1 <= first <= last <= count:
            raise ConfigurationError(
                f"shards {entry!r}: expected the first and the last of {count}, counted from 1, such as "
                f"'1-{count}/{count}'"
            )
        counts.add(count)
        if len(counts) > 1:
            raise ConfigurationError(
                f"shards {text!r:.80} are of {min(counts)} and of {max(counts)}: parts of two divisions overlap, "
                "so give those of one"
            )
        for number in range(first, last + 1):
            if (shard := f"{number}/{count}") in shards:
                raise ConfigurationError(f"shards {text!r:.80} name {shard} twice: each is one client's")
            shards[shard] = None
    return list(shards)


def _check(labels: Labels, needed: int) -> None:
    if labels.ndim != 1:
        raise DataError(f"labels of shape {labels.shape}: expected one label a sample to divide the data by")
    if needed < 1 or len(labels) < needed:
        raise DataError(f"{len(labels)} samples can't be divided: {needed} are needed, at least one a client")
