"""The report of a job: what it says is what the ledger and an audit say, and nothing in it runs, asks or hides."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace

import html5lib

from galaxy_chain.ledger.structs import Model
from galaxy_chain.report.facts import gather
from galaxy_chain.report.page import render
from galaxy_fl.content import ContentId, LocalStore
from galaxy_fl.jobs.document import JobDocument
from tests.adversary.arena import OffByOne, rival, serve_round, server, tower
from tests.galaxy_chain.federation import DOCUMENT, alter
from tests.galaxy_chain.seal.conftest import sealed

__all__ = ["sealed"]

NOW = 1_800_000_000


def facts_of(federation, folder, **settings):
    store = LocalStore(federation.store.root)
    metrics = folder / "metrics.jsonl"
    return gather(federation.ledger(), federation.deployment, store, federation.job, folder, metrics, **settings)


def report(federation, folder, **settings):
    """The page of a job, which is valid HTML."""
    text = render(facts_of(federation, folder, **settings), NOW).decode()
    html5lib.HTMLParser(strict=True).parse(text)
    return text


def seen(text):
    """What somebody reads, and the elements."""
    tree = html5lib.parse(text, namespaceHTMLElements=False)
    return " ".join(" ".join(tree.find("body").itertext()).split()), tree


def two_rounds(federation):
    for seed in (1, 2):
        federation.submit(0, 1, 2, seed=seed)
        federation.commit(excluded=(1,) if seed == 2 else ())


def test_a_whole_job_is_there_with_every_hash(federation, tmp_path):
    federation.job = federation.register(pool=10**18, rounds=2)
    two_rounds(federation)
    facts = facts_of(federation, tmp_path)
    read, _ = seen(report(federation, tmp_path))
    assert "All 2 rounds that were committed are right" in read
    assert "The pool has 1 ether. Each round is worth an equal part of what is left of the pool" in read
    for commit in facts.history.commits.values():
        record = commit.record
        for digest in (commit.word, record.previous_root, record.next.root, record.head, commit.transaction):
            assert digest.hex() in read
        assert record.server in read
        for entry in commit.entries:
            assert entry.client in read
            assert entry.update.commitment.hex() in read
            assert facts_content(entry.update.content) in read
    for event in facts.events:
        assert event.transaction.hex() in read
    assert facts_content(facts.history.initial.content) in read
    assert f"{federation.clients[1]} (left out)" in read
    assert f"{federation.clients[1]} was excluded, though its update is there and right" in read
    assert str(federation.deployment.ledger) in read
    assert all(code.known and code.keccak in read for code in facts.place.codes)


def facts_content(digest):
    return ContentId(digest, 600).cid


def test_it_runs_nothing_and_asks_for_nothing(federation, tmp_path):
    two_rounds(federation)
    text = report(federation, tmp_path)
    _, tree = seen(text)
    assert {each.tag for each in tree.iter()}.isdisjoint({"script", "link", "img", "iframe", "object", "base", "form"})
    for element in tree.iter():
        assert not any(name.startswith("on") or name in ("style", "src", "srcset") for name in element.attrib)
        assert element.get("href", "#").startswith("#")
    assert "url(" not in text
    assert "@import" not in text
    (policy,) = [each.get("content") for each in tree.iter("meta") if each.get("http-equiv")]
    (style,) = [each.text for each in tree.iter("style")]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none';")
    assert f"style-src 'sha256-{digest}'" in policy


def test_the_same_facts_and_time_make_the_same_bytes(federation, tmp_path):
    two_rounds(federation)
    assert report(federation, tmp_path) == report(federation, tmp_path)


def test_a_lie_is_shown_with_both_values_and_with_what_punished_it(federation, tmp_path):
    federation.submit(0, 1, 2)
    lying = server(federation, OffByOne)
    serve_round(lying)
    lie = lying.history.commits[1]
    read, _ = seen(report(federation, tmp_path))
    assert "WRONG: what was committed in round 1 is not what its updates make." in read
    tower(federation).look()
    serve_round(server(federation, account=rival(federation)))
    facts = facts_of(federation, tmp_path)
    (verdict,) = facts.lies
    assert (verdict.commit.word, verdict.difference.what) == (lie.word, f"parameter {OffByOne.wrong}")
    read, tree = seen(report(federation, tmp_path))
    assert "What had first been committed in round 1 was wrong. It was taken back, and 1 server lost a bond" in read
    assert "The one round is right" in read
    (shown,) = [each for each in tree.iter("table") if each.get("class") == "lie"]
    cells = ["".join(cell.itertext()) for cell in shown.iter("td")]
    found = verdict.difference
    assert cells == [found.where, found.what, str(found.committed), str(found.recomputed)]
    assert found.committed == found.recomputed + 1
    (slashed,) = [event for event in facts.events if event.name == "BondSlashed"]
    assert f"{lie.record.server} lost its bond of 1 ether, 0.25 ether of it to {slashed.finder}" in read
    assert f"by transaction 0x{slashed.transaction.hex()}" in read
    assert "Round 1 (attempt 1, taken back): WRONG" in read


def test_what_can_not_be_checked_is_said_and_nothing_is_called_right(federation, tmp_path):
    two_rounds(federation)
    facts = facts_of(federation, tmp_path)
    alter(federation.content(facts.history.commits[1].entries[0].update.content))
    read, _ = seen(report(federation, tmp_path))
    assert "1 round could not be recomputed" in read
    assert "1 of 2 rounds were recomputed and are right" in read
    assert f"Round 1, attempt 1 round 1: the update of {facts.history.commits[1].entries[0].client}" in read
    federation.store.path(federation.store.put(federation.store.block(facts.history.terms.spec))).unlink()
    read, _ = seen(report(federation, tmp_path))
    assert "No round could be recomputed" in read
    assert "(its document is not at hand)" in read
    assert " are right" not in read


def test_what_is_committed_meanwhile_is_not_in_it(federation, tmp_path):
    federation.submit(0, 1, 2)
    federation.commit()
    federation.submit(0, 1, 2, seed=2)

    def commit_another(verdict):
        federation.commit()

    facts = facts_of(federation, tmp_path, say=commit_another)
    assert set(facts.history.commits) == {1}
    assert facts.place.block < federation.rpc.block("latest").number
    assert federation.ledger().job_of(federation.job).state.round == 3


def test_an_initial_model_that_is_missing_is_not_a_lie_and_one_with_another_root_is(federation, tmp_path):
    federation.content(facts_of(federation, tmp_path).history.initial.content).unlink()
    read, _ = seen(report(federation, tmp_path))
    assert "About the initial model" in read
    assert "WRONG" not in read
    content = federation.store.put(federation.initial.data)
    ledger = federation.ledger(federation.owner)
    ledger.register_job(federation.terms(), Model(b"\7" * 32, content.digest)).transact()
    federation.job = ledger.jobs()
    (trouble,) = facts_of(federation, tmp_path).troubles
    assert trouble.wrong
    assert trouble.why in seen(report(federation, tmp_path))[0]


def test_rounds_that_were_not_asked_for_are_not_called_right(federation, tmp_path):
    two_rounds(federation)
    read, _ = seen(report(federation, tmp_path, rounds="last"))
    assert "1 of 2 rounds were recomputed and are right" in read
    assert "1 round not asked for, and not recomputed." in read
    assert "Round 1: not recomputed" in read


def test_a_job_under_way_and_one_that_was_cancelled_say_so(federation, tmp_path):
    read, _ = seen(report(federation, tmp_path))
    assert "The job is under way" in read
    assert "No round is committed yet" in read
    federation.submit(0, 1, 2)
    federation.commit()
    federation.ledger(federation.owner).cancel_job(federation.job).transact()
    read, _ = seen(report(federation, tmp_path))
    assert "The job was cancelled, and ends with round 2 of 2" in read
    assert "State can be challenged until 20" in read
    federation.travel(100_000)
    assert "State can be settled" in seen(report(federation, tmp_path))[0]


def test_updates_that_are_in_no_commit_are_there(federation, tmp_path):
    federation.submit(0, 1)
    serving = federation.serve()
    federation.travel(100 + 4 * 600 + 100)
    serving.reopen(serving.round(), {})
    federation.submit(2, seed=2)
    facts = facts_of(federation, tmp_path)
    (given_up,) = facts.history.reopened
    read, _ = seen(report(federation, tmp_path))
    assert "Round 1, attempt 1: given up" in read
    assert f"{federation.server} had the round collected again" in read
    assert "Round 1, attempt 2: still collected" in read
    assert "2 of 2 updates are there and right, and 2 make a round" in read
    for entry in (*given_up.entries, *facts.history.entries):
        assert entry.update.commitment.hex() in read


def test_a_commit_that_was_set_aside_is_there_with_its_verdict(federation, tmp_path):
    federation.submit(0, 1, 2)
    federation.commit()
    other = federation.serve(federation.node.accounts[5])
    commit = other.history.commits[1]
    federation.travel(7_300)
    other.ledger.supersede(federation.job, commit.record).transact()
    read, _ = seen(report(federation, tmp_path))
    assert "Round 1 (attempt 1, taken back): right State set aside" in read
    assert f"{other.address} set the commit of round 1 by {federation.server} aside" in read
    assert f"set aside by {other.address}: its model is there and right" in read


def test_of_a_sealed_job_nothing_is_called_right_without_the_keys(sealed, tmp_path):
    sealed.submit(0, 1, 2)
    sealed.commit()
    read, _ = seen(report(sealed, sealed.home(sealed.node.accounts[9])))
    assert "1 round could not be recomputed" in read
    assert " are right" not in read
    assert "are not here: ask its owner" in read
    assert "encrypted; only members" in read
    commit = facts_of(sealed, sealed.home(sealed.clients[0])).history.commits[1]
    lying = ContentId(commit.record.next.content, 32 + 600 + 16)
    assert lying.cid in read
    assert sealed.store.has(lying)
    assert "The one round is right" in seen(report(sealed, sealed.home(sealed.clients[0])))[0]


HOSTILE = "a<script>alert(1)</script>\"&'</title><!-- é שלום"


def test_hostile_texts_are_shown_as_texts(federation, tmp_path):
    document = JobDocument.model_validate(
        DOCUMENT.model_dump(mode="json", exclude_none=True)
        | {"name": HOSTILE, "notes": "over\u202ethere\u200b</pre>\n<img src=x onerror=alert(1)>\x07"}
    )
    federation.job = federation.register(document)
    text = report(federation, tmp_path)
    assert "<script" not in text
    read, tree = seen(text)
    assert HOSTILE in " ".join(tree.find("head/title").itertext())
    assert HOSTILE in read
    assert "over⟨U+202E⟩there⟨U+200B⟩</pre> <img src=x onerror=alert(1)>⟨U+0007⟩" in read
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\x00-\x08]", text)


def test_measurements_are_drawn_and_a_name_of_one_is_a_text(federation, tmp_path):
    two_rounds(federation)
    facts = facts_of(federation, tmp_path)
    measured = {
        (commit.attempt, commit.record.next.root.hex()): {
            "loss": 1 / number,
            "accuracy": float("nan") if number == 1 else 0.5,
            "metrics": {"<b>F1": 0.25 * number, "none": None},
        }
        for number, commit in facts.history.commits.items()
    }
    text = render(replace(facts, measured=measured), NOW).decode()
    html5lib.HTMLParser(strict=True).parse(text)
    assert text.count("<svg") == 2
    assert "&lt;b&gt;F1" in text
    assert "nan" not in text


def test_many_updates_are_lines_and_are_folded(federation, tmp_path, monkeypatch):
    monkeypatch.setattr("galaxy_fl.tables.LONG", 2)
    monkeypatch.setattr("galaxy_chain.report.page.FEW_ENTRIES", 2)
    two_rounds(federation)
    text = report(federation, tmp_path)
    read, tree = seen(text)
    assert not any("open" in each.attrib for each in tree.iter("details"))
    assert "What is folded is not printed" in read
    facts = facts_of(federation, tmp_path)
    for entry in facts.history.commits[1].entries:
        assert f"{entry.client}" in read
        assert entry.update.commitment.hex() in read


def test_the_code_of_other_contracts_is_not_taken_for_known(federation, tmp_path):
    two_rounds(federation)
    facts = facts_of(federation, tmp_path)
    code = replace(facts.place.codes[0], known=False)
    text = render(replace(facts, place=replace(facts.place, codes=(code,))), NOW).decode()
    assert "The code of a contract is not one that this version of Galaxy knows" in text
