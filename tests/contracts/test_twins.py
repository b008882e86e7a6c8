"""What the contracts compute of entries and records is what the test vectors say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from web3.contract import Contract

from galaxy_chain.ledger.submissions import show
from tests.contracts.ledger import Chain
from tests.galaxy_chain.ledger.unpacking import unpack_submissions
from tests.vectors.ledger_vectors import Attempt, attempts, records


@pytest.fixture
def twins(chain: Chain, test_contracts: dict[str, dict[str, Any]]) -> Contract:
    return chain.deploy(test_contracts["Twins"])


def read(chain: Chain, twins: Contract, attempt: Attempt, submissions: bytes) -> tuple[bytes, dict[int, Any]]:
    found = chain.view("read", submissions, attempt.start, to=twins)
    shown = zip(found.clients, found.weights, found.commitments, strict=True)
    return found.head, dict(zip(found.numbers, shown, strict=True))


def test_heads_and_what_is_shown(chain: Chain, twins: Contract) -> None:
    for attempt in attempts():
        everything = {
            i: (e.client.lower(), e.update.weight, e.update.commitment) for i, e in enumerate(attempt.entries)
        }
        for numbers, submissions in (*attempt.shown, (tuple(everything), show(attempt.blocks))):
            head, shown = read(chain, twins, attempt, submissions)
            assert head == attempt.head
            assert set(numbers) <= shown.keys()
            assert all(everything[n] == (client.lower(), *rest) for n, (client, *rest) in shown.items())


def test_records_and_bit_maps(chain: Chain, twins: Contract) -> None:
    for record, vector in records():
        fields = {**vars(record), "next": tuple(vars(record.next).values())}
        assert chain.view("word", tuple(fields.values()), to=twins).hex() == vector["word"]
        found = chain.view("excluded", record.excluded, record.updates, to=twins)
        assert (found.fits, found.count) == (True, len(vector["excluded_numbers"]))


def _outcome(chain: Chain, twins: Contract, attempt: Attempt, submissions: bytes) -> Any:
    """The head and the numbers shown, as the contract has them; None where it refuses."""
    failure = chain._failure(chain._message(chain.accounts[0], twins, "read", (submissions, attempt.start), 0))
    if failure is not None:
        return None
    head, shown = read(chain, twins, attempt, submissions)
    return head, sorted(shown)


def _ours(attempt: Attempt, submissions: bytes) -> Any:
    try:
        shown = unpack_submissions(attempt.start, submissions)
    except ValueError:
        return None
    return shown.head, sorted(shown.entries)


def test_the_twin_refuses_what_the_contract_refuses(chain: Chain, twins: Contract) -> None:
    """Cut off, lengthened and altered: both take the same for submissions, and see the same in them."""
    attempt = attempts()[7]  # 65 blocks of one entry
    submissions = show(attempt.blocks, [3, 64])

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def same(data: st.DataObject) -> None:
        altered = bytearray(submissions)
        match data.draw(st.sampled_from(["cut", "longer", "altered"])):
            case "cut":
                altered = altered[: data.draw(st.integers(0, len(altered) - 1))]
            case "longer":
                altered += data.draw(st.binary(min_size=1, max_size=40))
            case "altered":
                places = [0, 1, len(altered) - 90, len(altered) - 89, data.draw(st.integers(0, len(altered) - 1))]
                altered[data.draw(st.sampled_from(places))] = data.draw(
                    st.sampled_from([0, 1, 63, 64, 65, 128, 129, 255])
                )
        assert _outcome(chain, twins, attempt, bytes(altered)) == _ours(attempt, bytes(altered))

    same()
