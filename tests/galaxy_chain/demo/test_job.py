"""Terms of a demonstration: the job's own, but for who and how many take part."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from galaxy_chain.demo.job import OwnJob, example_job, with_terms
from galaxy_chain.jobs.file import JobFile
from galaxy_fl.exceptions import ConfigurationError

SERVER = "0x" + "22" * 20


@pytest.fixture
def job_file(tmp_path):
    path = tmp_path / "job.toml"
    path.write_text(
        example_job().replace("max_clients = 4", "max_clients = 4\nmax_excluded = 3\nmax_weight = 16000000")
    )
    return JobFile.read(path)


def test_so_many_clients_are_in_each_round(job_file):
    changed = with_terms(job_file, 2, server=SERVER, rounds=9)
    decided = {"min_clients": 2, "max_clients": 2, "max_excluded": 2, "server": SERVER, "rounds": 9}
    assert changed.terms.model_dump() == job_file.terms.model_dump() | decided
    assert changed.model_copy(update={"terms": job_file.terms}) == job_file


def test_terms_that_do_not_suit_so_many(job_file):
    told = "the terms of 'digits' don't suit 300 clients: .*set max_weight to 14316557 or less"
    with pytest.raises(ConfigurationError, match=told):
        with_terms(job_file, 300, server=SERVER)


@pytest.mark.parametrize(("builtin", "modules"), [("cnn", ()), ("torchvision:resnet18", ("torchvision.models",))])
def test_what_takes_long_to_import_is_known_before_the_file_is_read_with_care(tmp_path, builtin, modules):
    path = tmp_path / "job.toml"
    path.write_text(example_job().replace('"cnn"', f'"{builtin}"'))
    assert OwnJob(path, "digits").modules == modules


def test_a_pipe_is_read_once(tmp_path):
    path = tmp_path / "job.toml"
    os.mkfifo(path)
    own = OwnJob(path, "digits")
    assert own.modules == ()
    with ThreadPoolExecutor(1) as writer:
        written = writer.submit(path.write_text, example_job())
        assert own.written.name == "digits"
        written.result()
