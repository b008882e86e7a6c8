"""What a server's and a client's options for early stopping and tracking refuse, before anything is staked."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--best", "loss"], r"give it test data \(--data\)"),
        (["--data", "digits", "--best", "f1"], "write f1:max or f1:min"),
        (["--data", "digits", "--patience", "3"], r"--best accuracy"),
        (["--data", "digits", "--stop-when", "accuracy=1"], "expected a measure, >= or <=, and a number"),
        (["--data", "digits", "--stop-when", "loss<=0.1"], "can be ended early by its owner 0x"),
        (["--track", "wandb:x"], "track begins with 'wandb', expected tensorboard:DIR, mlflow:URI or csv:FILE"),
        (["--track", "mlflow:http://me:s3cret@host"], "set MLFLOW_TRACKING_USERNAME"),
    ],
)
def test_a_server_says_what_is_wrong(at_ledger, federation, options, said):
    at_ledger.fails(2, said, "server", "--job", federation.job, "--account", "dev:1", *options)
    assert "s3cret" not in at_ledger.err
    assert federation.ledger().account_of(federation.job, federation.server).bond == 0


def test_a_client_says_what_is_wrong(at_ledger, federation):
    options = ["--data", "digits", "--account", "dev:2", "--track", "csv:"]
    at_ledger.fails(2, "expected tensorboard:DIR", "client", "--job", federation.job, *options)
