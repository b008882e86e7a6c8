"""Where a job can't work for anybody, nobody waits for ever, and a program's exit code says so."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

from galaxy_fl.core.job_manager import JobManager
from galaxy_fl.core.program import run_program
from galaxy_fl.core.server import FLStandaloneServer
from galaxy_fl.core.strategy import TrainStrategyFactory
from galaxy_fl.core.trainer_controller import TrainerController
from galaxy_fl.exceptions import DataError, GivenUpError, RoundMovedOnError
from galaxy_fl.modes import folder_coordinators
from galaxy_fl.participants.giving_up import giving_up
from galaxy_fl.participants.participant import Outcome
from galaxy_fl.participants.participation import Participation
from galaxy_fl.participants.work import StoppedError
from tests.galaxy_fl.core.models import Net

DIGITS = TensorDataset(torch.rand(40, 64), torch.arange(40) % 10)
OTHERS = TensorDataset(torch.rand(40, 3), torch.arange(40) % 10)


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def submit(**arguments) -> str:
    job = JobManager().generate_job(model=Net, train_strategy=TrainStrategyFactory(epoch=1, batch_size=20), **arguments)
    JobManager().submit_job(job, Net())
    return job.job_id


def codes(*participants) -> list[object]:
    """Runs clients and servers until all jobs are over, and gives the exit code of each."""
    found: dict[int, object] = {}

    def run(number: int) -> None:
        try:
            participants[number].start(until_done=True)
            found[number] = 0
        except SystemExit as error:
            found[number] = error.code

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(participants))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    return [found.get(number) for number in range(len(participants))]


def test_a_client_whose_data_do_not_fit_ends_and_so_does_the_server(capfd, monkeypatch):
    monkeypatch.setattr(folder_coordinators, "LEAST_PATIENCE", 0)
    job = submit(deadline=0)
    assert codes(FLStandaloneServer("fed_avg"), TrainerController(data=OTHERS)) == [16, 8]
    said = capfd.readouterr().err
    assert f"job {job}: given up: samples of shape (3,)" in said
    assert f"job {job}: given up: every client that came has given up, and no other has come (0: samples of" in said


def test_the_client_whose_data_fit_goes_on(capfd):
    job = submit()
    participants = (
        FLStandaloneServer("fed_avg"),
        TrainerController(data=OTHERS, client_id="wrong"),
        TrainerController(data=DIGITS, client_id="right"),
    )
    assert codes(*participants) == [0, 8, 0]
    assert Path(f"final_model_pars_{job}").exists()


def test_a_server_that_fails_ends_and_so_do_its_clients(capfd):
    job = submit()
    Path(f"res/jobs/{job}/models/2/in the way").mkdir(parents=True)
    assert codes(FLStandaloneServer("fed_avg"), TrainerController(data=DIGITS)) == [6, 16]
    assert f"job {job}: given up: its server has given it up: " in capfd.readouterr().err


class Told:
    """A coordinator that hears of it."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def give_up(self, reason: str) -> None:
        self.reasons.append(reason)
        raise OSError("it can't be written")  # which hides nothing


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DataError("no data"), ["no data"]),
        (AssertionError(), ["AssertionError"]),
        (RoundMovedOnError("begun again"), []),
        (StoppedError("the program ends"), []),
        (GivenUpError("by the server"), []),
    ],
)
def test_the_others_hear_of_what_is_for_good(error, told):
    coordinator = Told()
    with pytest.raises(type(error)), giving_up(coordinator):
        raise error
    assert coordinator.reasons == told


class Shelf:
    name = "the shelf"

    def jobs(self) -> list[str]:
        return ["1", "2"]

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("error", "code"), [(DataError("no data"), 8), (AssertionError("a mistake"), 1)])
def test_a_program_ends_with_an_error_where_all_of_its_jobs_were_given_up(capfd, error, code):
    def fail(place, job_id, work):
        raise error

    with pytest.raises(SystemExit) as caught:
        run_program(Participation([Shelf()], fail).run, until_done=True)
    assert caught.value.code == code
    assert capfd.readouterr().out.endswith("2 of 2 jobs given up\n")


def test_where_one_went_well_the_program_goes_on_and_says_how_many_did_not(capfd):
    def take_part(place, job_id, work):
        if job_id == "1":
            raise DataError("no data")
        return Outcome(job_id)

    run_program(Participation([Shelf()], take_part).run, until_done=True)
    assert capfd.readouterr().out.endswith("1 of 2 jobs given up\n")


def test_an_interrupt_ends_a_program_with_its_own_code(capfd):
    def interrupted(forever):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        run_program(interrupted, until_done=False)
    assert caught.value.code == 130
    assert capfd.readouterr().out.endswith("stopped; started again, it continues where it was\n")
