"""Flower's side of a client: a mod that puts what the app has trained on the ledger's terms."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from logging import ERROR
from pathlib import Path
from typing import Any

import galaxy_chain.flower.installed  # noqa: F401  # isort: skip
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.common.constant import ErrorCode
from flwr.supercore import log

from galaxy_chain.flower.arrays import Arrays, numpy_arrays
from galaxy_chain.flower.client import SigningClient
from galaxy_chain.flower.messages import RECORD, UPDATE, Answer, Asked, samples_of
from galaxy_chain.mode import ChainSettings
from galaxy_chain.place import Ledger, ask_password
from galaxy_chain.transactions.accounts import PASSWORD_VARIABLE, Keystore, find_signer, take_secret
from galaxy_chain.transactions.manager import Signer
from galaxy_chain.transactions.several import parse_accounts
from galaxy_fl.exceptions import ConfigurationError, GalaxyError

__all__ = ["galaxy_mod"]

PREFIX = "galaxy-"
NODE_SETTINGS = ("account", "home", "ipfs", "ledger", "rpc", "store")
METRICS, OF = "galaxy-metrics", "galaxy-of"
"""What the node's state keeps: the metrics of what was signed last, and for which attempt on which model."""

Mod = Callable[[Message, Context, Callable[[Message, Context], Message]], Message]

_accounts: dict[tuple[object, ...], tuple[Ledger, Signer]] = {}
"""By their settings: to open a key takes a second, and an actor of a simulation has the messages of several clients."""
_passwords: list[str] = []
"""What GALAXY_PASSWORD was, which is taken out of the environment."""
_lock = threading.Lock()


def galaxy_mod(**settings: Any) -> Mod:
    """Return a mod for a `ClientApp`, the first of its list: `ClientApp(mods=[galaxy_mod()])`.

    In each round it makes sure that the server has sent the model that stands on the ledger, and that this was made
    rightly; has the app train; encodes the update in fixed point, puts it into the store, and signs its entry. The
    reply carries that signature in place of the arrays. Nothing else of the app changes, evaluation not at all.

    Which account signs, and where the ledger is, the node's own environment says: GALAXY_… variables, galaxy.toml, or
    `--node-config 'galaxy-account="ward-7" galaxy-job=1'`. In a simulation `accounts` (GALAXY_ACCOUNTS) names one for
    each partition. The key stays in the node's keystore; no message, run configuration or log has it.

    Args:
        settings: Those of a ledger: `account`, `accounts`, `home`, `jobs`, `rpc`, `store`, `trust`, ….

    Raises:
        ConfigurationError: a setting is wrong or unknown.

    Example:
        >>> from flwr.clientapp import ClientApp
        >>> from galaxy_chain.flower import galaxy_mod
        >>> app = ClientApp(mods=[galaxy_mod()])
    """
    ChainSettings.of(settings)

    def mod(message: Message, context: Context, call_next: Callable[[Message, Context], Message]) -> Message:
        if message.metadata.message_type.partition(".")[0] != "train":
            return call_next(message, context)
        try:
            return _reply(message, context, call_next, settings)
        except (GalaxyError, OSError) as error:
            log(ERROR, "nothing is sent of this round: %s", error)
            return Message(Error(ErrorCode.MOD_FAILED_PRECONDITION, f"galaxy_mod: {error}"), reply_to=message)

    return mod


def _reply(
    message: Message, context: Context, call_next: Callable[[Message, Context], Message], given: dict[str, Any]
) -> Message:
    """What becomes of a message that asks for training."""
    asked = Asked.of(message.content.config_records.get(RECORD))
    settings = node_settings(given, context.node_config)
    with SigningClient.at(*_account(settings, context.node_config), settings, asked.job) as client:
        round = client.reach(asked.attempt)
        client.check(round, _only_arrays(message.content, "the server's message"))
        of = {"attempt": round.attempt, "model": client.history.model.root.hex()}
        if (answer := client.before(round)) is not None:
            return _of(message, answer, _kept_metrics(context, of, asked.weighted_by, answer), of)
        reply = call_next(message, context)
        if reply.has_error():
            return reply
        arrays = _only_arrays(reply.content, "the app's reply")
        metrics = _only_metrics(reply.content)
        samples = samples_of(metrics, asked.weighted_by)
        answer = client.sign(round, arrays, samples)
        metrics[asked.weighted_by] = answer.update.weight  # what the ledger counts: a job may bound it
        context.state[METRICS], context.state[OF] = metrics, ConfigRecord(of)
        return _of(message, answer, metrics, of)


def node_settings(given: Mapping[str, Any], node: Mapping[str, Any]) -> ChainSettings:
    """The settings in force on a node: its own configuration before what the app's code says.

    Raises:
        ConfigurationError: one is wrong or unknown.
    """
    own: dict[str, Any] = {}
    for key, value in node.items():
        if not key.startswith(PREFIX):
            continue
        name = key.removeprefix(PREFIX)
        if name == "job":
            own["jobs"] = (value,)
        elif name in NODE_SETTINGS:
            own[name] = value
        else:
            known = ", ".join(f"{PREFIX}{known}" for known in ("job", *NODE_SETTINGS))
            raise ConfigurationError(f"the node's configuration has {key!r:.80}, expected one of {known}")
    return ChainSettings.of({**given, **own})


def _account(settings: ChainSettings, node: Mapping[str, Any]) -> tuple[Ledger, Signer]:
    """The ledger, and the account of the node that a message is for.

    Raises:
        ConfigurationError: it is not said which account is whose.
        AccountError: there is no such account, or its key can't be opened.
    """
    account, partitions = settings.account, node.get("num-partitions")
    if f"{PREFIX}account" not in node and settings.accounts is not None:
        if type(partitions) is not int or type(number := node.get("partition-id")) is not int:
            raise ConfigurationError(
                "accounts name one for each partition of a simulation, and this node's configuration has none: give "
                "this client's, --node-config 'galaxy-account=\"NAME\"' or GALAXY_ACCOUNT"
            )
        account = parse_accounts(settings.accounts, partitions)[number]
    elif f"{PREFIX}account" not in node and type(partitions) is int and partitions > 1:
        raise ConfigurationError(
            f"{partitions} clients share this configuration, and each needs an account of its own: name them, "
            "accounts=… (GALAXY_ACCOUNTS), as dev:FIRST-LAST or a file with a name a line; or give each node its own "
            "(--node-config 'galaxy-account=\"NAME\"')"
        )
    chosen = settings.model_copy(update={"account": account, "accounts": None})
    key = (chosen.rpc, str(Path(chosen.home).absolute()), chosen.ledger, chosen.store, account)
    with _lock:
        if key not in _accounts:
            at = chosen.at()
            _passwords.extend(filter(None, [take_secret(PASSWORD_VARIABLE)]))
            _accounts[key] = at, find_signer(account, Keystore(at.home / "keystore"), at.rpc(), _password)
        return _accounts[key]


def _password(name: str) -> str:
    return _passwords[-1] if _passwords else ask_password(name)


def _only_arrays(content: RecordDict, what: str) -> Arrays:
    if len(content.array_records) != 1:
        names = ", ".join(sorted(map(repr, content.array_records))) or "none"
        raise ConfigurationError(
            f"{what} has {len(content.array_records)} ArrayRecords ({names:.200}), expected one, with the whole model: "
            "custom records, updates in parts and secure aggregation are not for a ledger"
        )
    return numpy_arrays(next(iter(content.array_records.values())))


def _only_metrics(content: RecordDict) -> MetricRecord:
    if len(content.metric_records) != 1:
        raise ConfigurationError(
            f"the app's reply has {len(content.metric_records)} MetricRecords, expected one, with the number of samples"
        )
    return next(iter(content.metric_records.values()))


def _kept_metrics(context: Context, of: Mapping[str, Any], weighted_by: str, answer: Answer) -> MetricRecord:
    """The metrics of what was signed before, as far as the node's state still has them."""
    if dict(context.state.config_records.get(OF, {})) == of and METRICS in context.state.metric_records:
        return context.state.metric_records[METRICS]
    return MetricRecord({weighted_by: answer.update.weight})


def _of(message: Message, answer: Answer, metrics: MetricRecord, of: Mapping[str, Any]) -> Message:
    content = RecordDict({"metrics": metrics, RECORD: ConfigRecord(answer.to_record())})
    if answer.vector is not None:
        content[UPDATE] = ArrayRecord({"vector": Array(answer.vector)})
    return Message(content, reply_to=message)
