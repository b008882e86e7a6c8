"""Whole Flower apps on a ledger; run by `scripts/flower` in Flower's own environment, not by the suite."""

from __future__ import annotations

import json

import numpy as np
import pytest
from eth_account import Account
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp.mod import LocalDpMod
from flwr.server.strategy import FedAvg as OlderFedAvg
from flwr.serverapp.strategy import (
    DifferentialPrivacyServerSideFixedClipping,
    FedAdam,
    FedAvg,
    FedMedian,
    FedProx,
)

from galaxy_chain.exceptions import AuditError
from galaxy_chain.flower import OnLedger, create_job, galaxy_mod, serving
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.vectors import read_vector
from tests.galaxy_chain.federation import said
from tests.galaxy_chain.flower.app import SAMPLES, App
from tests.galaxy_chain.flower.grid import OneProcess, client_app

PASSWORD = "a password that no message has"


@pytest.fixture
def app(node, deployment, web3, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return App(node, deployment, tmp_path)


def record(arrays):
    return ArrayRecord({name: Array(value) for name, value in arrays.items()})


def fed_avg(**changed):
    return FedAvg(**({"min_available_nodes": 3, "min_train_nodes": 3} | changed))


def on_ledger(app, strategy=None, kind=OnLedger):
    return kind(strategy or fed_avg(), job=app.job, **app.settings("server", "dev:1"))


def grid(app, mods=None, **answers):
    """Three clients, whose nodes say which account they have and which job they take part in."""
    mods = [galaxy_mod(**app.common)] if mods is None else mods
    apps = [client_app(index, SAMPLES[index], mods, **answers) for index in range(3)]
    configs = [
        {
            "galaxy-account": f"dev:{index + 2}",
            "galaxy-home": str(app.folder / f"client-{index}"),
            "galaxy-job": app.job,
        }
        for index in range(3)
    ]
    return OneProcess(apps, configs)


def test_fedavg_on_a_ledger_is_flowers_own_within_a_step_and_is_audited(app):
    plain = OneProcess([client_app(index, SAMPLES[index], []) for index in range(3)], [{}] * 3)
    expected = fed_avg().start(plain, record(app.model), num_rounds=2)
    seen = []
    result = on_ledger(app).start(
        grid(app), record(app.model), num_rounds=2, evaluate_fn=lambda number, arrays: seen.append(number)
    )
    assert seen == [0, 1, 2]
    assert list(result.arrays) == list(app.model)
    for name, array in result.arrays.items():
        ours, theirs = array.numpy(), expected.arrays[name].numpy()
        assert ours.dtype == app.model[name].dtype
        # Two rounds, each rounded to a step; float32 itself has 24 bits, and Flower's sums are in it.
        step = 2 * 2**-10 if name == "half" else 4 * 2**-24
        if name == "layer.count":
            assert ours == 7  # what is counted is not averaged, and stays as the job began with it
            continue
        assert np.abs(ours - theirs).max() <= step * max(1, np.abs(theirs).max())
    assert result.train_metrics_clientapp[1] == expected.train_metrics_clientapp[1]
    assert result.evaluate_metrics_clientapp[2] == expected.evaluate_metrics_clientapp[2]
    assert [audited.updates for audited in app.reading().audit(app.job).rounds()] == [3, 3]


def test_an_app_that_starts_again_continues_and_one_that_is_over_gives_its_model(app):
    first = on_ledger(app).start(grid(app), record(app.model), num_rounds=1)
    second = on_ledger(app).start(grid(app), record(app.model), num_rounds=2)
    assert set(second.train_metrics_clientapp) == {1}  # Flower counts from 1 in each start
    again = on_ledger(app).start(grid(app), record(app.model), num_rounds=2)
    assert again.train_metrics_clientapp == {}
    bias = [result.arrays["layer.bias"].numpy() for result in (first, second, again)]
    assert not np.array_equal(bias[0], bias[1])
    assert np.array_equal(bias[1], bias[2])


@pytest.mark.parametrize(
    ("strategy", "match"),
    [
        (FedAdam(), "FedAdam makes something else of the updates"),
        (FedMedian(), "FedMedian makes something else"),
        (DifferentialPrivacyServerSideFixedClipping(FedAvg(), 1.0, 1.0, 2), "wraps another strategy"),
        (FedAvg(fraction_train=0.5), "fraction_train is 0.5, expected 1.0"),
        (OlderFedAvg(), "of Flower's older API: take the one of flwr.serverapp.strategy"),
        ("FedAvg", "strategy is a str, expected FedAvg"),
    ],
)
def test_strategies_that_are_no_weighted_mean_of_all_are_refused_by_name(strategy, match):
    with pytest.raises(ConfigurationError, match=match):
        OnLedger(strategy, job=1)


def test_what_can_not_be_is_refused_before_anything_is_staked(app):
    OnLedger(FedProx(proximal_mu=0.1), job=1)
    for job in (0, -1, "1", None, True):
        with pytest.raises(ConfigurationError, match="expected the number of a job on the ledger"):
            OnLedger(fed_avg(), job=job)
    with pytest.raises(ConfigurationError, match="settings of a ledger: hom"):
        OnLedger(fed_avg(), job=1, hom="x")
    with pytest.raises(ConfigurationError, match="settings of a ledger: hom"):
        galaxy_mod(hom="x")
    with pytest.raises(ConfigurationError, match="num_rounds is 3, and job 1 has 2"):
        on_ledger(app).start(grid(app), record(app.model), num_rounds=3)
    few = on_ledger(app, FedAvg())
    with pytest.raises(ConfigurationError, match=r"takes at least 3 updates: FedAvg\(…, min_available_nodes=3\)"):
        few.start(grid(app), record(app.model), num_rounds=2)
    with pytest.raises(ConfigurationError, match="lacks the array"):
        on_ledger(app).start(grid(app), ArrayRecord([np.zeros(3)]), num_rounds=2)
    with pytest.raises(ConfigurationError, match=r"call start\(…\)"):
        on_ledger(app).configure_train(1, record(app.model), ConfigRecord(), grid(app))
    assert app.reading().job(app.job).deposits == {}


def test_more_nodes_than_a_round_takes_are_refused(app):
    four = grid(app)
    four.apps[4] = four.apps[3]
    four.contexts[4] = four.contexts[3]
    with pytest.raises(ConfigurationError, match="4 nodes are connected and sampled, and a round of job 1 takes 3"):
        on_ledger(app).start(four, record(app.model), num_rounds=2)


def fails(app, caplog, carrier, *reasons, num_rounds=1):
    """Runs an app whose rounds come to nothing, for these reasons."""
    result = on_ledger(app).start(carrier, record(app.model), num_rounds=num_rounds)
    assert result.train_metrics_clientapp == {}
    for reason in reasons:
        assert any(reason in each for each in said(caplog)), (reason, said(caplog))
    assert app.reading().job(app.job).round == 1


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"arrays": None}, "the app's reply has 0 ArrayRecords (none), expected one, with the whole model: custom"),
        ({"more": ArrayRecord([np.zeros(2)])}, "has 2 ArrayRecords ('arrays', 'more'), expected one"),
        ({"arrays": ArrayRecord([np.zeros(2)])}, "the trained model lacks the array"),
        ({"metrics": None}, "the app's reply has 0 MetricRecords"),
        (
            {"metrics": MetricRecord({"loss": 1.0})},
            "the MetricRecord lacks 'num-examples', by which updates are weighed",
        ),
        ({"metrics": MetricRecord({"num-examples": 0})}, "'num-examples' is 0, expected a whole number"),
    ],
)
def test_a_reply_that_does_not_fit_is_refused_at_the_client_by_name(app, caplog, answers, reason):
    fails(app, caplog, grid(app, **answers), reason)


def test_clients_without_the_mod_and_servers_without_the_strategy_are_told(app, caplog):
    fails(app, caplog, grid(app, mods=[]), "its ClientApp needs mods=[galaxy_mod()]")
    asked = fed_avg().configure_train(1, record(app.model), ConfigRecord(), grid(app))
    for reply in grid(app).send_and_receive(asked):
        assert "strategy has to be wrapped, OnLedger(FedAvg(…), job=…)" in reply.error.reason


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (
            {"galaxy-acount": "dev:2"},
            "the node's configuration has 'galaxy-acount', expected one of galaxy-job, galaxy-a",
        ),
        ({"galaxy-job": 2, "galaxy-account": "dev:2"}, "takes part in 2 alone"),
        ({"galaxy-account": "nobody", "galaxy-job": 1}, "nobody"),
        ({"partition-id": 0, "num-partitions": 3}, "3 clients share this configuration, and each needs an account"),
        ({"galaxy-job": "x", "galaxy-account": "dev:2"}, "settings of a ledger: jobs"),
    ],
)
def test_a_node_that_is_not_set_up_says_what_to_do(app, caplog, config, reason):
    carrier = grid(app)
    for context in carrier.contexts.values():
        context.node_config.clear()
        context.node_config.update(config)
    fails(app, caplog, carrier, reason)


def test_of_a_simulation_each_partition_has_its_own_account(app):
    carrier = grid(app, mods=[galaxy_mod(**app.common, home=str(app.folder / "all"), accounts="dev:2-4", jobs=(1,))])
    for number, context in carrier.contexts.items():
        context.node_config.clear()
        context.node_config.update({"partition-id": number - 1, "num-partitions": 3})
    on_ledger(app).start(carrier, record(app.model), num_rounds=1)
    [audited] = app.reading().audit(app.job).rounds()
    assert audited.updates == 3


def test_a_mod_behind_it_sees_the_arrays_and_what_it_makes_of_them_is_signed(app):
    app.model = {name: value.astype(np.float32) for name, value in app.model.items() if name != "layer.count"}
    app.job = create_job(
        app.model, rounds=2, clients=3, open=True, terms={"server": app.reading().jobs()[app.job].terms.server},
        **app.settings("owner", "dev:0"),
    )  # fmt: skip
    noise = LocalDpMod(clipping_norm=0.5, sensitivity=1e-3, epsilon=10.0, delta=1e-5)
    result = on_ledger(app).start(grid(app, mods=[galaxy_mod(**app.common), noise]), record(app.model), num_rounds=1)
    moved = sum(float(((result.arrays[name].numpy() - value) ** 2).sum()) for name, value in app.model.items())
    assert 0 < moved**0.5 < 0.6  # the updates are clipped to half, and the mean of three is no longer
    [audited] = app.reading().audit(app.job).rounds()
    assert audited.updates == 3


def altered(reply, **records):
    """The same reply with other records."""
    content = RecordDict({**dict(reply.content), **records})
    for name in [name for name, value in records.items() if value is None]:
        del content[name]
    reply.content = content
    return reply


def test_replies_that_differ_from_what_was_signed_or_come_twice_count_for_nothing(app, caplog):
    carrier = grid(app)
    first: dict[int, Message] = {}

    def tampered(node, reply):
        if "galaxy" not in reply.content:
            return reply  # of an evaluation
        if node == 1:  # says more than it has signed
            return altered(reply, metrics=MetricRecord({"num-examples": 10**6, "loss": 1.0}))
        if node == 2:  # the entry of another, or an old one
            return altered(reply, galaxy=first[2].content["galaxy"]) if first else reply
        return altered(reply, arrays=record(app.model))

    carrier.altered = tampered
    fails(app, caplog, carrier, "its entry weighs 30: what it has signed and", "it has arrays beside its entry")
    # The same clients, honest now: the attempt is the same, and so is what they have signed.
    kept = []
    carrier.altered = lambda node, reply: (kept.append((node, reply)), reply)[1]
    on_ledger(app).start(carrier, record(app.model), num_rounds=1)
    assert app.reading().job(app.job).round == 2
    first.update({node: reply for node, reply in kept if "galaxy" in reply.content})
    # Replayed in the next round: signed for another attempt.
    carrier.altered = lambda node, reply: first[node] if "galaxy" in reply.content else reply
    on_ledger(app).start(carrier, record(app.model), num_rounds=2)
    assert any("the signature is not one of" in each and "attempt 2" in each for each in said(caplog))
    assert app.reading().job(app.job).round == 2


def test_who_says_more_than_others_does_not_silence_them_nor_end_the_app(app, caplog):
    carrier = grid(app)

    def more(node, reply):
        if "galaxy" not in reply.content or node != 1:
            return reply
        said = dict(reply.content["metrics"])
        if len(carrier.sent) > 12:  # in the second round: another kind
            return altered(reply, metrics=MetricRecord(said | {key: [0.5] for key in said if key != "num-examples"}))
        return altered(reply, metrics=MetricRecord(said | {"loss": -1e9, "more": 1.0}))

    carrier.altered = more
    result = on_ledger(app).start(carrier, record(app.model), num_rounds=2)
    assert set(result.train_metrics_clientapp) == {1, 2}
    for mean in result.train_metrics_clientapp.values():
        assert "more" not in mean
        assert isinstance(mean["loss"], float)
        assert mean["loss"] >= 0
    assert [audited.updates for audited in app.reading().audit(app.job).rounds()] == [3, 3]
    assert any("have other keys or kinds" in each for each in said(caplog))


def test_an_entry_that_comes_from_two_nodes_counts_once(app, caplog):
    carrier = grid(app)
    replies: dict[str, Message] = {}
    carrier.altered = lambda node, reply: replies.setdefault("first", reply) if "galaxy" in reply.content else reply
    fails(app, caplog, carrier, "has come before", "has 1 of the 3 updates that make a round")


def test_what_a_client_says_of_its_failure_is_shown_in_one_printable_line(app, caplog):
    carrier = grid(app)

    @carrier.apps[1].query()
    def unused(message, context):
        raise AssertionError

    def failing(message, context):
        raise RuntimeError("\x1b[31mred\nnext line" + "x" * 5000)

    carrier.apps[1] = failing
    fails(app, caplog, carrier, "node 1 gives nothing to round 1")
    [line] = [each for each in said(caplog) if each.startswith("node 1 gives nothing")]
    assert line.isprintable()
    assert len(line) < 600


class OtherModel(OnLedger):
    """Gives the clients another model than the ledger's."""

    def configure_train(self, server_round, arrays, config, grid):
        messages = list(super().configure_train(server_round, arrays, config, grid))
        for message in messages:
            changed = {name: array.numpy() for name, array in message.content["arrays"].items()}
            changed["layer.bias"] = changed["layer.bias"] + 1
            message.content["arrays"] = record(changed)
        return messages


def test_a_strategy_that_gives_clients_another_model_than_the_ledgers_gets_nothing_signed(app, caplog):
    carrier = grid(app)
    result = on_ledger(app, kind=OtherModel).start(carrier, record(app.model), num_rounds=1)
    assert result.train_metrics_clientapp == {}
    assert any("the server has sent another model than the one that round 1 of job 1" in each for each in said(caplog))
    assert app.reading().job(app.job).clients == {}


def test_a_strategy_that_tampers_with_the_aggregate_is_challenged_by_a_client_and_loses_its_bond(app, monkeypatch):
    honest = serving.LedgerServerCoordinator.aggregate

    def tampered(self, round, updates, next_model):
        honest(self, round, updates, next_model)
        vector = read_vector(next_model, self.job.tensors.parameters).copy()
        vector[3] += 1000
        next_model.write_bytes(vector.tobytes())

    monkeypatch.setattr(serving.LedgerServerCoordinator, "aggregate", tampered)
    carrier = grid(app)
    with pytest.raises(Exception, match="has lost its bond"):
        on_ledger(app).start(carrier, record(app.model), num_rounds=2)
    history = app.reading().job(app.job)
    assert history.round == 1
    assert history.account(app.reading().jobs()[app.job].terms.server).bond == 0
    monkeypatch.undo()


def test_the_audit_names_a_tampered_last_round(app, monkeypatch):
    honest = serving.LedgerServerCoordinator.aggregate

    def tampered(self, round, updates, next_model):
        honest(self, round, updates, next_model)
        vector = read_vector(next_model, self.job.tensors.parameters).copy()
        vector[3] += 1000
        next_model.write_bytes(vector.tobytes())

    on_ledger(app).start(grid(app), record(app.model), num_rounds=1)
    monkeypatch.setattr(serving.LedgerServerCoordinator, "aggregate", tampered)
    on_ledger(app).start(grid(app), record(app.model), num_rounds=2)
    monkeypatch.undo()
    with pytest.raises(AuditError, match="round 2"):
        list(app.reading().audit(app.job).rounds())


def test_no_message_and_no_log_has_a_key_or_a_password(app, caplog, monkeypatch):
    caplog.set_level("DEBUG")
    monkeypatch.setenv("GALAXY_PASSWORD", PASSWORD)
    carrier = grid(app)
    secrets = [PASSWORD.encode()]
    for index in range(3):
        key = bytes([50 + index]) * 32
        folder = app.folder / f"client-{index}" / "keystore"
        folder.mkdir(parents=True)
        stored = Account.encrypt(key, PASSWORD, iterations=2)
        address = Account.from_key(key).address
        (folder / "ward.json").write_text(json.dumps(stored | {"address": address[2:].lower()}))
        carrier.contexts[index + 1].node_config["galaxy-account"] = address
        secrets += [key, key.hex().encode()]
    on_ledger(app).start(carrier, record(app.model), num_rounds=1)
    [audited] = app.reading().audit(app.job).rounds()
    assert audited.updates == 3  # of accounts without ether, which join by their signatures
    everything = b"".join(carrier.sent) + caplog.text.encode()
    for secret in secrets:
        assert secret not in everything
