"""Personal and frozen tensors in training: each client's own go on from round to round, frozen ones never change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from galaxy_fl.exceptions import DivergedError, JobDocumentError, TrainingError
from galaxy_fl.jobs.parts import Parts
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.vectors import encode
from galaxy_fl.worker.loaded_job import LoadedJob
from galaxy_fl.worker.messages import Export
from galaxy_fl.worker.serving import export
from tests.numerics import zoo
from tests.numerics.federation import Federation

TRAIN = TrainSpecification(learning_rate=0.1, batch_size=4, seed=1)
FEDBN = Parts(personal=["1.*"])


def run(folder, parts, rounds=3, kind=zoo.BatchNorm, before_round=lambda federation: None):
    federation = Federation(kind, TRAIN, folder, parts=parts)
    for number in range(1, rounds + 1):
        before_round(federation)
        federation.round(number)
    return federation


def own(federation, number):
    return load_file(federation.clients[number]._own)


def test_fedbn_is_two_clients_that_average_all_but_their_norms(tmp_path):
    """Beside plain torch: the same rounds with two models, of which all but the norm is averaged."""
    federation = run(tmp_path / "galaxy", FEDBN)
    assert [tensor.name for tensor in federation.job.tensors.tensors] == ["0.weight", "0.bias", "4.weight", "4.bias"]
    first, second = own(federation, 0), own(federation, 1)
    assert first.keys() == {f"1.{name}" for name in nn.BatchNorm2d(4).state_dict()}
    assert all(not torch.equal(first[f"1.{name}"], second[f"1.{name}"]) for name in ("weight", "running_mean"))

    # Each client trains what it would train in a job where its own are shared with nobody else.
    whole = Federation(zoo.BatchNorm, TRAIN, tmp_path / "whole")
    for number in range(1, 4):
        updates = []
        for client, state in zip(whole.clients, own_states(whole, number), strict=True):
            whole.vector = encode(state, whole.layout)
            updates.append(trained(whole, client, number))
        mean = {name: sum(state[name] * weight for state, weight in updates) for name in updates[0][0]}
        total = sum(weight for _, weight in updates)
        whole.states = [
            state | {name: value / total for name, value in mean.items() if not name.startswith("1.")}
            for state, _ in updates
        ]
    for index in (0, 1):
        expected, found = whole.states[index], own(federation, index)
        for name in ("1.weight", "1.bias", "1.running_mean", "1.running_var"):
            torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-4)


def own_states(federation, number):
    if number == 1:
        begun = {name: value for name, value in federation.model.state_dict().items() if value.is_floating_point()}
        return [begun, begun]
    return federation.states


def trained(federation, client, number):
    from galaxy_fl.vectors import decode, read_vector, write_vector

    start = client._folder / "start"
    write_vector(start, federation.vector)
    vector, samples = client.train(start, number)
    return decode(read_vector(vector, federation.layout.parameters), federation.layout), samples


@pytest.mark.parametrize("kind", [zoo.BatchNorm, zoo.CumulativeBatchNorm])
def test_restarts_change_nothing_of_what_is_personal(kind, tmp_path):
    undisturbed = run(tmp_path / "undisturbed", FEDBN, kind=kind)
    restarted = run(tmp_path / "restarted", FEDBN, kind=kind, before_round=lambda one: one.clients[0].restart())
    assert np.array_equal(restarted.vector, undisturbed.vector)
    for index in (0, 1):
        before, after = own(undisturbed, index), own(restarted, index)
        assert all(torch.equal(before[name], after[name]) for name in before)

    def forget(one):
        one.clients[0]._own = None

    assert not np.array_equal(
        run(tmp_path / "forgetful", FEDBN, kind=kind, before_round=forget).vector, undisturbed.vector
    )


def test_frozen_statistics_normalize_in_training_and_stay(tmp_path):
    federation = run(tmp_path, Parts(frozen=["1.running_*"]), rounds=1)
    [client, _] = federation.clients
    model = client.job.model().train()
    assert model.training
    assert not model[1].training
    assert model[0].training
    begun = federation.model.state_dict()
    assert torch.equal(model[1].running_mean, begun["1.running_mean"])
    assert [tensor.name for tensor in federation.job.frozen] == ["1.running_mean", "1.running_var"]


def test_a_frozen_buffer_that_training_changes_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match="changed the buffer 'steps', which is frozen"):
        run(tmp_path, Parts(frozen=["steps"]), kind=zoo.Annealed)


def test_evaluation_and_export_have_a_clients_own(tmp_path):
    federation = run(tmp_path, FEDBN)
    [client, _] = federation.clients
    vector = tmp_path / "model-3"
    written = {}
    for name, tensors in (("nobody's", None), ("own", client._own)):
        to = tmp_path / name
        export(Export(document=federation.job, vector=vector, destination=to, base=client.base, own=tensors))
        written[name] = torch.load(to, weights_only=True)
        zoo.BatchNorm().load_state_dict(written[name])
    begun = federation.model.state_dict()
    for name, value in own(federation, 0).items():
        assert torch.equal(written["own"][name], value)
        assert torch.equal(written["nobody's"][name], begun[name])
    client.session._test = client.session._data
    assert client.session.evaluate(vector, client._own) != client.session.evaluate(vector)
    model = zoo.BatchNorm().eval()
    model.load_state_dict(written["own"])
    inputs, targets = zip(*client.session._data, strict=True)
    loss = nn.functional.cross_entropy(model(torch.stack(inputs)), torch.stack(targets))
    assert client.session.evaluate(vector, client._own).loss == pytest.approx(loss.item(), rel=1e-5)


def test_a_personal_tensor_that_is_missing_is_refused_by_name(tmp_path):
    federation = run(tmp_path, FEDBN, rounds=1)
    [client, _] = federation.clients
    left = own(federation, 0)
    del left["1.bias"]
    save_file(left, client._own)
    with pytest.raises(TrainingError, match="own-1 lacks the personal tensor '1.bias'"):
        federation.round(2)
    save_file(left | {"1.bias": torch.zeros(5)}, client._own)
    with pytest.raises(TrainingError, match="has a tensor '1.bias' that this job's model does not have"):
        federation.round(2)


def test_a_personal_tensor_that_diverges_is_an_error(tmp_path):
    federation = run(tmp_path, FEDBN, rounds=1)
    [client, _] = federation.clients
    spoilt = {"1.running_mean": torch.full((4,), torch.nan)}  # which no loss of training tells
    save_file(own(federation, 0) | spoilt, client._own)
    with pytest.raises(DivergedError, match="'1.running_mean' is no longer finite"):
        federation.round(2)


def test_a_base_that_is_missing_or_anothers_is_refused(tmp_path):
    federation = run(tmp_path / "one", FEDBN, rounds=0)
    [client, _] = federation.clients
    with pytest.raises(JobDocumentError, match="belong together"):
        LoadedJob(client.document, client.source, None)
    other = run(tmp_path / "other", Parts(frozen=["4.*"]), rounds=0)
    with pytest.raises(JobDocumentError, match="'1.bias' is not in its base"):
        LoadedJob(client.document, client.source, other.base)


def test_a_frozen_base_is_mapped_and_not_copied(tmp_path):
    federation = run(tmp_path, Parts(frozen=["0.*"]), rounds=1)
    job = federation.clients[0].job
    one, other = job.build(), job.build()
    assert one[0].weight.data_ptr() == other[0].weight.data_ptr()
    assert one[4].weight.data_ptr() != other[4].weight.data_ptr()
