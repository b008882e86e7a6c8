"""Lines for people from many clients of one program: one for all of them, and a name where one differs."""

from __future__ import annotations

from galaxy_fl.participants import events
from galaxy_fl.participants.group_console import GroupConsole


def trained(round=1, samples=10, loss=0.5, gas=50_000, accuracy=0.5, attempt=1):
    return events.Trained(
        round=round, attempt=attempt, gas=gas, transaction=None, samples=samples, loss=loss, accuracy=accuracy,
        seconds=1.0, batches=1,
    )  # fmt: skip


def lines(capsys):
    return capsys.readouterr().out.splitlines()


def test_a_round_is_a_line_once_all_have_trained(capsys):
    console = GroupConsole(2)
    console.of("1")(trained(samples=30, loss=1.0, accuracy=0.25), "7")
    assert lines(capsys) == []
    console.of("2")(trained(samples=10, loss=0.0, accuracy=0.75), "7")
    assert lines(capsys) == [
        "job 7: round 1: 2 clients trained on 40 samples in 2.0 s, loss 0.750, accuracy 37.5 %, 100,000 gas"
    ]


def test_metrics_are_told_as_means_weighted_by_samples_where_all_have_one(capsys):
    console = GroupConsole(2)
    measured = (("1", 30, {"F1Score": 0.5, "AUROC": 0.5}), ("2", 10, {"F1Score": 0.9, "AUROC": None}))
    for client, samples, metrics in measured:
        console.of(client)(trained(samples=samples).model_copy(update={"metrics": metrics}), "7")
    assert ", accuracy 50.0 %, F1Score 0.6, AUROC none, 100,000 gas" in lines(capsys)[0]


def test_a_round_that_some_have_missed_is_told_with_the_next_and_the_last_at_the_end(capsys):
    console = GroupConsole(3)
    for client in ("1", "2"):
        console.of(client)(trained(), "7")
    console.of("1")(trained(round=2, gas=None), "7")
    assert [line[:40] for line in lines(capsys)] == ["job 7: round 1: 2 of 3 clients trained o"]
    console.close()
    (line,) = lines(capsys)
    assert "round 2: 1 of 3 clients" in line
    assert line.endswith("1 too late")
    console.close()
    assert lines(capsys) == []


def test_who_has_failed_is_named_and_waited_for_no_more(capsys):
    console = GroupConsole(3)
    console.of("2")(events.Failed(message="no data", trace=None), "7")
    assert capsys.readouterr().err == "job 7, client 2: given up: no data\n"
    for client in ("1", "3"):
        console.of(client)(trained(), "7")
    assert len(lines(capsys)) == 1


def test_what_all_say_is_said_once(capsys):
    console = GroupConsole(2)
    for client in ("1", "2"):
        tell = console.of(client)
        tell(events.Started(role="client", account="0x1", name="digits", samples=5, notes=["a note"]), "7")
        tell(events.Noted(message="the same"), "7")
        tell(events.Waiting(round=1, awaited="clients"), "7")
        tell(events.Evaluated(round=1, samples=9, loss=0.5, accuracy=None), "7")
        tell(events.Staying(role="client", until=0), "7")
        tell(events.Paid(amount=10**18), "7")
        tell(events.Finished(rounds=1, model=None, final_model=None), "7")
    said = lines(capsys)
    assert sorted(said[:3]) == sorted(
        [
            "job 7: client 1: a note",
            "job 7: client 1: the same",
            "job 7: after round 1: loss 0.500 on 9 test samples",
        ]
    )
    assert said[3] == "job 7: 2 clients take part with 10 samples in “digits”"
    assert said[5:] == [
        "job 7: 2 ether were earned by 2 clients, and are paid out",
        "job 7: finished after 1 rounds",
    ]
