"""The embedded chain, of which these tests are too: each of its answers has to be read rightly."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from galaxy_chain.ledger.deployment import Deployment
from galaxy_chain.node import Node


@pytest.fixture(scope="session")
def node(embedded: Node) -> Node:
    """The embedded chain."""
    return embedded


@pytest.fixture(scope="session")
def deployment(embedded_deployment: Deployment) -> Deployment:
    """A ledger on it."""
    return embedded_deployment


@dataclass
class Certified:
    """A certificate for 127.0.0.1 that nobody trusts, unless it is named as an authority."""

    certificate: Path
    key: Path

    def tls(self) -> ssl.SSLContext:
        """What a server needs that has it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


@pytest.fixture(scope="session")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    folder = tmp_path_factory.mktemp("certificate")
    made = Certified(folder / "certificate.pem", folder / "key.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"),
            *("-keyout", made.key, "-out", made.certificate),
        ],
        check=True,
        capture_output=True,
    )
    return made
