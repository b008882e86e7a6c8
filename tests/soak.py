"""Kills and reorganisations at random throughout jobs on anvil: `scripts/soak`.

Server and clients are killed at any moment, or at any of the points of `galaxy_fl/faults.py`, and started again at
once; meanwhile blocks are replaced by empty ones. Each job has to end with the model of one in which nothing happens.
"""

from __future__ import annotations

import argparse
import random
import signal
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.end_to_end.apart import STUCK, Apart, Described, Participant
from tests.end_to_end.processes import anvil

__all__ = ["Tally", "disturb", "undisturbed"]

TRANSACTION = ("after-intent", "after-broadcast", "before-receipt")
EVERYBODY = (*TRANSACTION, "before-cursor", "after-cursor", "after-store-put")
POINTS = {
    "server": (*EVERYBODY, "during-aggregation", "after-aggregation"),
    "first": (*EVERYBODY, "after-training", "after-kept"),
    "second": (*EVERYBODY, "after-training", "after-kept"),
}
DEEPEST = 3
"""Blocks that are replaced at once. The last commit has to have more before participants leave."""
TICK, BLOCK_SECONDS, REPLACED_SECONDS = 0.05, 0.5, (1.0, 6.0)
ROUNDS = 20


@dataclass
class Tally:
    """What was done to jobs, and what they did all the same."""

    jobs: int = 0
    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    """By participant."""
    points: Counter[str] = field(default_factory=Counter)
    """Those of the kills that were at a fault point."""
    depths: Counter[int] = field(default_factory=Counter)
    """Reorganisations by depth."""
    failed: int = 0
    """Transactions that failed in a block."""

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.jobs + other.jobs,
            self.rounds + other.rounds,
            self.kills + other.kills,
            self.points + other.points,
            self.depths + other.depths,
            self.failed + other.failed,
        )

    def __str__(self) -> str:
        def listed(counter: Counter[str] | Counter[int]) -> str:
            return ", ".join(f"{what} {count}" for what, count in sorted(counter.items()))

        return (
            f"{self.jobs} jobs, {self.rounds} rounds\n"
            f"{self.kills.total()} kills: {listed(self.kills)}\n"
            f"{self.points.total()} of them at a point: {listed(self.points)}\n"
            f"{self.depths.total()} reorganisations, by depth: {listed(self.depths)}; {self.failed} transactions failed in blocks"
        )


class _Lives:
    """A participant that is started whenever it was killed, and killed some time after it was started."""

    def __init__(self, name: str, participant: Participant, longest: float, tally: Tally) -> None:
        self._name, self._participant, self._longest, self._tally = name, participant, longest, tally
        self._calm = False
        self._begin()

    def _begin(self) -> None:
        self._point = None
        if not self._calm and random.random() < 0.8:
            self._point = f"{random.choice(POINTS[self._name])}:{random.randint(1, 3)}"
        self._program = self._participant.start(self._point)
        self._until = time.monotonic() + random.uniform(0, self._longest)

    def leave_alone(self) -> None:
        """Kills it no more, but at a point that was named before."""
        self._calm = True

    def tick(self) -> bool:
        """Kills it, or starts it again, if it is time for that; whether it has come to its end."""
        process = self._program.process
        if process.poll() is None:
            if self._calm or time.monotonic() < self._until:
                return False
            process.send_signal(signal.SIGKILL)
            process.wait()
        elif process.returncode == 0:
            return True
        else:
            assert process.returncode == -signal.SIGKILL, (self._name, process.returncode, *process.communicate())
            assert self._point is not None
            self._tally.points[self._point.partition(":")[0]] += 1
        self._tally.kills[self._name] += 1
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # unread, for its worker may have it open for a moment longer
        process.stderr.close()
        self._begin()
        return False

    def close(self) -> None:
        """Ends it."""
        self._program.kill()


def undisturbed(folder: Path, url: str, described: Described, rounds: int) -> tuple[str, float]:
    """The final model of a job in which nothing happens, and how many seconds it took."""
    job = Apart(folder, url, described, rounds)
    began = time.monotonic()
    with ExitStack() as stack:
        for program in [stack.enter_context(job.participant(name).start()) for name in POINTS]:
            program.finish()
    return job.model(), time.monotonic() - began


def disturb(
    folder: Path, url: str, described: Described, rounds: int, model: str, longest: float, until: float
) -> Tally:
    """Disturbs a job until some time, and waits for its end.

    Args:
        folder: For all that is kept.
        url: Of an anvil on which nothing else is.
        described: What the job is about.
        rounds: How many.
        model: That it has to end with.
        longest: Seconds that a client lives at most; the server, which starts faster, half as long.
        until: When to leave it alone, as `time.monotonic`.

    Raises:
        AssertionError: it ended otherwise, or not at all.
    """
    job = Apart(folder, url, described, rounds)
    job.rpc.request("anvil_mine", hex(DEEPEST + 1))  # the registration stays
    tally = Tally(1, rounds)
    with ExitStack() as stack:
        lives = []
        for name in POINTS:
            participant = job.participant(name, "--confirmations", DEEPEST + 2)
            lives.append(_Lives(name, participant, longest / 2 if name == "server" else longest, tally))
            stack.callback(lives[-1].close)
        mined = time.monotonic()
        replaced = mined + random.uniform(*REPLACED_SECONDS)
        while [life for life in lives if not life.tick()]:
            now = time.monotonic()
            assert now < until + STUCK, f"the job has not ended: {job.history()}"
            if now > until:
                for life in lives:
                    life.leave_alone()
            elif now > replaced:
                replaced = now + random.uniform(*REPLACED_SECONDS)
                depth = random.randint(1, DEEPEST)
                job.rpc.request("anvil_reorg", depth, [])
                tally.depths[depth] += 1
            if now > mined + BLOCK_SECONDS:
                mined = now
                job.rpc.request("anvil_mine", "0x1")
            time.sleep(TICK)
    assert job.model() == model
    tally.failed = job.check_transactions()
    return tally


def main() -> None:
    """Disturbs one job after the other for so many minutes."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="for how long to disturb jobs [%(default)s]")
    minutes = parser.parse_args().minutes
    total = Tally()
    with tempfile.TemporaryDirectory(prefix="galaxy-soak-") as name, anvil() as url:
        folder = Path(name)
        for part in ("described", "undisturbed"):
            (folder / part).mkdir()
        described = Described.on(url, folder / "described")
        model, seconds = undisturbed(folder / "undisturbed", url, described, ROUNDS)
        print(f"{ROUNDS} rounds without disturbance: {seconds:.1f} s, model {model}", flush=True)
        until = time.monotonic() + 60 * minutes
        while time.monotonic() < until:
            (place := folder / str(total.jobs)).mkdir()
            total += disturb(place, url, described, ROUNDS, model, 1.5 * seconds, until)
            print(f"\n{total}\naudited, and the same model each time", flush=True)


if __name__ == "__main__":
    main()
