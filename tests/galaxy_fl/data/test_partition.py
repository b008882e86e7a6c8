"""Whatever the division, every sample belongs to exactly one client, and every client has one."""

import sys
from subprocess import run

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_fl.data.partition import Partition, by_label, dirichlet, iid, parse_shard
from galaxy_fl.exceptions import ConfigurationError, DataError

LABELS = np.arange(500) % 10


def assert_divides(shards, samples):
    assert all(len(shard) for shard in shards)
    assert sorted(np.concatenate(shards).tolist()) == list(range(samples))


@given(samples=st.integers(1, 200), n=st.integers(1, 50), seed=st.integers(0, 2**32))
def test_iid_covers_everything_once_in_sizes_that_differ_by_one(samples, n, seed):
    labels = np.zeros(samples, np.int64)
    if samples < n:
        with pytest.raises(DataError, match=f"{samples} samples"):
            iid(labels, n, seed)
        return
    shards = iid(labels, n, seed)
    assert len(shards) == n
    assert_divides(shards, samples)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@given(alpha=st.floats(0.2, 100), n=st.integers(1, 6), seed=st.integers(0, 2**32))
def test_dirichlet_covers_everything_once(alpha, n, seed):
    shards = dirichlet(LABELS, n, alpha, seed, min_samples=2)
    assert_divides(shards, 500)
    assert min(map(len, shards)) >= 2


@given(labels_per_client=st.integers(1, 10), n=st.integers(1, 12), seed=st.integers(0, 2**32))
def test_by_label_gives_each_client_its_number_of_labels(labels_per_client, n, seed):
    if n * labels_per_client < 10:
        with pytest.raises(DataError, match="do not fit 10 labels"):
            by_label(LABELS, n, labels_per_client, seed)
        return
    shards = by_label(LABELS, n, labels_per_client, seed)
    assert_divides(shards, 500)
    assert {len(np.unique(LABELS[shard])) for shard in shards} == {labels_per_client}


def test_a_small_alpha_skews_the_classes_and_a_large_one_does_not():
    def largest_class_share(alpha):
        shards = dirichlet(LABELS, 4, alpha, seed=1)
        return np.mean([np.bincount(LABELS[shard]).max() / len(shard) for shard in shards])

    assert largest_class_share(0.1) > 2 * largest_class_share(1000)


@pytest.mark.parametrize("text", ["iid", "dirichlet:0.5", "labels:3"])
def test_the_same_seed_gives_the_same_division_and_another_another(text):
    partition = Partition.parse(text)
    first, second, other = (np.concatenate(partition.split(LABELS, 4, seed)).tolist() for seed in (7, 7, 8))
    assert first == second
    assert first != other
    assert str(partition) == text


@pytest.mark.parametrize(
    "text", ["", "IID", "dirichlet", "dirichlet:0", "dirichlet:-1", "dirichlet:nan", "labels:0", "labels:1.5"]
)
def test_a_malformed_partition_is_quoted(text):
    with pytest.raises(ConfigurationError, match=f"partition '{text}'"):
        Partition.parse(text)


@given(st.integers(1, 999_999).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n))))
def test_shards_are_counted_from_one(pair):
    assert parse_shard(f"{pair[0]}/{pair[1]}") == pair


@pytest.mark.parametrize("text", ["", "1", "0/4", "5/4", "1/0", "-1/4", "1/4/2", "1 /4", "a/b", "\u0661/4"])
def test_a_malformed_shard_is_quoted(text):
    with pytest.raises(ConfigurationError, match=f"shard '{text}'"):
        parse_shard(text)


def test_labels_that_are_not_one_a_sample_are_refused():
    with pytest.raises(DataError, match=r"shape \(10, 2\)"):
        iid(np.zeros((10, 2)), 2, 0)


def test_a_class_smaller_than_the_clients_that_share_it_is_refused():
    with pytest.raises(DataError, match="fewer than 4 clients"):
        by_label(np.array([0, 1, 1, 1, 1, 1]), 4, 1, seed=0)


def test_dividing_needs_no_torch():
    program = "import sys, galaxy_fl.data.partition; sys.exit('torch' in sys.modules)"
    assert run([sys.executable, "-c", program], check=False).returncode == 0
