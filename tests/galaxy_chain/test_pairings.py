"""Pairings of py_ecc that prepare themselves are the same functions, and importing what could use them prepares none."""

from __future__ import annotations

import subprocess
import sys
import textwrap

PROGRAM = """
    import sys
    from importlib.util import module_from_spec, spec_from_file_location

    import galaxy_chain
    import eth.precompiles
    import eth_account
    from py_ecc import bls12_381, optimized_bls12_381
    from py_ecc.bls import G2ProofOfPossession as bls

    def real(name):
        spec = spec_from_file_location(name, sys.modules[name].__spec__.origin)
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    name = "py_ecc.optimized_bls12_381.optimized_pairing"
    assert "exptable" not in vars(sys.modules[name])
    assert "py_ecc.bls12_381.bls12_381_pairing" in sys.modules
    curve = optimized_bls12_381
    twice = curve.pairing(curve.multiply(curve.G2, 2), curve.G1)
    assert twice == curve.pairing(curve.G2, curve.multiply(curve.G1, 2))
    assert twice == real(name).pairing(curve.multiply(curve.G2, 2), curve.G1)
    assert sys.modules[name].exptable == real(name).exptable
    signature = bls.Sign(5, b"galaxy")
    assert bls.Verify(bls.SkToPk(5), b"galaxy", signature)
    assert not bls.Verify(bls.SkToPk(6), b"galaxy", signature)
"""


def test_they_are_the_same_and_nothing_is_prepared_by_an_import():
    subprocess.run([sys.executable, "-c", textwrap.dedent(PROGRAM)], check=True, timeout=600)
