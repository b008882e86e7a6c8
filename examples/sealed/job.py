"""A job whose models and updates only its members can read; each long-running line in a terminal of its own, in one
folder:

galaxy-chain node
galaxy-chain deploy --account dev:0
python job.py submit
python job.py server 1
python job.py client 1 1
python job.py client 1 2
python job.py export 1
python job.py audit 1
"""

import os
import sys

import galaxy_chain
import galaxy_fl as galaxy

NODE = os.environ.get("GALAXY_RPC", "http://127.0.0.1:8545")
MEMBERS = ("dev:1", "dev:2")


def ledger(home, account=None):
    """Name the ledger; `home` has each participant's own keys, the store is everybody's."""
    return galaxy_chain.Ledger(NODE, ".galaxy/ledger.json", account=account, home=home, store="public")


def submit():
    job = galaxy.Job(model="mlp", rounds=2, seal="members", train=galaxy.Train(learning_rate=0.1, batch_size=32))
    owner = ledger("owner", "dev:0")
    number = int(galaxy.submit(job, clients=2, at=owner, terms={"bond": "1 ether"}))
    owner.admit(number, [ledger("owner", member).signer.address for member in MEMBERS])
    print("job", number)


# The owner's server shares the key with whoever was admitted and joins; without one `galaxy-chain key serve` does.


def server(job):
    galaxy.Server(at=ledger("owner", "dev:0"), jobs=[job], test_data="digits", leave=True).run()


def client(job, number):
    at = ledger(f"member-{number}", MEMBERS[number - 1])
    galaxy.Client(at=at, jobs=[job], data="digits", shard=f"{number}/2", leave=True).run()


def export(job):
    """A member writes the job's keys into a file, for an auditor."""
    with ledger("member-1") as reading:
        reading.export_keys(job, "keys")


def audit(job):
    """Who is given the keys recomputes every round, to the bit; who has none reads nothing."""
    with ledger("auditor") as reading:
        try:
            list(reading.audit(job).rounds())
        except galaxy_chain.KeyMissingError:
            print("without a key: nothing")
        reading.import_keys("keys")
        for audited in reading.audit(job).rounds():
            print(f"round {audited.round} is right: {audited.updates} updates make {audited.root.hex()}")


if __name__ == "__main__":
    role, *numbers = sys.argv[1:]
    {"submit": submit, "server": server, "client": client, "export": export, "audit": audit}[role](*map(int, numbers))
