"""Attacks on the game, each played to its end on the ledger.

Accounts: 0 owns the job, 1 is the named server, 2 to 4 are clients, 5 and 6 dishonest bonds, 7 an honest server, 8 a
watchtower, 9 to 11 outsiders. Every call is judged by the oracle, too, and at the end the ledger has the money for all.
"""

from __future__ import annotations

import pytest

from tests.contracts.honest import Game
from tests.contracts.ledger import ETHER, NOBODY, SALT, ZERO, Chain, Commit, Job, Reverted, show

OTHER_SALT = b"pepper".ljust(32, b"!")
POOL = 9 * ETHER


def _game(chain: Chain, bonds: tuple[int, ...] = (1, 5, 6, 7), pool: int = POOL, **terms: object) -> Game:
    """A job of three clients and three rounds, worth 3 ether each."""
    job = Job(chain, pool=pool, **terms)
    game = Game(job)
    for client in job.clients:
        job.join(client)
    for server in bonds:
        game.bond(chain.accounts[server], ETHER)
    return game


def _collect(game: Game) -> None:
    for client in game.job.clients:
        game.submit(game.job.upload(client))
    game.chain.travel(game.oracle.closes_at)


def _round(game: Game, server: int = 1, wrong: int | None = None) -> Commit:
    _collect(game)
    # Another than the named server waits for its turn.
    game.chain.travel(game.oracle.turn(game.chain.accounts[server]))
    commit = game.commit(game.chain.accounts[server], wrong=wrong, salt=ZERO if server == 1 else SALT)
    assert commit
    return commit


def _settled(game: Game, commit: Commit) -> None:
    game.chain.travel(game.job.window_end(commit))
    game.settle(game.chain.accounts[9], commit)


def _solvent(game: Game) -> None:
    """The ledger has what it owes to everybody, to the wei; and everybody can have it."""
    game.check()
    game.check_accounts(game.chain.accounts)


# ---------------------------------------------------------------------------------------------- withheld, superseded


def _late(chain: Chain, **terms: int) -> Job:
    """A job in whose second round 5 is late, for it withheld a model; 7 is honest and bonded."""
    job = Job(chain, pool=9 * ETHER, server=NOBODY, **terms).prepare()
    job.bond(chain.accounts[5])
    job.bond(chain.accounts[7])
    job.collect()
    withheld = job.commit(chain.accounts[5])
    chain.travel(withheld.time + job.terms["idleSeconds"])
    job.supersede(chain.accounts[7], withheld)
    assert job.account(chain.accounts[5]).late
    return job


def test_a_late_bond_does_not_come_first_where_more_than_allowed_have_to_be_left_out(chain: Chain) -> None:
    job = _late(chain, maxExcluded=0)
    # The third client's update is unavailable: the honest server has to leave it out, the dishonest one has it.
    all_from = job.state.closesAt + 2 * job.terms["aggregateSeconds"]
    chain.travel(all_from - 1)
    with pytest.raises(Reverted, match="NotYet"):
        job.commit(chain.accounts[5])
    chain.travel(all_from + job.terms["aggregateSeconds"] // 4)
    job.commit(chain.accounts[7], excluded=[2])


def test_a_late_bond_does_not_keep_a_round_of_too_few_from_being_reopened(chain: Chain) -> None:
    job = _late(chain)
    # Two updates of three are unavailable: only those who withhold them can commit.
    opened = job.state.closesAt
    for quarters in range(4 * 4 + 1):
        chain.travel(opened + quarters * job.terms["aggregateSeconds"] // 4)
        with pytest.raises(Reverted):
            job.commit(chain.accounts[5])
    job.reopen(chain.accounts[7])


def test_withheld_commits_cost_each_bond_its_turn_and_end(chain: Chain) -> None:
    """Three bonds, one after the other, withhold a model; then none is left that may come before the honest."""
    game = _game(chain, bonds=(5, 6, 7, 9), server=NOBODY)
    honest = chain.accounts[7]
    _collect(game)
    for attacker in (5, 6, 9):
        commit = game.commit(chain.accounts[attacker], hidden=True)
        assert commit
        chain.travel(commit.time + game.job.terms["idleSeconds"])
        game.supersede(honest, commit)
        assert chain.accounts[attacker] in game.oracle.late
    for attacker in (5, 6, 9):
        assert game.commit(chain.accounts[attacker], hidden=True) is None
    assert game.commit(honest, salt=SALT)
    # Their bonds are kept until the job is final, or a record of theirs settles.
    chain.travel(chain.now + game.job.terms["challengeSeconds"])
    for attacker in (5, 6, 9):
        refusal, _ = game.job.refusal(chain.accounts[attacker], "withdrawBond")
        assert refusal == "BondLate"
    _solvent(game)


@pytest.mark.parametrize("before", [True, False])
def test_an_accomplice_that_supersedes_a_lie_does_not_save_its_bond(chain: Chain, before: bool) -> None:
    game = _game(chain)
    lie = _round(game, wrong=0)
    if before:
        game.demand(chain.accounts[8], lie, 0)
    chain.travel(lie.time + game.job.terms["idleSeconds"])
    game.supersede(chain.accounts[6], lie)
    following = game.commit(chain.accounts[7], salt=SALT)
    assert following
    if before:
        (demand,) = game.oracle.demands.values()
        chain.travel(demand.answer_by)
        game.expire(chain.accounts[9], demand)
        assert game.oracle.balance[chain.accounts[8]] == game.job.terms["demandDeposit"]
    else:
        game.announce(chain.accounts[8], lie, 0)
        game.challenge(chain.accounts[8], lie, 0)
        assert game.oracle.balance[chain.accounts[8]] == ETHER // 4
    assert game.oracle.barred == {chain.accounts[1]}
    # The round that was committed since stands.
    assert game.job.commits == {1: following}
    _solvent(game)


def test_a_superseded_record_is_demanded_and_answered_as_if_it_stood(chain: Chain) -> None:
    game = _game(chain)
    first = _round(game)
    chain.travel(first.time + game.job.terms["idleSeconds"])
    # The record is right, and its committer answers for it until its window ends.
    game.supersede(chain.accounts[6], first)
    again = game.commit(chain.accounts[7], salt=SALT)
    assert again
    game.demand(chain.accounts[8], first, 1)
    assert game.job.refusal(chain.accounts[1], "withdrawBond")[0] == "DemandsOpen"
    (demand,) = game.oracle.demands.values()
    game.answer(chain.accounts[9], demand)
    assert game.oracle.balance[chain.accounts[1]] == game.job.terms["demandDeposit"]
    _solvent(game)


def test_an_owner_that_cancels_on_a_withheld_record_does_not_make_it_the_last(chain: Chain) -> None:
    game = _game(chain)
    withheld = _round(game)
    game.cancel(game.job.owner)
    assert game.oracle.last_round == 2
    refusal, _ = game.job.refusal(chain.accounts[9], "settle", withheld.record)
    assert refusal == "WindowOpen"
    chain.travel(withheld.time + game.job.terms["idleSeconds"])
    game.supersede(chain.accounts[7], withheld)
    honest = game.commit(chain.accounts[7], salt=SALT)
    assert honest
    last = _round(game, server=7)
    for commit in (honest, last):
        _settled(game, commit)
        game.claim(chain.accounts[9], commit, range(3))
    game.finalize(chain.accounts[9])
    # What the third round would have been worth is the owner's, and nothing else.
    assert game.oracle.balance[game.job.owner] == POOL // 3
    _solvent(game)


def test_the_last_record_can_not_be_superseded(chain: Chain) -> None:
    game = _game(chain, rounds=1)
    last = _round(game)
    for seconds in (game.job.terms["idleSeconds"], 1000):
        chain.travel(chain.now + seconds)
        game.supersede(chain.accounts[7], last)
        assert game.job.commits == {1: last}
    _settled(game, last)
    _solvent(game)


# ------------------------------------------------------------------------------------------------- lies, and their end


def test_a_job_cancelled_and_a_lie_revealed_at_the_windows_end_is_not_final_at_once(chain: Chain) -> None:
    """The owner cancels, the server lets its own demand for its own commit expire: it wants the round's money back."""
    game = _game(chain)
    commit = _round(game)
    game.cancel(game.job.owner)
    chain.travel(game.job.window_end(commit) - 2)
    game.demand(chain.accounts[5], commit, 0)
    game.settle(game.job.owner, commit)
    assert game.oracle.settled == 0
    (demand,) = game.oracle.demands.values()
    chain.travel(demand.answer_by)
    game.expire(chain.accounts[5], demand)
    assert game.oracle.barred == {chain.accounts[1]}
    # It cost the whole bond; the round is open again, and the owner gets nothing before it is committed or idle.
    game.finalize(game.job.owner)
    assert not game.oracle.final
    again = game.commit(chain.accounts[7], salt=SALT)
    assert again
    last = _round(game, server=7)
    for record in (again, last):
        _settled(game, record)
    game.claim(chain.accounts[9], again, range(3))
    game.finalize(game.job.owner)
    assert game.oracle.balance[game.job.owner] == POOL // 3
    _solvent(game)


def test_a_demand_of_the_last_second_keeps_its_whole_effect(chain: Chain) -> None:
    game = _game(chain)
    lie = _round(game, wrong=0)
    end = game.job.window_end(lie)
    chain.travel(end - 3)
    game.announce(chain.accounts[8], lie, 0)
    game.demand(chain.accounts[8], lie, 0, SALT)
    assert chain.now == end - 1
    game.demand(chain.accounts[8], lie, 1)
    assert len(game.oracle.demands) == 1
    game.settle(chain.accounts[1], lie)
    game.challenge(chain.accounts[8], lie, 0)
    (demand,) = game.oracle.demands.values()
    game.answer(chain.accounts[1], demand)
    chain.travel(demand.answer_by)
    game.expire(chain.accounts[8], demand)
    assert game.oracle.barred == {chain.accounts[1]}
    assert game.oracle.balance[chain.accounts[8]] == ETHER // 4 + game.job.terms["demandDeposit"]
    _solvent(game)


def test_demands_in_front_of_a_demand_make_it_dearer_and_keep_nobody_out(chain: Chain) -> None:
    game = _game(chain, parameters=160, challengeSeconds=12_000)
    lie = _round(game, wrong=0)
    deposit = game.job.terms["demandDeposit"]
    game.announce(chain.accounts[8], lie, 0)
    # In front of it the liar demands nine other chunks of itself, and answers them at once.
    for index in range(1, 10):
        game.demand(chain.accounts[5], lie, index)
    with pytest.raises(Reverted, match="WrongValue"):
        game.job.send(chain.accounts[8], "demand", lie.record, 0, 0, SALT, value=deposit)
    game.demand(chain.accounts[8], lie, 0, SALT)
    for demand in list(game.oracle.demands.values()):
        game.answer(chain.accounts[1], demand)
    (demand,) = game.oracle.demands.values()
    assert demand.price == 10 * deposit
    chain.travel(demand.answer_by)
    game.expire(chain.accounts[9], demand)
    # The excess that an honest demander sends against this comes back as well.
    assert game.oracle.balance[chain.accounts[8]] == ETHER // 4 + 10 * deposit
    _solvent(game)


def test_a_liar_that_announces_its_own_lie_loses_three_quarters(chain: Chain) -> None:
    game = _game(chain)
    lie = _round(game, wrong=0)
    accomplice = chain.accounts[5]
    before = chain.balance(NOBODY)
    game.announce(accomplice, lie, 0)
    receipt = game.job.send(accomplice, "challenge", lie.record, 0, 0, SALT, lie.openings(0))
    assert game.oracle.was_refuted(lie, accomplice, True, receipt.time)
    game.job.rolled_back(lie)
    assert chain.balance(NOBODY) - before - receipt.tip >= ETHER * 3 // 4
    assert game.oracle.balance[accomplice] == ETHER // 4
    _solvent(game)


def test_rollbacks_of_several_rounds_take_back_their_rewards_and_slash_the_liar_alone(chain: Chain) -> None:
    game = _game(chain, maxUnsettled=3)
    lie = _round(game, wrong=0)
    _round(game, server=7)
    third = _round(game, server=7)
    game.demand(chain.accounts[9], third, 0)
    game.announce(chain.accounts[8], lie, 0)
    game.challenge(chain.accounts[8], lie, 0)
    assert game.job.commits == {}
    assert game.job.allotted == 0
    # A demand on what is void gives its deposit back at once, and slashes nobody.
    (demand,) = game.oracle.demands.values()
    game.expire(chain.accounts[9], demand)
    assert game.oracle.barred == {chain.accounts[1]}
    commits = [game.commit(chain.accounts[7], salt=SALT), _round(game, server=7), _round(game, server=7)]
    for commit in commits:
        assert commit
        assert commit.reward == POOL // 3
        _settled(game, commit)
        game.claim(chain.accounts[9], commit, range(3))
    game.finalize(chain.accounts[9])
    _solvent(game)


def test_of_two_records_the_later_does_not_settle_first(chain: Chain) -> None:
    game = _game(chain)
    first = _round(game)
    second = _round(game, server=7)
    chain.travel(game.job.window_end(first) - 2)
    game.demand(chain.accounts[5], first, 0)
    chain.travel(game.job.window_end(second))
    for commit in (second, first):
        game.settle(chain.accounts[7], commit)
        game.claim(chain.accounts[7], commit, range(3))
    assert game.oracle.settled == 0
    (demand,) = game.oracle.demands.values()
    chain.travel(demand.answer_by)
    game.expire(chain.accounts[5], demand)
    assert game.job.commits == {}
    assert game.oracle.credited == 0
    _solvent(game)


def test_a_withheld_puppet_used_for_a_late_revert_costs_a_bond_and_takes_no_settled_money(chain: Chain) -> None:
    """Only the server has one update: nobody else can answer. It reverts its own round at the window's end."""
    game = _game(chain, maxUnsettled=1)
    first = _round(game)
    _settled_after_next_entries(game, first)
    game.claim(chain.accounts[9], first, range(3))
    earned = first.client_amount
    second = game.commit(chain.accounts[1], hidden=True)
    assert second
    game.cancel(game.job.owner)
    chain.travel(game.job.window_end(second) - 2)
    game.demand(chain.accounts[5], second, 0)
    (demand,) = game.oracle.demands.values()
    chain.travel(demand.answer_by)
    game.expire(chain.accounts[5], demand)
    for client in game.job.clients:
        assert game.oracle.balance[client] == earned
        game.withdraw(client)
    assert game.oracle.bond[chain.accounts[1]] == 0
    # At most maxUnsettled rounds were taken back, and they can be earned again: the job is not over.
    assert (game.job.round, game.oracle.last_round) == (2, 3)
    assert game.commit(chain.accounts[7], salt=SALT)
    _solvent(game)


def _settled_after_next_entries(game: Game, commit: Commit) -> None:
    """Settle a commit, entries of the next round being in: those let it be built upon."""
    _collect(game)
    _settled(game, commit)


# ----------------------------------------------------------------------------------------------------------- answers


def test_a_strangers_answer_counts_for_an_honest_server_and_not_for_a_liar(chain: Chain) -> None:
    game = _game(chain)
    lie = _round(game, wrong=0)
    for index in (0, 1):
        game.demand(chain.accounts[8], lie, index)
    wrong, right = game.oracle.demands.values()
    game.answer(chain.accounts[9], right)
    game.answer(chain.accounts[9], wrong)
    assert list(game.oracle.demands.values()) == [wrong]
    _solvent(game)


@pytest.mark.parametrize("soon", [True, False])
def test_an_answer_pays_the_committer_at_first_and_then_its_sender(chain: Chain, soon: bool) -> None:
    """A demander that copies the answer that it sees, and sends it first, does not get its deposit back."""
    game = _game(chain)
    commit = _round(game)
    demander = chain.accounts[5]
    game.demand(demander, commit, 0)
    (demand,) = game.oracle.demands.values()
    half = demand.answer_by - game.job.terms["answerSeconds"] // 2
    chain.travel(half - 2 if soon else half - 1)
    game.answer(demander, demand)
    assert game.oracle.balance[chain.accounts[1] if soon else demander] == demand.price
    assert game.oracle.balance[demander if soon else chain.accounts[1]] == 0
    _solvent(game)


# ------------------------------------------------------------------------------------------------------------- copies


def test_a_copied_challenge_or_announcement_is_worth_nothing(chain: Chain) -> None:
    game = _game(chain)
    lie = _round(game, wrong=0)
    finder, thief = chain.accounts[8], chain.accounts[5]
    game.announce(finder, lie, 0)
    # The digest is of its sender: the thief that announces it, too, has announced nothing.
    chain.send(thief, "announce", lie.finding(finder, 0, SALT))
    assert game.job.refusal(thief, "challenge", lie.record, 0, 0, SALT, lie.openings(0))[0] == "NotAnnounced"
    # It sees the challenge, announces in front of it in the same block: too late.
    game.announce(thief, lie, 0)
    refusal, arguments = game.job.refusal(thief, "challenge", lie.record, 0, 0, SALT, lie.openings(0))
    assert (refusal, arguments["announced"]) == ("NotAnnounced", chain.now)
    game.challenge(finder, lie, 0)
    assert game.oracle.balance[finder] == ETHER // 4
    _solvent(game)


def test_a_copied_demand_has_its_deposit_back_and_no_reward(chain: Chain) -> None:
    game = _game(chain)
    lie = _round(game, wrong=0)
    game.announce(chain.accounts[8], lie, 0)
    # In front of the finder's, with its salt.
    game.demand(chain.accounts[5], lie, 0, SALT)
    game.demand(chain.accounts[8], lie, 0, SALT)
    (demand,) = game.oracle.demands.values()
    assert (demand.demander, demand.announced) == (chain.accounts[5], False)
    chain.travel(demand.answer_by)
    game.expire(chain.accounts[5], demand)
    assert game.oracle.balance[chain.accounts[5]] == demand.price
    assert game.oracle.bond[chain.accounts[1]] == 0
    _solvent(game)


def test_a_copied_commit_leaves_its_share_to_the_clients(chain: Chain) -> None:
    game = _game(chain, server=NOBODY)
    _collect(game)
    game.job.announce_commit(chain.accounts[7], game.job.aggregate(), SALT)
    # The thief has seen the salt in the honest commit, and comes before it.
    receipt = game.job.send(
        chain.accounts[5], "commitRound", *game.job.commit_arguments(game.job.aggregate(), (), SALT)
    )
    record = receipt.event("RoundCommitted")["record"]
    assert (record["server"], record["share"]) == (chain.accounts[5], 0)


def test_an_announcement_is_too_old_after_an_hour(chain: Chain) -> None:
    game = _game(chain)
    lie = _round(game, wrong=0)
    game.announce(chain.accounts[8], lie, 0)
    chain.travel(chain.now + 3600)
    game.challenge(chain.accounts[8], lie, 0)
    assert game.job.commits == {1: lie}
    game.announce(chain.accounts[8], lie, 0)
    chain.travel(chain.now + 3599)
    game.challenge(chain.accounts[8], lie, 0)
    assert game.job.commits == {}
    _solvent(game)


# ------------------------------------------------------------------------------------------------------------- claims


def test_claims_pay_each_entry_once_by_anybody_in_any_order(chain: Chain) -> None:
    game = _game(chain)
    first = _round(game)
    second = _round(game)
    _settled(game, first)
    _settled_after_next_entries(game, second)
    for commit, numbers in [(second, [2]), (first, [0, 2]), (second, [0, 1, 2]), (first, [1]), (first, [0, 1, 2])]:
        game.claim(chain.accounts[10], commit, numbers)
    amount = first.client_amount + second.client_amount
    assert [game.oracle.balance[client] for client in game.job.clients] == [amount] * 3
    for client in game.job.clients:
        game.withdraw(client)
        assert game.job.refusal(client, "withdraw")[0] == "NothingToPay"
    _solvent(game)


def test_excluded_reverted_and_unsettled_entries_claim_nothing(chain: Chain) -> None:
    game = _game(chain)
    _collect(game)
    lie = game.commit(chain.accounts[1], wrong=0)
    assert lie
    game.claim(chain.accounts[2], lie, range(3))
    game.announce(chain.accounts[8], lie, 0)
    game.challenge(chain.accounts[8], lie, 0)
    right = game.commit(chain.accounts[7], excluded=[1], salt=SALT)
    assert right
    _settled_after_next_entries(game, right)
    game.claim(chain.accounts[2], lie, range(3))
    game.claim(chain.accounts[2], right, [1])
    game.claim(chain.accounts[2], right, range(3))
    assert game.oracle.balance[game.job.clients[1]] == 0
    _solvent(game)


def test_forged_submissions_claim_nothing(chain: Chain) -> None:
    game = _game(chain)
    commit = _round(game)
    _settled_after_next_entries(game, commit)
    uploads = commit.attempt.uploads
    thief = game.job.upload(chain.accounts[11])
    forgeries = [
        show([[uploads[0]], [uploads[1]], [thief]]),
        show([[uploads[1]], [uploads[0]], [uploads[2]]]),
        show([[uploads[0], uploads[1]], [uploads[2]]]),
        show([[uploads[0]], [uploads[1]], [uploads[2]], [uploads[0]]]),
        show([[uploads[0]], [uploads[1]]]),
        show([]),
        commit.submissions()[:-1],
        commit.submissions() + b"\x01" + commit.submissions()[1:90],
        b"\x00" + commit.submissions()[1:],
    ]
    for forged in forgeries:
        refusal, _ = game.job.refusal(chain.accounts[11], "claim", commit.record, forged)
        assert refusal in ("WrongSubmissions", "MalformedSubmissions")
    _solvent(game)


@pytest.mark.parametrize("entries", [63, 64, 65, 128])
def test_entries_at_the_ends_of_segments_are_paid_once_and_can_be_opened(crowd: Job, entries: int) -> None:
    game = Game(crowd)
    game.oracle.bond[crowd.server] = ETHER
    for client in crowd.clients[:entries]:
        assert game.submit(crowd.upload(client))
    game.check()
    crowd.chain.travel(game.oracle.closes_at)
    commit = game.commit(crowd.server, wrong=0, excluded=[62])
    assert commit
    game.announce(crowd.clients[0], commit, 0)
    game.challenge(crowd.clients[0], commit, 0)
    game.bond(crowd.clients[0], ETHER)
    again = game.commit(crowd.clients[0], excluded=[0, 62])
    assert again
    for client in crowd.clients[:2]:
        game.submit(crowd.upload(client))
    game.demand(crowd.owner, again, 1)
    (demand,) = game.oracle.demands.values()
    game.answer(crowd.owner, demand)
    crowd.chain.travel(crowd.window_end(again))
    last = entries - 1
    for numbers in ([last], [last, 61], range(min(64, last), entries), range(entries), [0, 62]):
        game.claim(crowd.owner, again, numbers)
    paid = {client for client in crowd.clients if game.oracle.balance[client] == again.client_amount}
    assert len(paid) == entries - 2
    assert game.oracle.credited == again.client_amount * (entries - 2)
    game.check()
    game.check_accounts(crowd.clients[:3] + crowd.clients[60:66])


# ---------------------------------------------------------------------------------------------- outsiders, and absence


def test_outsiders_do_not_reopen_commit_or_cancel_before_the_honest(chain: Chain) -> None:
    game = _game(chain, bonds=(1, 5))
    _collect(game)
    for outsider in (5, 9):
        assert game.commit(chain.accounts[outsider]) is None
        game.reopen(chain.accounts[outsider])
        game.cancel(chain.accounts[outsider])
    assert (game.job.round, game.job.number, game.oracle.cancelled) == (1, 1, False)
    # In its last second for which nobody can reopen, the named server can still commit.
    chain.travel(game.oracle.reopens_at - 2)
    game.reopen(chain.accounts[5])
    assert game.commit(chain.accounts[1])
    _solvent(game)


def test_nobody_reopens_while_commits_are_refused(chain: Chain) -> None:
    game = _game(chain, maxUnsettled=1)
    first = _round(game)
    _collect(game)
    for _ in range(3):
        chain.travel(chain.now + 2 * game.job.terms["idleSeconds"])
        game.reopen(chain.accounts[5])
        game.cancel(chain.accounts[5])
        assert game.commit(chain.accounts[1]) is None
    assert (game.job.number, game.oracle.cancelled) == (2, False)
    _settled(game, first)
    # Everybody's turn begins now: the named server's comes first, and nobody can reopen for four turns.
    game.reopen(chain.accounts[5])
    assert game.commit(chain.accounts[7]) is None
    assert game.commit(chain.accounts[1])
    _solvent(game)


def test_a_withheld_model_is_superseded_while_commits_are_refused(chain: Chain) -> None:
    """maxUnsettled keeps nobody from going back: the record that fills it is the one that falls."""
    game = _game(chain, maxUnsettled=1)
    _collect(game)
    withheld = game.commit(chain.accounts[1], hidden=True)
    assert withheld
    assert game.oracle.full
    chain.travel(withheld.time + game.job.terms["idleSeconds"] - 2)
    game.supersede(chain.accounts[5], withheld)
    assert not game.oracle.superseded
    chain.travel(withheld.time + game.job.terms["idleSeconds"])
    game.supersede(chain.accounts[5], withheld)
    assert withheld in game.oracle.superseded
    assert not game.oracle.full
    assert game.job.allotted == 0
    # The next one commits at once, and is refused for it from then on.
    again = game.commit(chain.accounts[6], salt=SALT)
    assert again
    assert game.oracle.full
    _collect(game)
    assert game.commit(chain.accounts[7]) is None
    _settled(game, again)
    # The named server is late: nobody waits for it.
    assert game.commit(chain.accounts[7])
    _solvent(game)


def test_a_named_server_that_is_late_comes_last_until_a_record_of_its_settles_and_then_first_again(
    chain: Chain,
) -> None:
    game = _game(chain)
    named, other = chain.accounts[1], chain.accounts[5]
    _collect(game)
    withheld = game.commit(named, hidden=True)
    assert withheld
    chain.travel(withheld.time + game.job.terms["idleSeconds"])
    game.supersede(other, withheld)
    # Not what the superseding has closed again, however long it waits; anybody else at once.
    chain.travel(game.oracle.closes_at + 10 * game.job.terms["aggregateSeconds"])
    assert game.commit(named) is None
    first = game.commit(other, salt=SALT)
    assert first
    _collect(game)
    opens = game.oracle.closes_at + 3 * game.job.terms["aggregateSeconds"]
    snapshot = chain.tester.take_snapshot()
    game.job.copy().commit(chain.accounts[6], salt=SALT)
    assert chain.now < opens - 2 * game.job.terms["aggregateSeconds"], "nobody waited for it"
    chain.tester.revert_to_snapshot(snapshot)
    chain.travel(opens - 2)
    assert game.commit(named) is None
    second = game.commit(named)
    assert second
    assert second.time == opens
    assert second.share == game.job.terms["serverShare"]
    _collect(game)
    _settled(game, first)
    assert named in game.oracle.late
    _settled(game, second)
    assert named not in game.oracle.late
    # The third round closed long ago, and nobody has committed it: it has its turn as ever.
    assert game.commit(named)
    chain.travel(game.oracle.locked[named])
    game.withdraw_bond(named)
    _solvent(game)


def test_silent_clients_are_left_out_where_the_terms_allow_none(chain: Chain) -> None:
    """Two that are silent in turn, and maxExcluded = 0: from the third turn on the honest leave them out."""
    game = _game(chain, maxExcluded=0)
    for silent in (0, 1, 2):
        _collect(game)
        assert game.commit(chain.accounts[1], excluded=[silent]) is None
        chain.travel(game.oracle.all_from)
        commit = game.commit(chain.accounts[1], excluded=[silent])
        assert commit
        assert commit.client_amount == (POOL // 3) * 8 // 10 // 2
    _solvent(game)


def test_too_many_silent_clients_have_the_round_collected_again_for_longer_each_time(chain: Chain) -> None:
    game = _game(chain, bonds=(1,))
    lasted = []
    for _ in range(4):
        for client in game.job.clients[:2]:
            game.submit(game.job.upload(client))
        lasted.append(game.oracle.closes_at - chain.now)
        chain.travel(game.oracle.reopens_at)
        game.reopen(chain.accounts[1])
    seconds = game.job.terms["aggregateSeconds"]
    assert lasted == [game.job.terms["collectSeconds"], 2 * seconds, 4 * seconds, 8 * seconds]
    assert _round(game)
    _solvent(game)


def test_a_job_whose_owner_and_server_are_gone_ends_and_gives_back_what_is_due(chain: Chain) -> None:
    game = _game(chain, bonds=(1,))
    first = _round(game)
    _collect(game)
    # The server never acts again, nor does the owner; nobody else has a bond. Outsiders end it.
    _settled(game, first)
    game.cancel(chain.accounts[9])
    assert not game.oracle.cancelled
    chain.travel(game.oracle.idle_at)
    game.cancel(chain.accounts[9])
    game.finalize(chain.accounts[9])
    assert not game.oracle.final
    chain.travel(game.oracle.idle_at)
    game.finalize(chain.accounts[9])
    game.claim(chain.accounts[9], first, range(3))
    for client in game.job.clients:
        game.withdraw(client)
    assert game.oracle.balance[game.job.owner] == POOL - POOL // 3
    game.withdraw_bond(chain.accounts[1])
    _solvent(game)


def test_an_owner_that_cancels_in_front_of_a_commit_takes_no_rounds_pay(chain: Chain) -> None:
    game = _game(chain)
    _collect(game)
    game.cancel(game.job.owner)
    commit = game.commit(chain.accounts[1])
    assert commit
    game.fund(chain.accounts[9], 1)
    _settled(game, commit)
    game.claim(chain.accounts[9], commit, range(3))
    game.finalize(game.job.owner)
    assert game.oracle.balance[game.job.owner] == POOL * 2 // 3
    assert game.oracle.balance[game.job.clients[0]] == commit.client_amount > 0
    _solvent(game)


# ---------------------------------------------------------------------------------------------- updates between attempts


def test_an_update_of_another_attempt_or_model_lands_nowhere(chain: Chain) -> None:
    game = _game(chain)
    client = game.job.clients[0]
    update = game.job.upload(client).update
    root = game.job.root_of(game.job.attempt.model)
    _round(game)
    assert game.job.refusal(client, "submitUpdate", 1, root, update)[0] == "AlreadySubmitted"
    assert game.job.refusal(client, "submitUpdate", 2, root, update)[0] == "WrongModel"
    assert game.job.refusal(client, "submitUpdate", 3, root, update)[0] == "WrongAttempt"


def test_the_same_update_counts_in_every_attempt_and_is_paid_once_a_round(chain: Chain) -> None:
    """Handed in again after a reopening: a void attempt earns nothing, so it is worth one share."""
    game = _game(chain)
    uploads = [game.job.upload(client) for client in game.job.clients]
    for upload in uploads:
        game.submit(upload)
    chain.travel(game.oracle.reopens_at)
    game.reopen(chain.accounts[1])
    for upload in uploads:
        game.submit(upload)
    chain.travel(game.oracle.closes_at)
    commit = game.commit(chain.accounts[1])
    assert commit
    _settled_after_next_entries(game, commit)
    game.claim(chain.accounts[9], commit, range(3))
    assert [game.oracle.balance[client] for client in game.job.clients] == [commit.client_amount] * 3
    _solvent(game)


# --------------------------------------------------------------------------------------------- what is left open, shown


def test_one_bond_undoes_record_after_record_whose_content_it_alone_has(chain: Chain) -> None:
    """From the last to the first, the others being committed again in between: the first costs the bond, the next gas.

    What can be taken back at one time is maxUnsettled rounds; settled money is never touched.
    """
    game = _game(chain)
    own = [_round(game) for _ in range(3)]
    undone = 0
    for commit in reversed(own):
        game.demand(chain.accounts[5], commit, 0)
        demand = game.oracle.demands[commit.word, 0, 0]
        chain.travel(demand.answer_by)
        standing = len(game.job.commits)
        game.expire(chain.accounts[5], demand)
        undone += standing - len(game.job.commits)
        assert game.oracle.bond[chain.accounts[1]] == 0
        assert game.commit(chain.accounts[7], salt=SALT)
        while game.job.round <= 3:
            _round(game, server=7)
    assert undone == 1 + 2 + 3
    for commit in list(game.job.commits.values()):
        assert commit.server == chain.accounts[7]
        _settled(game, commit)
        game.claim(chain.accounts[9], commit, range(3))
    game.finalize(chain.accounts[9])
    _solvent(game)


def test_an_owner_that_expels_takes_the_pay_of_the_newest_round_and_nothing_else(chain: Chain) -> None:
    """Nobody is left to build upon it, and an accomplice supersedes it."""
    game = _game(chain)
    first = _round(game)
    second = _round(game)
    for client in game.job.clients[:2]:
        game.expel(client)
    chain.travel(second.time + game.job.terms["idleSeconds"])
    game.supersede(chain.accounts[6], second)
    game.cancel(game.job.owner)
    _settled(game, first)
    chain.travel(game.oracle.idle_at)
    game.finalize(chain.accounts[9])
    game.claim(chain.accounts[9], first, range(3))
    assert game.oracle.balance[game.job.clients[0]] == first.client_amount
    assert game.oracle.balance[game.job.owner] == POOL * 2 // 3
    chain.travel(game.oracle.locked[chain.accounts[1]])
    game.withdraw_bond(chain.accounts[1])
    _solvent(game)
