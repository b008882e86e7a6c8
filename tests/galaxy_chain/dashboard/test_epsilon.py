"""What the clients of a private job have spent, round by round, as `job show` has it for the end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from galaxy_chain.dashboard.epsilon import Epsilons
from galaxy_chain.jobs.published import published
from galaxy_fl.jobs.privacy import UpdatePrivacy
from tests.galaxy_chain.dashboard.test_many import Long
from tests.galaxy_chain.federation import DOCUMENT

PRIVATE = DOCUMENT.model_copy(update={"privacy": UpdatePrivacy(clip=1.0, noise_multiplier=4.0, delta=1e-5)})


def test_the_last_rounds_epsilon_is_that_of_whoever_has_published_most():
    chain = Long(5, 6).play(4, 2)  # each round has the next two clients
    found = Epsilons()
    found.find(chain.history, PRIVATE)
    whole = published(chain.history, PRIVATE)
    assert found.newest == {client: each.epsilon for client, each in whole.items()}
    assert found.trainings == {client: each.trainings for client, each in whole.items()}
    assert sorted(found.by_round) == [1, 2, 3, 4]
    assert found.by_round[4] == pytest.approx(max(found.newest.values()))
    assert found.by_round[1] < found.by_round[2] <= found.by_round[4]
    assert found.of == Epsilons.key(chain.history)
    chain.submit(0)
    assert found.of != Epsilons.key(chain.history)


def test_a_client_that_may_have_more_samples_than_it_says_tells_nothing():
    from galaxy_fl.jobs.privacy import ExamplePrivacy

    examples = DOCUMENT.model_copy(
        update={"privacy": ExamplePrivacy(max_grad_norm=1, noise_multiplier=2, delta=1e-5)}
    )  # fmt: skip
    chain = Long(5, 6).play(2, 2)
    found = Epsilons()
    found.find(chain.history, examples)
    assert set(found.newest.values()) > {0.0}
    chain.history.terms = replace(chain.history.terms, max_weight=1)
    found.find(chain.history, examples)
    assert set(found.newest.values()) == {None}
    assert found.by_round == {}
