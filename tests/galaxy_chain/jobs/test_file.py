"""Job files: what people write, and where they wrote it wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from galaxy_chain.demo.job import example_job
from galaxy_chain.jobs.answer_size import answer_gas
from galaxy_chain.jobs.file import JobFile, wei
from galaxy_chain.jobs.terms import Chain, check_terms
from galaxy_chain.ledger.structs import ZERO_ADDRESS
from galaxy_fl.exceptions import JobDocumentError
from galaxy_fl.jobs.privacy import UpdatePrivacy
from galaxy_fl.vectors import depth

GAS = (Path(__file__).parents[3] / "docs" / "gas.md").read_text()
GOOD = """\
name = "digits"

[model]
builtin = "mlp"

[train]
learning_rate = 0.1

[terms]
rounds = 2
open = false
min_clients = 2
"""


def read(folder: Path, text: str) -> JobFile:
    path = folder / "job.toml"
    path.write_text(text, encoding="utf-8")
    return JobFile.read(path)


def test_a_short_file_is_a_whole_job(tmp_path):
    job = read(tmp_path, GOOD)
    assert (job.name, job.model.builtin, job.terms.rounds, job.terms.bond) == ("digits", "mlp", 2, 10**18)


def test_the_example_is_valid(tmp_path):
    job = read(tmp_path, example_job())
    assert (job.terms.min_clients, job.terms.demand_deposit) == (4, 10**16)


def test_a_job_may_be_private(tmp_path):
    private = (
        '[privacy]\nmode = "update"\nclip = 1\nnoise_multiplier = 2.0\ndelta = 1e-5\nstop_at_epsilon = 8\n\n[terms]'
    )
    job = read(tmp_path, GOOD.replace("[terms]", private))
    assert job.privacy == UpdatePrivacy(clip=1.0, noise_multiplier=2.0, delta=1e-5, stop_at_epsilon=8.0)
    with pytest.raises(JobDocumentError, match=r"job.toml:\d+: privacy.clip: expected a number above 0.*found 0"):
        read(tmp_path, GOOD.replace("[terms]", private.replace("clip = 1", "clip = 0")))
    with pytest.raises(JobDocumentError, match=r"job.toml:\d+: privacy.noise_multiplier: .*finite number"):
        read(tmp_path, GOOD.replace("[terms]", private.replace("2.0", "nan")))


CREATOR, NAMED = "0x" + "11" * 20, "0x" + "22" * 20


def on_ledger(job: JobFile, parameters: int = 38_282, *, uniform: bool = False):
    return job.terms.on_ledger(b"\1" * 32, job.rule, "0x" + "33" * 20, parameters, CREATOR, uniform=uniform)


@pytest.mark.parametrize(
    ("lines", "rule", "parameters", "chunk", "clients"),
    [
        ("", "weighted_mean", 2**22, 64, 4_096),
        ("", "weighted_mean", 2**22 + 1, 256, 4_096),
        ("max_clients = 300", "weighted_mean", 11_700_000, 256, 300),
        # With chunks of 256 and a fan-in of 64 a challenge has room for no more than a flat round.
        ("fan_in = 64", "weighted_mean", 11_700_000, 64, 4_096),
        ("fan_in = 64\nmax_clients = 60", "weighted_mean", 11_700_000, 256, 60),
        ("fan_in = 64\nmax_clients = 65", "weighted_mean", 11_700_000, 64, 65),
        ("", "coordinate_median", 11_700_000, 64, 64),
        ("max_clients = 5", "coordinate_median", 11_700_000, 64, 5),
        ("chunk_parameters = 64", "weighted_mean", 11_700_000, 64, 4_096),
        ("chunk_parameters = 256", "weighted_mean", 38_282, 256, 4_096),
        ("", "weighted_mean", 9, 8, 4_096),
    ],
)
def test_chunks_are_longer_where_a_tree_is_deep_and_challenges_stay_possible(
    tmp_path, lines, rule, parameters, chunk, clients
):
    text = GOOD.replace("[terms]", f'[rule]\nname = "{rule}"\n[terms]').replace(
        "open = false", f"open = false\n{lines}"
    )
    terms = on_ledger(read(tmp_path, text), parameters)
    assert (terms.chunk_parameters, terms.max_clients) == (chunk, clients)


def test_what_the_documentation_says_that_longer_chunks_cost():
    rows = re.findall(r"^\| ([\d,]+) \| (64|256) \| (\d+) \| ([\d,]+) \| ([\d,]+) \|$", GAS, re.MULTILINE)
    assert len(rows) == 6
    for row in rows:
        parameters, chunk, levels, *gas = (int(each.replace(",", "")) for each in row)
        assert levels == depth(parameters, chunk)
        assert gas == [answer_gas("weighted_mean", updates, 16, chunk, levels) for updates in (10, 1_000)]


def test_what_a_file_leaves_open_is_chosen_soundly(tmp_path):
    """Not that anyone aggregates, that one silent client delays a round, or that no challenge fits a transaction."""
    terms = on_ledger(read(tmp_path, GOOD))
    assert (terms.server, terms.open) == (CREATOR, False)
    assert (terms.max_clients, terms.max_excluded, terms.fan_in) == (4_096, 4_094, 16)
    assert (terms.server_share, terms.max_unsettled, terms.max_weight) == (1_000, 2, 1_000_000)
    assert (terms.answer_seconds, terms.challenge_seconds, terms.idle_seconds) == (1_200, 86_400, 14_400)
    assert check_terms(terms, "weighted_mean", Chain(1, 12.0, 10**9, 36_000_000)) == []
    robust = on_ledger(read(tmp_path, GOOD.replace("[terms]", '[rule]\nname = "coordinate_median"\n[terms]')))
    assert (robust.max_clients, robust.max_excluded) == (64, 62)


def test_what_follows_from_other_terms_follows_from_them(tmp_path):
    def chosen(more: str, parameters: int = 38_282, *, uniform: bool = False):
        return on_ledger(read(tmp_path, GOOD.replace("rounds = 2", f"rounds = 5\n{more}")), parameters, uniform=uniform)

    # A search through 10 levels, with a demand an hour, that begins in the first half of the window.
    assert chosen("answer_seconds = 3600").challenge_seconds == 4 * 15 * 3_600
    assert chosen("chunk_parameters = 64", 2**30).challenge_seconds == 4 * 29 * 1_200
    assert (
        chosen("", 2**30).challenge_seconds == 4 * 27 * 1_200
    )  # chunks are longer, and so the tree has two levels less
    assert chosen("aggregate_seconds = 7200").idle_seconds == 60 + 4 * 7_200
    assert chosen("answer_seconds = 36000").idle_seconds == 72_000
    # Half of the bond of one ether is worth two rounds of a fifth of an ether.
    assert chosen('reward = "1 ether"').max_unsettled == 2
    assert chosen('reward = "9 ether"').max_unsettled == 1
    assert chosen('reward = "9 ether"\nbond = "18 ether"').max_unsettled == 5
    assert chosen("").max_unsettled == 5
    assert chosen("", uniform=True).max_weight == 1
    assert chosen("max_weight = 1", uniform=True).max_weight == 1
    assert chosen("max_clients = 2\nmax_weight = 16777215").max_weight == 2**24 - 1
    with pytest.raises(JobDocumentError, match="max_weight is 7, but with uniform weighting each update weighs 1"):
        chosen("max_weight = 7", uniform=True)


def test_what_a_file_says_is_kept(tmp_path):
    said = {
        "max_clients": 5, "max_excluded": 1, "max_weight": 9, "deadline": 1, "aggregate_seconds": 60,
        "challenge_seconds": 20_000, "answer_seconds": 300, "idle_seconds": 241, "max_unsettled": 1, "server_share": 0,
        "fan_in": 3,
    }  # fmt: skip
    lines = "\n".join(f"{name} = {value}" for name, value in said.items())
    terms = on_ledger(read(tmp_path, GOOD.replace("min_clients = 2", f'min_clients = 2\n{lines}\nserver = "{NAMED}"')))
    assert {name: getattr(terms, name) for name in said} == said
    assert terms.server == NAMED
    anyone = read(tmp_path, GOOD.replace("min_clients = 2", 'min_clients = 2\nserver = "anyone"'))
    assert on_ledger(anyone).server == ZERO_ADDRESS


def test_more_clients_than_a_challenge_has_room_for_are_refused(tmp_path):
    relay = GOOD.replace("[terms]", '[rule]\nname = "relay"\n[terms]')
    job = read(tmp_path, relay.replace("min_clients = 2", "min_clients = 177"))
    with pytest.raises(JobDocumentError, match="min_clients is 177, but with 64 parameters a chunk .* room for 176"):
        on_ledger(job)
    job = read(tmp_path, GOOD.replace("min_clients = 2", "min_clients = 82\nfan_in = 3"))
    with pytest.raises(JobDocumentError, match="min_clients is 82, but .* and fan_in 3 a challenge .* room for 81"):
        on_ledger(job)


def test_it_is_utf_8(tmp_path):
    assert read(tmp_path, GOOD.replace("digits", "Zahlen für Ærø")).name == "Zahlen für Ærø"


@pytest.mark.parametrize(
    ("amount", "is_wei"),
    [
        (5, 5),
        ("5 wei", 5),
        ("20 gwei", 20 * 10**9),
        ("0.5 ether", 5 * 10**17),
        ("1e-18 ether", 1),
        (" 1  ether ", 10**18),
        ("79228162514.264337593543950335 ether", 2**96 - 1),
    ],
)
def test_amounts(amount, is_wei):
    assert wei(amount) == is_wei


@pytest.mark.parametrize(
    "amount",
    ["", "5", "5 euro", "x ether", "ether", "1e-19 ether", "0.5 wei", "nan ether", "inf ether", "1e99999999 ether"],
)
def test_what_is_no_amount(amount):
    with pytest.raises(ValueError, match=r"expected an amount|is not a number|not a whole number of wei"):
        wei(amount)


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('name = "digits"', 'name = "digits"\ncolour = "red"', 2, "colour: there is no such key, only distillation_"),
        (
            'name = "digits"',
            'name = "digits"\nperssonal = ["*"]',
            2,
            "perssonal: there is no such key; did you mean pe",
        ),
        ('name = "digits"', 'name = "digits"\nshared = []', 2, "shared: .*nothing would travel"),
        ("[train]", "[train]\nmu = 0.1", 7, "train.mu: there is no such key, only accumulate, .*proximal"),
        ('name = "digits"', "name = 5", 1, "name: .*valid string.*found 5"),
        ('name = "digits"', 'name = "a\\nb"', 1, "name: .*line breaks"),
        ('name = "digits"', "", 1, "name: Field required"),
        ('builtin = "mlp"', 'builtin = "mlp"\nsize = 3', 5, "model.size: there is no such key"),
        ('builtin = "mlp"', "builtin = 1", 4, "model.builtin"),
        ("learning_rate = 0.1", 'learning_rate = "fast"', 7, "train.learning_rate: .*valid number.*found 'fast'"),
        ("learning_rate = 0.1", "learning_rate = -1.0", 7, "train.learning_rate: .*greater than 0"),
        ("learning_rate = 0.1", "learning_rate = nan", 7, "train.learning_rate: .*finite"),
        ("learning_rate = 0.1", "optimizer_options = { lr = 1 }", 7, "train.optimizer_options: .*set learning_rate"),
        ("learning_rate = 0.1", "optimizer_options.momentum = [true]", 7, "train.optimizer_options.momentum"),
        ("rounds = 2", "rounds = 0", 10, "terms.rounds: .*greater than or equal to 1"),
        ("rounds = 2", "rounds = 2.5", 10, "terms.rounds: .*valid integer"),
        ("rounds = 2", "rounds = true", 10, "terms.rounds: .*valid integer"),
        ("rounds = 2", "", 9, "terms.rounds: Field required"),
        ("min_clients = 2", 'min_clients = 2\nbond = "1 euro"', 13, "terms.bond: expected an amount"),
        ("min_clients = 2", 'min_clients = 2\nbond = "0 ether"', 9, "a server without a bond"),
        ("min_clients = 2", 'min_clients = 2\nserver = "me"', 13, 'terms.server: expected an address.*or "anyone"'),
        ("min_clients = 2", "min_clients = 2\nmax_clients = 1", 9, "min_clients 2 is more than max_clients 1$"),
        ("min_clients = 2", "min_clients = 2\nmax_clients = 3\nmax_excluded = 4", 9, "max_excluded 4 is more than"),
        ("open = false", "", 9, "terms.open: Field required"),
        ("open = false", "open = 1", 11, "terms.open: .*valid boolean"),
        (
            "min_clients = 2",
            "min_clients = 2\nmax_clients = 4097\nmax_weight = 16777215",
            13,
            "max_clients: .*equal to 4096",
        ),
        ("min_clients = 2", "min_clients = 2\nmax_weight = 16777216", 13, "terms.max_weight: .*equal to 16777215"),
        ("min_clients = 2", "min_clients = 2\nidle_seconds = 2459", 9, "idle_seconds 2459 is less than.*2460"),
        ("min_clients = 2", "min_clients = 2\nserver_share = 5001", 13, "terms.server_share: .*equal to 5000"),
        ("min_clients = 2", "min_clients = 2\nmax_unsettled = 0", 13, "terms.max_unsettled: .*equal to 1"),
        ("min_clients = 2", "min_clients = 2\ndeadline = 2592001", 13, "terms.deadline: .*2592000"),
        ("min_clients = 2", "min_clients = 2\nfan_in = 1", 13, "terms.fan_in: .*greater than or equal to 2"),
        ("min_clients = 2", "min_clients = 2\nfan_in = 65", 13, "terms.fan_in: .*less than or equal to 64"),
        ("min_clients = 2", "min_clients = 2\nchunk_parameters = 12", 13, "terms.chunk_parameters: .*multiple of 8"),
        ("[terms]", '[rule]\nname = "best"\n[terms]', 10, "rule.name: there is no rule 'best'"),
        ("[terms]", "[[terms]]", 1, "terms: "),
    ],
)
def test_an_error_names_file_line_and_field(tmp_path, old, new, line, said):
    with pytest.raises(JobDocumentError) as caught:
        read(tmp_path, GOOD.replace(old, new))
    assert re.search(rf"^{tmp_path}/job.toml:{line}: .*{said}", str(caught.value), re.MULTILINE), caught.value
    assert caught.value.exit_code == 3


def test_all_errors_are_named_at_once(tmp_path):
    with pytest.raises(JobDocumentError) as caught:
        read(tmp_path, GOOD.replace("rounds = 2", "rounds = 0\ncolour = 1").replace('"mlp"', "1"))
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == [
        f"{tmp_path}/job.toml:{number}" for number in (4, 10, 11)
    ]


def test_a_field_that_fits_none_of_its_types_is_named_once(tmp_path):
    with pytest.raises(JobDocumentError) as caught:
        read(tmp_path, GOOD.replace("learning_rate = 0.1", "optimizer_options.momentum = [true]"))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"name =", "is not valid TOML"), (b"\xff", "is not valid TOML"), (b"a = 1\na = 2", "is not valid TOML")],
)
def test_what_is_no_toml(tmp_path, content, said):
    path = tmp_path / "job.toml"
    path.write_bytes(content)
    with pytest.raises(JobDocumentError, match=said):
        JobFile.read(path)


def test_a_file_that_is_not_there_and_one_that_is_a_folder(tmp_path):
    with pytest.raises(JobDocumentError, match="can't be read: No such file"):
        JobFile.read(tmp_path / "job.toml")
    with pytest.raises(JobDocumentError, match="can't be read: Is a directory"):
        JobFile.read(tmp_path)
