"""What users get shows itself in a notebook: jobs and outcomes as tables, reports as pictures; all of it escaped."""

from __future__ import annotations

from pathlib import Path

import pytest

import galaxy_fl as galaxy
from galaxy_fl.exceptions import ConfigurationError, GalaxyError
from galaxy_fl.participants.participant import Outcomes
from galaxy_fl.participants.report import RoundLine
from galaxy_fl.training.results import Evaluation


@pytest.fixture
def report(tmp_path: Path) -> Path:
    rounds = [
        RoundLine(round=number, test=Evaluation(loss=1 / number, accuracy=0.5, samples=10)) for number in range(1, 4)
    ]
    path = tmp_path / "report_1_server.json"
    made = galaxy.Report(job="1", document="ab" * 32, name="<script>", participant="<b>server", rounds=rounds)
    path.write_text(made.model_dump_json())
    return path


def test_a_job_is_a_table_of_what_it_says_with_its_defaults():
    job = galaxy.Job(model="mlp", rounds=7, name="<script>alert(1)</script>", train=galaxy.Train(learning_rate=0.5))
    shown = job._repr_html_()
    for part in ("mlp", "&lt;script&gt;alert(1)", "learning_rate", "0.5", "batch_size", "32", "weighted_mean"):
        assert part in shown
    assert "<script" not in shown
    assert repr(job).startswith("Job(model='mlp', rounds=7, train=Train(learning_rate=0.5)")
    assert "learning_rate" in galaxy.Train(learning_rate=0.5)._repr_html_()
    assert "alpha" in galaxy.Distillation(alpha=0.5)._repr_html_()
    assert "fedadam" in galaxy.Averaging("fedadam")._repr_html_()


def test_a_report_is_a_picture(report):
    read = galaxy.Report.read(report)
    assert repr(read) == "Report(job='1', participant='<b>server', rounds=3)"
    picture = read._repr_svg_()
    assert picture.startswith("<svg")
    assert "&lt;b&gt;server" in picture
    assert galaxy.Report(job="1", document="", name="", participant="")._repr_svg_() is None


def test_a_report_that_can_not_be_read(tmp_path):
    with pytest.raises(ConfigurationError, match=r"the report .*nothing\.json can't be read: No such file"):
        galaxy.Report.read(tmp_path / "nothing.json")
    (tmp_path / "other.json").write_text('{"job": 1}')
    with pytest.raises(ConfigurationError, match=r"other\.json is not a participant's report: job"):
        galaxy.Report.read(tmp_path / "other.json")


def test_outcomes_are_a_table(report):
    outcomes = Outcomes(
        [
            galaxy.Outcome("1", rounds=3, report=report),
            galaxy.Outcome("<2>", error=GalaxyError("no <way>"), cancelled=False),
        ]
    )
    shown = outcomes._repr_html_()
    for part in ("<bdi>over</bdi>", "given up: no &lt;way&gt;", "&lt;2&gt;", "report_1_server.json"):
        assert part in shown
    assert "client" not in shown  # nobody is hosted
    assert outcomes == list(outcomes)
    assert "over" in outcomes[0]._repr_html_()
    assert outcomes[0].curves == galaxy.Report.read(report)
    assert outcomes[1].curves is None
    assert Outcomes()._repr_html_().startswith("<table>")
