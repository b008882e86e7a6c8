"""The mode `update`: what leaves a client is clipped and noised, whatever was trained."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from galaxy_fl.jobs.document import BuiltinModel, JobDocument
from galaxy_fl.jobs.privacy import UpdatePrivacy
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.privacy import update
from galaxy_fl.privacy.accountant import epsilon_of, mechanism_of
from galaxy_fl.privacy.entropy import gaussians, uniforms
from galaxy_fl.vectors import read_vector, write_vector

BITS = 20
CERTAIN = 7.0
"""Standard deviations beyond which a normal number is once in 10**11 times."""


def document(privacy, *sizes, frozen=(), bits=BITS):
    layout = [{"name": f"t{n}", "shape": [size], "fraction_bits": bits} for n, size in enumerate(sizes)]
    if sum(sizes) < 9:
        layout.append({"padding": 9 - sum(sizes)})
    return JobDocument(
        name="private", model=BuiltinModel(builtin="mlp"), layout=layout, frozen=list(frozen), privacy=privacy
    )


class Client:
    """Makes an update, and protects it."""

    def __init__(self, folder: Path, document: JobDocument) -> None:
        self.document = document
        self.raw, self.update = folder / "raw", folder / "update"

    def protected(self, made):
        """What is handed in, as numbers; the update is in numbers, too."""
        steps = 2**BITS
        write_vector(self.raw, np.rint(np.asarray(made) * steps).astype(np.int32))
        update.protect(self.raw, self.update, self.document, self.document.privacy)
        return read_vector(self.update, self.document.tensors.parameters) / steps


def privacy(clip=1.0, noise_multiplier=1.0, delta=1e-5):
    return UpdatePrivacy(clip=clip, noise_multiplier=noise_multiplier, delta=delta)


def quiet(count):
    return np.zeros(count)


def test_the_noise_has_the_deviation_that_was_asked_for(tmp_path):
    """Noise that is left out, or is too small or too large by a twentieth, fails."""
    size = 200_000
    client = Client(tmp_path, document(privacy(clip=0.5, noise_multiplier=3.0), size))
    noise = client.protected(np.zeros(size)) / 1.5
    assert abs(noise.mean()) < CERTAIN / math.sqrt(size)
    assert abs(noise.var() - 1) < CERTAIN * math.sqrt(2 / size) < 0.05
    assert abs((noise > 1).mean() - 0.158655) < CERTAIN * math.sqrt(0.1587 * 0.8413 / size)


@pytest.mark.parametrize("length", [0.25, 1.0, 3.0, 40.0])
def test_an_update_is_no_longer_than_the_clip_and_keeps_its_direction(tmp_path, monkeypatch, length):
    monkeypatch.setattr(update, "gaussians", quiet)
    client = Client(tmp_path, document(privacy(clip=1.0), 60, 40))
    direction = np.linspace(-1, 2, 100)
    direction /= np.linalg.norm(direction)
    handed = client.protected(length * direction)
    assert np.linalg.norm(handed) <= 1.0
    assert np.allclose(handed, min(length, 1.0) * direction, atol=2.0 ** (1 - BITS))


def test_the_clip_holds_over_tensors_of_different_fixed_point(tmp_path, monkeypatch):
    monkeypatch.setattr(update, "gaussians", quiet)
    fine = document(privacy(clip=1.0), 50)
    layout = [{"name": "a", "shape": [25], "fraction_bits": 20}, {"name": "b", "shape": [25], "fraction_bits": 10}]
    mixed = JobDocument.model_validate(fine.model_dump() | {"layout": layout})
    raw, made = tmp_path / "raw", tmp_path / "made"
    steps = np.repeat([2**20, 2**10], 25)
    write_vector(raw, (3 * steps).astype(np.int32))
    update.protect(raw, made, mixed, mixed.privacy)
    handed = read_vector(made, 50) / steps
    assert 0.98 < np.linalg.norm(handed) <= 1.0


def test_padding_says_nothing_and_costs_nothing(tmp_path, monkeypatch):
    client = Client(tmp_path, document(privacy(), 3))
    made = np.array([0.1, 0.1, 0.1, 90, 90, 90, 5, 5, 5])
    handed = client.protected(made)
    assert (handed[:3] != 0).all()
    assert (handed[3:] == 0).all()
    monkeypatch.setattr(update, "gaussians", quiet)
    handed = client.protected(made)
    assert np.allclose(handed[:3], 0.1, atol=1e-5)  # padding took no part in the norm


def test_what_leaves_the_range_of_a_vector_is_cut_off(tmp_path):
    client = Client(tmp_path, document(privacy(clip=10.0, noise_multiplier=1000.0), 1000))
    handed = client.protected(np.zeros(1000))
    assert (handed.min(), handed.max()) == (-2048.0, 2048.0 - 2.0**-BITS)


def test_the_same_training_is_never_protected_the_same(tmp_path):
    """Nothing of a job, its seed least of all, decides the noise: with all of it alike, every number differs."""
    client = Client(tmp_path, document(privacy(), 1000))
    first, second = (client.protected(np.zeros(1000)) for _ in range(2))
    assert (first == second).mean() < 0.01


def test_numbers_come_from_the_operating_system_alone(monkeypatch):
    np.random.seed(1)
    assert not np.array_equal(gaussians(9), (np.random.seed(1), gaussians(9))[1])
    asked = []

    def entropy(count):
        asked.append(count)
        return bytes(range(256)) * (count // 256) + bytes(count % 256)

    monkeypatch.setattr("os.urandom", entropy)
    assert np.array_equal(gaussians(101), gaussians(101))  # of the same entropy the same: there is nothing else
    assert sum(asked) == 2 * 2 * 51 * 8
    assert len(gaussians(0)) == 0
    monkeypatch.setattr("os.urandom", lambda count: b"\xff" * count)
    assert uniforms(1)[0] == 1.0
    monkeypatch.setattr("os.urandom", lambda count: b"\0" * count)
    assert np.isfinite(gaussians(3)).all()


# ---- An attack ------------------------------------------------------------------------------------------------


def attacked(privacy, runs: int):
    """The scores that an attacker gives runs in which a client had one data set, and in which it had another.

    The two make updates as far apart as updates may be, in opposite directions, and the attacker knows both: no attack
    on this mechanism is better than looking which of them is nearer. Scores are in standard deviations of the noise.
    """
    spans, scores = update.spans_of(document(privacy, 9)), []
    direction = np.full(9, 1 / 3)
    for sign in (1, -1):
        made = np.rint(sign * 9 * direction * 2**BITS).astype(np.int32)
        runs_ = [update.protected(made, spans, privacy) @ direction for _ in range(runs)]
        scores.append(np.array(runs_) / 2**BITS / (privacy.clip * privacy.noise_multiplier))
    return scores


def empirical_epsilon(with_, without, delta, confidence=1e-10):
    """An epsilon that the mechanism exceeds, but for a chance of `confidence`, by Clopper and Pearson's bounds.

    There are a few thresholds, which are not chosen by looking at the runs.
    """
    from scipy.stats import beta  # here: every process of the tests imports every module of them

    runs = len(with_)
    best = 0.0
    for threshold in (0.0, 0.5, 1.0, 1.5, 2.0):
        hits, errors = int((with_ > threshold).sum()), int((without > threshold).sum())
        least = beta.ppf(confidence / 10, hits, runs - hits + 1) if hits else 0.0
        most = beta.ppf(1 - confidence / 10, errors + 1, runs - errors)
        if least > delta:
            best = max(best, math.log((least - delta) / most))
    return best


def gaussian_epsilon(multiplier, delta):
    """The exact epsilon of one Gaussian mechanism (Balle and Wang, ICML 2018), by bisection."""
    from scipy.special import log_ndtr

    low, high = 0.0, 100.0
    for _ in range(80):
        epsilon = (low + high) / 2
        a, b = 1 / (2 * multiplier), epsilon * multiplier
        reached = math.exp(log_ndtr(a - b)) - math.exp(epsilon + log_ndtr(-a - b))
        low, high = (epsilon, high) if reached > delta else (low, epsilon)
    return high


def check_attack(runs: int, noise_multiplier: float):
    chosen = privacy(clip=1.0, noise_multiplier=noise_multiplier)
    epsilon = epsilon_of([mechanism_of(chosen, TrainSpecification(), 10)], chosen.delta)
    found = empirical_epsilon(*attacked(chosen, runs), chosen.delta)
    assert found < epsilon
    return found, epsilon


def test_an_attack_finds_less_than_the_accountant_and_sees_noise_that_is_too_small(monkeypatch):
    found, epsilon = check_attack(4_000, noise_multiplier=4.0)
    assert found > 0.03  # it is an attack
    monkeypatch.setattr(update, "gaussians", lambda count: gaussians(count) / 12)
    assert empirical_epsilon(*attacked(privacy(noise_multiplier=4.0), 4_000), 1e-5) > epsilon


@pytest.mark.extended
@pytest.mark.parametrize("noise_multiplier", [1.0, 2.0, 4.0])
def test_attacks_with_many_runs(noise_multiplier):
    found, epsilon = check_attack(60_000, noise_multiplier)
    assert found > 0.25 * epsilon


def test_the_accountant_is_above_the_exact_epsilon_of_the_gaussian_and_near():
    for multiplier in (0.5, 1.0, 3.0, 20.0):
        chosen = privacy(noise_multiplier=2 * multiplier)
        exact = gaussian_epsilon(multiplier, 1e-5)
        found = epsilon_of([mechanism_of(chosen, TrainSpecification(), 10)], 1e-5)
        assert exact <= found < 1.3 * exact
