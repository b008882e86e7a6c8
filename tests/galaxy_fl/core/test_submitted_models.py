"""What becomes of a submitted model: refused where participants would not get it, else the same for all to the end."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from galaxy_fl.core.job_manager import JobManager
from galaxy_fl.core.server import FLStandaloneServer
from galaxy_fl.core.strategy import FederateStrategy, TrainStrategyFatorcy
from galaxy_fl.core.trainer_controller import TrainerController
from galaxy_fl.exceptions import EncodingError
from galaxy_fl.exceptions.fl_expection import PFLException
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.vectors import decode, read_vector
from tests.galaxy_fl.core.submitted import Lazy, Masked, Options, Sized, Slope


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def submit(model, *, sample=None, **more):
    strategy = TrainStrategyFatorcy(learning_rate=0.1, batch_size=16, epoch=2, loss_function="NLLLoss")
    job = JobManager().generate_job(train_strategy=strategy, model=type(model), output="probabilities", **more)
    JobManager().submit_job(job, model, sample=sample)
    return job.get_job_id()


def document(job):
    return JobDocument.from_bytes(Path(f"res/jobs/{job}/job.json").read_bytes())


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Options(p=0.1), r"layers\.2\.p is 0\.1, the class makes 0\.5"),
        (Options(activation="tanh"), "activation is .*tanh, the class makes .*relu"),
        (Sized(9), r"'layers\.1\.weight' of the model has the shape \(9, 64\)"),
        (Lazy(), r"'layers\.1\.weight' has no size"),
        (Sized().double(), r"'layers\.1\.weight' of the model has the type torch\.float64"),
        (Sized().requires_grad_(False), "nothing to train"),
    ],
)
def test_what_participants_would_not_get_is_refused_before_there_is_a_job(folder, capsys, model, said):
    with pytest.raises(PFLException, match=said):
        submit(model)
    assert not list(folder.glob("res/jobs/*"))
    assert "added successfully" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (b"# caf\xe9\n", "is not UTF-8"),
        (b"from torch import nn\nclass Sized(nn.Module):\n    def __init__(self, n): pass\n", "without arguments"),
        (b"class Other: pass\n", "defines no torch.nn.Module"),
        (b"import modul\n", "imports 'modul', which is not here"),
        (b"from galaxy_fl.core.job_manager import JobManager\nJobManager().generate_job()\n", "does more than define"),
    ],
)
def test_source_that_no_participant_could_use_is_refused_before_there_is_a_job(folder, source, said):
    job = JobManager().generate_job(model=Sized)
    Path("model.py").write_bytes(source)
    job.set_train_model("model.py")
    with pytest.raises(PFLException, match=said):
        JobManager().submit_job(job, Sized())
    assert not list(folder.glob("res/jobs/*"))


def test_the_output_on_a_sample_is_compared(monkeypatch):
    model = Sized()
    submit(model, sample=torch.rand(3, 1, 8, 8))
    monkeypatch.setattr(Sized, "forward", lambda self, x: 2 * self.layers(x))
    with pytest.raises(PFLException, match="on the sample"):
        submit(model, sample=torch.rand(3, 1, 8, 8))


def test_fraction_bits_are_set_where_a_job_is_described():
    model = Masked()
    model.norm.running_var.fill_(3e8)
    with pytest.raises(EncodingError, match=r"norm\.running_var.*3e8|300000000"):
        submit(model, fraction_bits={"norm.running_*": 16})
    job = submit(model, fraction_bits={"norm.*": 1})
    bits = {tensor.name: tensor.fraction_bits for tensor in document(job).tensors.tensors}
    assert (bits["norm.weight"], bits["norm.running_var"], bits["out.weight"]) == (1, 1, 24)
    assert JobManager.get_job_list("res/jobs")[0].fraction_bits == bits
    # Without them, they follow from the values.
    bits = {tensor.name: tensor.fraction_bits for tensor in document(submit(model)).tensors.tensors}
    assert bits["norm.running_var"] == -2
    with pytest.raises(PFLException, match=r"'nrom\.\*', which fits none"):
        submit(model, fraction_bits={"nrom.*": 4})


def run(*participants):
    threads = [threading.Thread(target=one.start, args=(True,), daemon=True) for one in participants]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
        assert not thread.is_alive()


def part(number):
    return {"data": "digits", "shard": f"{number}/20", "client_id": number}


def federation():
    """Without test data, so that the server never has the model's code."""
    clients = [TrainerController(**part(number)) for number in (1, 2)]
    run(FLStandaloneServer(FederateStrategy.FED_AVG), *clients)


def test_what_can_travel_does_and_the_final_file_loads_strictly():
    torch.manual_seed(3)
    model = Masked()
    model.order.copy_(torch.tensor([7, 6, 5, 4, 3, 2, 1, 0]))
    model.hidden.requires_grad_(False)
    begun = {name: value.clone() for name, value in model.state_dict().items()}
    job = submit(model, min_clients=2)
    assert [tensor.name for tensor in document(job).frozen] == ["hidden.weight", "hidden.bias"]
    federation()
    final = torch.load(f"final_model_pars_{job}", weights_only=True)
    model.load_state_dict(final)
    beside = load_file(f"final_model_pars_{job}.safetensors")
    assert final.keys() == beside.keys() == begun.keys()
    for name in ("mask", "order", "norm.num_batches_tracked"):
        assert torch.equal(final[name], begun[name])
    for name in ("hidden.weight", "hidden.bias"):
        assert torch.equal(final[name], begun[name])  # to the bit, as no fixed point has carried them
    assert not torch.equal(final["out.weight"], begun["out.weight"])
    layout = document(job).tensors
    expected = decode(read_vector(f"res/jobs/{job}/models/3", layout.parameters), layout)
    assert all(torch.equal(final[name], value) for name, value in expected.items())


def test_a_model_of_one_parameter_is_trained(folder):
    job = submit(Slope(), min_clients=2)
    assert (document(job).tensors.parameters, document(job).tensors.padding) == (9, 8)
    federation()
    state = torch.load(f"final_model_pars_{job}", weights_only=True)
    assert list(state) == ["slope"]
    assert state["slope"].item() != pytest.approx(0.1)
    assert not read_vector(f"res/jobs/{job}/models/3", 9)[1:].any()
