"""What a Flower app's rounds come to on a ledger, on both sides; with Flower itself they are in `in_flower.py`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from galaxy_chain.exceptions import AuditError, LedgerRefusedError, NotAdmittedError
from galaxy_chain.flower import serving
from galaxy_chain.flower.messages import Answer
from galaxy_chain.ledger.signing import Domain, SignatureError
from galaxy_chain.mode import ChainSettings
from galaxy_chain.store.server import StoreServer
from galaxy_fl.exceptions import ConfigurationError, EncodingError, RoundMovedOnError, VectorError
from galaxy_fl.rounds.coordinator import Phase
from galaxy_fl.vectors import read_vector
from tests.galaxy_chain.federation import said
from tests.galaxy_chain.flower.app import SAMPLES, App, initial
from tests.galaxy_chain.lane.poor import poor_accounts


@pytest.fixture
def app(node, deployment, web3, tmp_path):
    return App(node, deployment, tmp_path)


@pytest.fixture
def serving_(app):
    with app.serving() as running:
        running.enter()
        yield running


def mean(models):
    """Flower's own: of numpy arrays, in their type."""
    total = sum(SAMPLES)
    return {
        name: sum(model[name] * (samples / total) for model, samples in zip(models, SAMPLES, strict=True))
        for name in models[0]
    }


def whole_round(app, running):
    """Serves a round of all clients; its report."""
    round = running.collecting()
    arrays = running.arrays(round, app.model)
    return running.serve(round, [app.answer(index, round, arrays) for index in range(3)])


def test_rounds_stand_on_the_ledger_and_agree_with_flowers_mean(app, serving_):
    serving_.check_initial(serving_.coordinator.round(), app.model)
    for number in (1, 2):
        round = serving_.collecting()
        assert (round.number, round.phase) == (number, Phase.COLLECTING)
        arrays = serving_.arrays(round, app.model)
        expected = mean([app.trained(index, arrays) for index in range(3)])
        done = serving_.serve(round, [app.answer(index, round, arrays) for index in range(3)])
        assert done.updates == 3
        assert done.excluded == {}
        made = serving_.arrays(serving_.collecting(), app.model)
        assert list(made) == list(app.model)
        for name, value in made.items():
            assert value.dtype == app.model[name].dtype
            step = 2**-10 if name == "half" else 2**-23  # of float16 itself, or of the fixed point
            if name != "layer.count":
                assert np.abs(value - expected[name]).max() <= step * max(1, np.abs(expected[name]).max())
        assert made["layer.count"] == 7
    assert serving_.collecting().phase in (Phase.FINISHED, Phase.SETTLING)
    assert [audited.updates for audited in app.reading().audit(app.job).rounds()] == [3, 3]


def test_a_server_that_starts_again_goes_on_where_it_was(app):
    with app.serving() as first:
        first.enter()
        whole_round(app, first)
        round = first.collecting()
        arrays = first.arrays(round, app.model)
        answers = [app.answer(index, round, arrays) for index in range(3)]
        for answer in answers:
            first._replies.hand_in(app.job, round.attempt, answer.update)
        first.coordinator.round()
        assert len(first.coordinator.history.entries) == 3  # handed in; then it dies
    with app.serving() as second:
        second.check_initial(second.coordinator.round(), initial(9))  # whatever an app begins with, once it has begun
        assert second.collecting().phase in (Phase.FINISHED, Phase.SETTLING)
    assert [audited.updates for audited in app.reading().audit(app.job).rounds()] == [3, 3]


def test_a_round_without_enough_replies_is_asked_for_again_and_no_client_signs_twice(app, serving_, caplog):
    round = serving_.collecting()
    arrays = serving_.arrays(round, app.model)
    first = [app.answer(index, round, arrays) for index in range(2)]
    assert serving_.serve(round, first) is None
    assert any("has 2 of the 3 updates that make a round" in each for each in said(caplog))
    again = serving_.collecting()
    assert again.attempt == round.attempt
    with app.client(0) as client:
        reached = client.reach(again.attempt)
        kept = client.before(reached)
        other = client.sign(reached, app.trained(7, arrays), SAMPLES[0])
        assert kept.update == first[0].update == other.update
    assert serving_.serve(again, [app.answer(index, again, arrays) for index in range(3)]).updates == 3


def test_rounds_go_on_without_a_client_where_the_terms_say_so(node, deployment, web3, tmp_path):
    app = App(node, deployment, tmp_path, terms={"min_clients": 2, "deadline": 0})
    with app.serving() as running:
        running.enter()
        round = running.collecting()
        arrays = running.arrays(round, app.model)
        done = running.serve(round, [app.answer(index, round, arrays) for index in (0, 2)])
        assert done.updates == 2
        late = running.collecting()
        with pytest.raises(RoundMovedOnError, match="sees attempt 2, collecting: nothing is trained"):
            app.answer(1, round, arrays)
        arrays = running.arrays(late, app.model)
        assert running.serve(late, [app.answer(index, late, arrays) for index in range(3)]).updates == 3


def test_a_client_refuses_another_model_than_the_ledgers(app, serving_):
    round = serving_.collecting()
    arrays = serving_.arrays(round, app.model)
    wrong = arrays | {"layer.bias": arrays["layer.bias"] + 2**-24}
    with pytest.raises(ConfigurationError, match="another model than the one that round 1 .* 'layer.bias' has other"):
        app.answer(0, round, wrong)
    with pytest.raises(ConfigurationError, match="'layer.count' has other values"):
        app.answer(0, round, arrays | {"layer.count": np.array(8)})
    with pytest.raises(ConfigurationError, match="'more' is in one of them alone"):
        app.answer(0, round, arrays | {"more": np.zeros(3, np.float32)})
    with pytest.raises(ConfigurationError, match=r"'half' has the shape \(4,\), expected \(5,\)"):
        app.answer(0, round, arrays | {"half": arrays["half"][:4]})


def test_what_was_trained_has_to_be_the_jobs_model(app, serving_):
    round = serving_.collecting()
    arrays = serving_.arrays(round, app.model)
    with app.client(0) as client:
        reached = client.reach(round.attempt)
        for changed, error, match in (
            ({"layer.bias": np.full(16, np.nan)}, EncodingError, "'layer.bias' at .0,. is nan"),
            ({"half": np.zeros(5, np.int64)}, VectorError, "'half' is int64, expected float16, float32, float64"),
            ({"more": np.zeros(1)}, VectorError, "has an array 'more', which the job's model does not have"),
        ):
            with pytest.raises(error, match=match):
                client.sign(reached, arrays | changed, 10)
        with pytest.raises(VectorError, match="lacks the array 'half'"):
            client.sign(reached, {name: value for name, value in arrays.items() if name != "half"}, 10)


def test_a_client_takes_part_only_in_jobs_that_its_own_side_has_named(app):
    with pytest.raises(ConfigurationError, match=r"this client takes part in 77 alone.*galaxy-job=1"):
        app.client(0, jobs=(77,))
    with pytest.raises(ConfigurationError, match="whom nobody here trusts: name the job"):
        app.client(0, jobs=None)
    owner = app.reading().jobs()[app.job].owner
    app.client(0, jobs=None, trust=(owner,)).close()


def test_who_is_not_admitted_or_has_more_data_than_it_joined_with_is_told(node, deployment, web3, tmp_path):
    app = App(node, deployment, tmp_path, open=False, admit=[node.accounts[2]], clients=1)
    with app.serving() as running:
        running.enter()
        round = running.collecting()
        arrays = running.arrays(round, app.model)
        with pytest.raises(NotAdmittedError, match=r"run `galaxy-chain job admit"):
            app.answer(1, round, arrays)
        assert running.serve(round, [app.answer(0, round, arrays)]).updates == 1
        round = running.collecting()
        more = "joined job 1 with 30 samples, but its update was trained on"
        with app.client(0) as client, pytest.raises(ConfigurationError, match=more):
            client.sign(client.reach(round.attempt), running.arrays(round, app.model), 31)


def test_a_reply_counts_only_as_its_client_has_signed_it(app, serving_):
    round = serving_.collecting()
    arrays = serving_.arrays(round, app.model)
    answer, root, domain = app.answer(0, round, arrays), serving_.model_root(), serving_.domain
    record = answer.to_record()
    read = Answer.of(record, domain, app.job, round.attempt, root, {"vector": answer.vector})
    assert (read.update, read.join) == (answer.update, answer.join)
    assert np.array_equal(read.vector, answer.vector)
    heavier = answer.update.model_copy(update={"weight": 29})
    stolen = answer.update.model_copy(update={"client": app.reading().jobs()[app.job].owner})
    other = app.answer(1, round, arrays)
    for bad, at, match in (
        ({"update": heavier.model_dump_json()}, {}, "the signature is not one of"),
        ({"update": stolen.model_dump_json()}, {}, "the signature is not one of"),
        ({}, {"attempt": round.attempt + 1}, "the signature is not one of .* for attempt 2"),  # replayed
        ({}, {"job": app.job + 1}, "the signature is not one of"),
        ({}, {"domain": Domain(1, serving_.domain.ledger)}, "the signature is not one of"),
        ({}, {"model": bytes(32)}, "its entry is of the model"),
        ({"join": other.to_record()["join"]}, {}, "and would have .* join"),
        ({"update": "{}"}, {}, "its entry can't be read: client: Field required"),
        ({"update": "x" * 3000}, {}, "at most 2048 characters"),
        ({"update": [1]}, {}, "at most 2048 characters"),
        ({"more": "1"}, {}, "other keys"),
    ):
        asked = {"domain": domain, "job": app.job, "attempt": round.attempt, "model": root} | at
        with pytest.raises((ConfigurationError, SignatureError), match=match):
            Answer.of(record | bad, **asked)
    for brought, match in (
        ({"vector": answer.vector + 1}, "it brings another update than the one that it has signed"),
        ({"vector": answer.vector[:-1]}, "it brings another update"),
        ({"vector": answer.vector.astype(np.int64)}, "can't be read"),
        ({"vector": answer.vector.reshape(3, -1)}, "can't be read"),
        ({}, "can't be read"),
    ):
        with pytest.raises(ConfigurationError, match=match):
            Answer.of(record, domain, app.job, round.attempt, root, brought)
    with pytest.raises(ConfigurationError, match=r"needs mods=\[galaxy_mod\(\)\]"):
        Answer.of(None, domain, app.job, round.attempt, root)


def test_an_entry_whose_content_is_not_there_is_not_handed_in(app, serving_, caplog, monkeypatch):
    monkeypatch.setattr(serving, "HANDING_IN", 1.0)
    round = serving_.collecting()
    arrays = serving_.arrays(round, app.model)
    answers = [app.answer(index, round, arrays) for index in range(3)]
    content = answers[1].vector.data
    answers[1] = replace(answers[1], vector=None)
    assert serving_.serve(round, answers) is None
    assert any("is not handed in, because its content is not there" in each for each in said(caplog))
    serving_.coordinator.store.put(content)
    monkeypatch.setattr(serving, "HANDING_IN", 240.0)
    assert serving_.serve(serving_.collecting(), answers).updates == 3


def tampering(running):
    """Has a server alter what its rule makes; returns what makes it honest again."""
    honest = running.coordinator.aggregate

    def tampered(round, updates, next_model):
        honest(round, updates, next_model)
        vector = read_vector(next_model, running.document.tensors.parameters).copy()
        vector[70] += 1
        next_model.write_bytes(vector.tobytes())

    running.coordinator.aggregate = tampered


def test_a_server_that_tampers_with_the_mean_is_found_by_the_audit_and_loses_its_bond_to_a_client(app, serving_):
    tampering(serving_)
    whole_round(app, serving_)
    with pytest.raises(AuditError, match="round 1"):
        list(app.reading().audit(app.job).rounds())
    round = serving_.collecting()
    arrays = serving_.arrays(round, app.model)
    [signer] = poor_accounts(1)
    with app.client(0, signer=signer) as poor:  # which has joined nothing, and has no ether
        reached = poor.reach(round.attempt)
        with pytest.raises(
            AuditError, match=r"round 1 of job 1 was committed wrongly, in chunk 1, .* audit 1 --challe"
        ):
            poor.check(reached, arrays)
    with pytest.raises(RoundMovedOnError):  # it looks at what it is to build on, and has ether to challenge it
        app.answer(0, round, arrays)
    history = app.reading().job(app.job)
    assert history.round == 1
    assert history.account(serving_.coordinator.address).bond == 0
    with pytest.raises(AuditError, match="has lost its bond in job 1"):
        serving_.collecting()
    with pytest.raises(LedgerRefusedError, match="barred from it"):
        serving_.coordinator.enter()


def test_an_app_whose_model_is_not_the_jobs_is_refused_before_anything_is_staked(app):
    with app.serving() as running:
        round = running.coordinator.round()
        with pytest.raises(ConfigurationError, match=r"other values than initial_arrays: .*same seed"):
            running.check_initial(round, initial(1))
        with pytest.raises(ConfigurationError, match=r"lacks the array 'half'.*create_job"):
            running.check_initial(round, {name: value for name, value in app.model.items() if name != "half"})
        later = replace(round, number=2)
        with pytest.raises(ConfigurationError, match="has an array 'more'"):
            running.check_initial(later, app.model | {"more": np.zeros(2)})
        assert app.reading().job(app.job).account(running.coordinator.address).bond == 0


def test_at_a_store_that_is_served_a_clients_first_update_comes_with_its_reply(node, deployment, web3, tmp_path):
    reading = ChainSettings.of({"rpc": node.url, "ledger": tmp_path / "ledger.json", "home": tmp_path / "store-home"})
    deployment.write(tmp_path / "ledger.json")
    with (
        reading.at() as ledger,
        StoreServer(tmp_path / "served", ledger.contract(), [node.accounts[0]], 1 << 30) as store,
    ):
        app = App(node, deployment, tmp_path, store=store.url)
        with app.serving() as running:
            running.enter()
            round = running.collecting()
            arrays = running.arrays(round, app.model)
            first = [app.answer(index, round, arrays) for index in range(3)]
            assert all(answer.vector is not None for answer in first)
            for answer in first:
                running.check_brought(answer)
            short = replace(first[0], vector=first[0].vector[:-1])
            with pytest.raises(ConfigurationError, match=r"that it brings has \d+ numbers, and the job's model has"):
                running.check_brought(short)
            with pytest.raises(ConfigurationError, match="does not join or is not admitted: nothing of it is kept"):
                running.check_brought(replace(first[0], join=None))
            again = app.answer(0, round, arrays)  # asked again, it sends the same
            assert again.update == first[0].update
            assert np.array_equal(again.vector, first[0].vector)
            assert running.serve(round, first).updates == 3
            round = running.collecting()
            arrays = running.arrays(round, app.model)
            second = [app.answer(index, round, arrays) for index in range(3)]
            assert all(answer.vector is None for answer in second)
            assert running.serve(round, second).updates == 3
        assert [audited.updates for audited in app.reading().audit(app.job).rounds()] == [3, 3]
