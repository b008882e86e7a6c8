"""A user's program, as a type checker sees it; it is checked and not run."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import galaxy_chain
import galaxy_fl as galaxy


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.layers(x)
        return scores


class Elsewhere:
    """Not a mode: it has none of the methods of one."""


class Digits(Dataset[tuple[Tensor, int]]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.zeros(1, 8, 8), index


def listen(event: galaxy.Event, job: str) -> None:
    if isinstance(event, galaxy.events.Trained):
        print(job, event.round, event.loss)


def main() -> None:
    train = galaxy.Train(loss="nll", learning_rate=0.1, batch_size=32, optimizer_options={"weight_decay": 0.01})
    job = galaxy.Job(model=Net, rounds=5, train=train)
    robust = galaxy.Job(Net(), rounds=5, method=galaxy.Averaging("trimmed_mean", trim=1), output="logits")
    student = galaxy.Job("cnn", rounds=5, method=galaxy.Distillation(alpha=0.5))
    ids: list[str] = [galaxy.submit(one, clients=3, at=Path("federation")) for one in (job, robust, student)]
    print(ids, galaxy.__version__, galaxy_chain.__version__)
    with galaxy_chain.Ledger(["http://one", "http://two"], account="alice") as ledger:
        owners: list[str] = [stored.owner for stored in ledger.jobs().values()]
        print(owners, ledger.job(1).settled, ledger.web3().eth.chain_id, galaxy.submit(job, at=ledger))
    try:
        galaxy.submit(job)
        outcomes: list[galaxy.Outcome] = galaxy.Client(data=Digits(), name="1", at="federation").run()
        galaxy.Client(data="digits", shard="1/2", listeners=[galaxy.Console(), listen]).run(forever=True)
        galaxy.Server(test_data="digits").run()
        print([outcome.final_model for outcome in outcomes])
    except galaxy.JobDocumentError as error:
        raise SystemExit(error.exit_code) from error
    except galaxy_chain.LedgerRefusedError as error:
        print(error.name)


def wrong() -> None:
    galaxy.Train(learning_rat=0.1)  # E: Unexpected keyword argument "learning_rat"
    galaxy.Train(learning_rate="0.1")  # E: incompatible type "str"; expected "float"
    galaxy.Job(Net)  # E: Missing named argument "rounds"
    galaxy.Job(Net, rounds="5")  # E: incompatible type "str"; expected "int"
    galaxy.Job(3, rounds=5)  # E: incompatible type "int"
    galaxy.Job(Net, rounds=5, output="softmax")  # E: incompatible type
    galaxy.Averaging("median")  # E: incompatible type
    galaxy.submit(Net)  # E: incompatible type "type[Net]"; expected "Job"
    galaxy.submit(galaxy.Job(Net, rounds=5), at=Elsewhere())  # E: incompatible type "Elsewhere"
    galaxy.Client(dat="digits")  # E: argument
    galaxy.Client(data=3)  # E: incompatible type "int"
    galaxy.Server(listeners=[print, main])  # E: List item
    galaxy_chain.Ledger(5)  # E: incompatible type "int"
    galaxy.Jbo(Net, rounds=5)  # E: Module has no attribute "Jbo"
    number: int = galaxy.submit(galaxy.Job(Net, rounds=5))  # E: Incompatible types in assignment
    galaxy.Job(Net, rounds=5).rounds = number  # E: read-only


if __name__ == "__main__":
    main()
