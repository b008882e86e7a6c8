"""Flower's side of the server: a strategy around FedAvg whose every round stands on a ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from logging import INFO, WARNING
from typing import Any

import galaxy_chain.flower.installed  # noqa: F401  # isort: skip
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Result, Strategy
from flwr.supercore import log

from galaxy_chain.flower.arrays import Arrays, numpy_arrays
from galaxy_chain.flower.messages import RECORD, UPDATE, Answer, Asked, samples_of
from galaxy_chain.flower.serving import Serving
from galaxy_chain.mode import ChainSettings
from galaxy_fl.exceptions import ConfigurationError, GalaxyError
from galaxy_fl.rounds.coordinator import Phase, Round

__all__ = ["OnLedger"]

LONGEST_REASON = 500
"""Characters that are shown of what a client says of its failure."""


class OnLedger(Strategy):
    """A strategy whose every round stands on a ledger: `OnLedger(FedAvg(…), job=1).start(…)`.

    What FedAvg samples, sends and measures stays as it is. Updates are not in the replies but in the content store,
    committed to by entries that the clients have signed; these are handed in as one batch. Their weighted mean is made
    in integers by the job's rule, committed by the account of the server, whose bond answers for it, and given to
    Flower decoded. A round that is interrupted continues where it was: an app that starts again goes on with the model
    that stands on the ledger.

    Args:
        strategy: FedAvg, or one that is derived from it and takes the same mean, such as FedProx.
        job: The job's number: `galaxy_chain.flower.create_job` registers one.
        settings: Those of a ledger, as GALAXY_… variables and galaxy.toml give them, too: `account`, `home`, `rpc`,
            `store`, ….

    Raises:
        ConfigurationError: the strategy is not a weighted mean of all clients' models, or a setting is wrong.
    """

    def __init__(self, strategy: FedAvg, job: int, **settings: Any) -> None:
        _check_strategy(strategy)
        if type(job) is not int or job < 1:
            raise ConfigurationError(
                f"job is {job!r:.80}, expected the number of a job on the ledger: galaxy_chain.flower.create_job(…) "
                "registers one and returns it"
            )
        self.strategy = strategy
        self._job = job
        self._settings = ChainSettings.of(settings)
        self._serving: Serving | None = None
        self._like: Arrays = {}
        """The app's arrays, for their names, order and types."""
        self._round: Round | None = None
        """The round that clients were asked for last."""

    def summary(self) -> None:
        """Log what the strategy does."""
        self.strategy.summary()
        log(INFO, "\t└──> On the ledger: every round, as one of job %d", self._job)

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """As every strategy's, from the round on that the job is at.

        Args:
            num_rounds: At most as many as the job has. Of a job that has begun, those that are left of them.
            grid, initial_arrays, timeout, train_config, evaluate_config, evaluate_fn: As of every strategy. Rounds are
                numbered from 1 in each start.

        Raises:
            ConfigurationError: app and job don't fit.
            GalaxyError: the job can't be served.
        """
        self._like = numpy_arrays(initial_arrays)
        with Serving(self._settings, self._job) as serving:
            self._check(serving, num_rounds)
            serving.check_initial(serving.coordinator.round(), self._like)
            serving.enter()
            self._serving = serving
            try:
                round = serving.collecting()
                left = max(0, min(num_rounds, serving.coordinator.rounds) - round.number + 1)
                if round.number > 1:
                    log(INFO, "job %d stands at round %d: the app continues there", self._job, round.number)
                begin = self._record(serving, round)
                configs = (train_config, evaluate_config, evaluate_fn)
                result = super().start(grid, begin, left, timeout, *configs)
                if not result.arrays:
                    result.arrays = begin
                self._tell_end(serving)
                return result
            finally:
                self._serving = None

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask the clients that the strategy samples, with the model that stands on the ledger."""
        serving = self._served()
        self._round = round = serving.collecting()
        if round.phase is not Phase.COLLECTING:
            return []
        record = self._record(serving, round)
        messages = list(self.strategy.configure_train(server_round, record, config, grid))
        if not serving.fewest <= len(messages) <= serving.most:
            wanted = f"{serving.fewest} to {serving.most}" if serving.fewest < serving.most else f"{serving.most}"
            raise ConfigurationError(
                f"{len(messages)} nodes are connected and sampled, and a round of job {self._job} takes {wanted} "
                "updates: start as many nodes, or register a job for as many (clients=…, terms={'min_clients': …})"
            )
        asked = Asked(self._job, round.attempt, self.strategy.weighted_by_key)
        for message in messages:
            message.content[RECORD] = ConfigRecord(asked.to_record())
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Hand in what the clients have signed, commit the round, and return its model."""
        serving, round = self._served(), self._round
        if round is None or round.phase is not Phase.COLLECTING:
            return None, None
        answers: dict[str, tuple[Answer, MetricRecord]] = {}
        for reply in replies:
            if (read := self._read(serving, round, reply)) is not None:
                client = read[0].update.client
                if client in answers:
                    log(WARNING, "node %d: the entry of %s has come before", reply.metadata.src_node_id, client)
                else:
                    answers[client] = read
        done = serving.serve(round, [answer for answer, _ in answers.values()])
        if done is None or done.committed is None:
            return None, None
        left_out = {submitted.client: why for submitted, why in done.excluded.items()}
        for client, why in left_out.items():
            log(WARNING, "round %d leaves out %s: %s", round.number, client, why)
        log(
            INFO,
            "round %d of job %d stands on the ledger: %d updates, model %s, transaction %s",
            round.number,
            self._job,
            done.updates - len(left_out),
            done.committed.model.hex(),
            serving.coordinator.transaction,
        )
        metrics = [of for client, (_, of) in answers.items() if client not in left_out]
        return self._record(serving, serving.collecting()), self._mean(metrics)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """As the strategy does."""
        messages: Iterable[Message] = self.strategy.configure_evaluate(server_round, arrays, config, grid)
        return messages

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """As the strategy does."""
        return self.strategy.aggregate_evaluate(server_round, replies)

    def _served(self) -> Serving:
        if self._serving is None:
            raise ConfigurationError("OnLedger serves a job while `start` runs: call start(…), as of every strategy")
        return self._serving

    def _record(self, serving: Serving, round: Round) -> ArrayRecord:
        arrays = serving.arrays(round, self._like)
        return ArrayRecord({name: Array(value) for name, value in arrays.items()})

    def _check(self, serving: Serving, num_rounds: int) -> None:
        """Make sure that strategy and job fit, before anything is staked."""
        planned = serving.coordinator.planned
        if num_rounds > planned:
            raise ConfigurationError(
                f"num_rounds is {num_rounds}, and job {self._job} has {planned}: ask for at most as many, or register "
                "a job with more (galaxy_chain.flower.create_job(…, rounds=…))"
            )
        strategy = self.strategy
        if max(strategy.min_available_nodes, strategy.min_train_nodes) < serving.fewest:
            raise ConfigurationError(
                f"the strategy begins with {strategy.min_available_nodes} nodes, and a round of job {self._job} takes "
                f"at least {serving.fewest} updates: FedAvg(…, min_available_nodes={serving.fewest})"
            )

    def _read(self, serving: Serving, round: Round, reply: Message) -> tuple[Answer, MetricRecord] | None:
        """What a reply brings; None where that is nothing, and the reason is logged."""
        node = reply.metadata.src_node_id
        try:
            if reply.has_error():
                raise ConfigurationError(reply.error.reason or f"error {reply.error.code}")
            content = reply.content
            answer = Answer.of(
                content.config_records.get(RECORD),
                serving.domain,
                self._job,
                round.attempt,
                serving.model_root(),
                content.array_records.get(UPDATE),
            )
            serving.check_brought(answer)
            if content.array_records.keys() - {UPDATE}:
                raise ConfigurationError(
                    "it has arrays beside its entry, and only the entry counts: galaxy_mod() has to be the first of "
                    "the ClientApp's mods"
                )
            if len(content.metric_records) != 1:
                raise ConfigurationError(f"it has {len(content.metric_records)} MetricRecords, expected one")
            metrics = next(iter(content.metric_records.values()))
            if (said := samples_of(metrics, self.strategy.weighted_by_key)) != answer.update.weight:
                raise ConfigurationError(
                    f"its metrics say {said} samples, and its entry weighs {answer.update.weight}: what it has signed "
                    "and what it says differ"
                )
        except GalaxyError as error:
            text = "".join(letter if letter.isprintable() else " " for letter in str(error))
            log(WARNING, "node %d gives nothing to round %d: %s", node, round.number, text[:LONGEST_REASON])
            return None
        return answer, metrics

    def _mean(self, metrics: list[MetricRecord]) -> MetricRecord | None:
        """The strategy's mean of the metrics, of those replies that have what most have."""
        if not metrics:
            return None
        kinds = [frozenset((key, *_kind(value)) for key, value in each.items()) for each in metrics]
        # What most clients say: one that says more, or lists where others have numbers, must not silence them.
        usual = Counter(kinds).most_common(1)[0][0]
        alike = [each for each, kind in zip(metrics, kinds, strict=True) if kind == usual]
        if len(alike) < len(metrics):
            log(
                WARNING,
                "the metrics of %d replies have other keys or kinds than those of most, and are left out",
                len(metrics) - len(alike),
            )
        contents = [RecordDict({"metrics": each}) for each in alike]
        mean: MetricRecord = self.strategy.train_metrics_aggr_fn(contents, self.strategy.weighted_by_key)
        return mean

    def _tell_end(self, serving: Serving) -> None:
        round = serving.coordinator.round()
        if round.over or round.phase is Phase.SETTLING:
            log(
                INFO,
                "job %d is at its end; this account's bond answers for its commits until their windows are over: "
                "`galaxy-chain server --job %d` answers, settles, and gets bond and earnings out",
                *(self._job, self._job),
            )
        else:
            log(
                WARNING,
                "job %d stands at round %d of %d: start the app again to continue",
                *(self._job, round.number, serving.coordinator.rounds),
            )


def _kind(value: object) -> tuple[str, int]:
    """What can be averaged with it: other numbers, or lists of as many."""
    return ("list", len(value)) if isinstance(value, list) else ("number", 0)


def _check_strategy(strategy: Any) -> None:
    """Make sure that a strategy takes the weighted mean of all clients' models, and nothing else."""
    kind = type(strategy)
    if not isinstance(strategy, FedAvg):
        hint = "it wraps another strategy, and changes models on the way" if isinstance(strategy, Strategy) else ""
        if kind.__module__.startswith(("flwr.server.", "flwr.compat.")):
            hint = "it is of Flower's older API: take the one of flwr.serverapp.strategy"
        raise ConfigurationError(
            f"strategy is a {kind.__name__}, expected FedAvg of flwr.serverapp.strategy{': ' if hint else ''}{hint}"
        )
    if kind.aggregate_train is not FedAvg.aggregate_train:
        raise ConfigurationError(
            f"{kind.__name__} makes something else of the updates than their weighted mean, which is what the job's "
            "contract recomputes: use FedAvg or FedProx; for server optimizers and robust rules on a ledger see "
            "docs/how-to/server-optimizers.md, which Galaxy's own clients train by"
        )
    if strategy.fraction_train != 1.0:
        raise ConfigurationError(
            f"fraction_train is {strategy.fraction_train}, expected 1.0: a round on the ledger is of all its clients; "
            "let rounds go on without some by the job's terms, create_job(…, terms={'min_clients': …})"
        )
