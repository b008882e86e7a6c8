"""A sealed job on the dashboard: not to be checked by strangers, and right for members."""

from __future__ import annotations

from tests.galaxy_chain.dashboard.served import served


def test_a_sealed_round_is_checked_where_the_keys_are_and_called_right_nowhere_else(sealed, tmp_path):
    sealed.submit(0, 1, 2)
    sealed.commit()
    with served(sealed, home=tmp_path / "stranger") as asked:
        verdict = asked.verdict(1)
        assert (verdict["judgement"], verdict["lie"]) == ("unchecked", None)
        assert "galaxy-chain key" in verdict["missing"]
    with served(sealed, home=sealed.home(sealed.clients[0])) as asked:
        assert asked.verdict(1)["judgement"] == "right"
