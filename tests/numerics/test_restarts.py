"""A client that begins again with what it has in files trains what it would have trained anyway, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from galaxy_fl.jobs.specification import TrainSpecification
from tests.numerics import zoo
from tests.numerics.federation import Federation

ROUNDS = 4
TRAIN = TrainSpecification(learning_rate=0.1, batch_size=4, seed=1)


def run(kind, folder, before_round=lambda client: None):
    federation = Federation(kind, TRAIN, folder)
    for number in range(1, ROUNDS + 1):
        before_round(federation.clients[0])
        federation.round(number)
    return federation.vector


def forget(client):
    client._own = None


@pytest.mark.parametrize(
    "kind", [zoo.CumulativeBatchNorm, zoo.Annealed, zoo.BatchNorm, zoo.SpectralNorm, zoo.Dropping, zoo.Transformer]
)
def test_restarts_change_nothing(kind, tmp_path):
    undisturbed = run(kind, tmp_path / "undisturbed")
    assert np.array_equal(run(kind, tmp_path / "restarted", lambda client: client.restart()), undisturbed)


@pytest.mark.parametrize("kind", [zoo.CumulativeBatchNorm, zoo.Annealed])
def test_what_a_client_keeps_of_its_integer_tensors_matters(kind, tmp_path):
    undisturbed = run(kind, tmp_path / "undisturbed")
    assert not np.array_equal(run(kind, tmp_path / "forgetful", forget), undisturbed)
