"""What a worker makes of a document's layout, local tensors and frozen parameters, its own or a stranger's."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from galaxy_fl.exceptions import JobDocumentError, TrainingError
from galaxy_fl.jobs.local_tensors import LocalTensor
from galaxy_fl.jobs.specification import TrainSpecification
from tests.numerics import zoo
from tests.numerics.federation import Client, Federation

TRAIN = TrainSpecification(learning_rate=0.1, batch_size=4)


def federation(kind, folder):
    return Federation(kind, TRAIN, folder, clients=1)


def again(one, **change):
    """A client of the same job, whose document was changed."""
    client = one.clients[0]
    return Client(one.job.model_copy(update=change), client.source, client.data, "1/1", client._folder, client.base)


@pytest.fixture
def annealed(tmp_path):
    return federation(zoo.Annealed, tmp_path)


def local(**tensors):
    return [LocalTensor.of(name, value) for name, value in tensors.items()]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"local": local(steps=torch.tensor(0))}, "layout is not that of its model: .*"),
        ({"local": local(steps=torch.tensor(0), odd=torch.tensor(0))}, "'odd', .*'int64'"),
        ({"local": local(steps=torch.zeros(2, dtype=torch.int64), odd=torch.tensor(False))}, r"'steps', \(\(2,\)"),
    ],
)
def test_documents_that_are_not_of_their_model_are_refused(annealed, change, said):
    again(annealed)
    with pytest.raises(JobDocumentError, match=said):
        again(annealed, **change)


def test_a_parameter_is_not_a_constant(annealed):
    layout = [entry for entry in annealed.job.layout if entry["name"] != "out.bias"]
    taken = [*annealed.job.local, *local(**{"out.bias": torch.zeros(3)})]
    with pytest.raises(JobDocumentError, match="takes the parameter 'out.bias' for a constant"):
        again(annealed, layout=layout, local=taken)


def test_training_leaves_what_it_changed_of_the_integers(annealed, tmp_path):
    annealed.round(1)
    kept = load_file(tmp_path / "1" / "own-1")
    assert kept.keys() == {"steps"}  # after an even number of batches `odd` is what it was
    assert kept["steps"].item() == 6
    annealed.round(2)
    assert load_file(tmp_path / "1" / "own-2")["steps"].item() == 12


@pytest.mark.parametrize("content", [{"others": torch.tensor(1)}, {"steps": torch.tensor(1.0)}, None])
def test_what_a_client_has_kept_is_checked(annealed, tmp_path, content):
    client = annealed.clients[0]
    annealed.round(1)
    if content is None:
        (tmp_path / "1" / "own-1").write_bytes(b"damaged")
    else:
        save_file(content, tmp_path / "1" / "own-1")
    with pytest.raises(TrainingError, match="own-1.*: remove"):
        client.train(tmp_path / "model-1", 2)


def test_a_constant_that_training_changes_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match="changed the buffer 'mask', which is a constant"):
        federation(zoo.Unmasking, tmp_path)


def test_frozen_parameters_do_not_move(tmp_path):
    one = federation(zoo.Frozen, tmp_path)
    assert [tensor.name for tensor in one.job.frozen] == ["0.weight", "0.bias"]
    assert [tensor.name for tensor in one.job.tensors.tensors] == ["2.weight", "2.bias"]
    before = one.model.state_dict()
    one.round(1)
    model = one.clients[0].job.model()
    assert not any(parameter.requires_grad for parameter in model[0].parameters())
    assert torch.equal(model[0].weight, before["0.weight"])


def test_evaluation_and_teachers_have_the_integers_that_the_job_began_with(annealed):
    job = annealed.clients[0].job
    annealed.round(1)
    state = job.state(annealed._folder / "model-1")
    assert state["steps"].item() == 0
    assert not state["odd"]
