"""A whole job on a ledger, from Python; each long-running line in a terminal of its own, all in one folder:

galaxy-chain node
galaxy-chain deploy --account dev:0
python job.py submit
python job.py server 1
python job.py client 1 1
python job.py client 1 2
python job.py audit 1
"""

import os
import sys

import galaxy_chain
import galaxy_fl as galaxy

NODE = os.environ.get("GALAXY_RPC", "http://127.0.0.1:8545")


def ledger(account=None):
    """Name the ledger, and who acts there: dev:0, dev:1, … are the accounts of the development chain."""
    return galaxy_chain.Ledger(NODE, account=account)


def submit():
    job = galaxy.Job(model="mlp", rounds=3, train=galaxy.Train(learning_rate=0.1, batch_size=32))
    terms = {"open": True, "bond": "1 ether", "reward": "0.3 ether"}
    print("job", galaxy.submit(job, clients=2, at=ledger("dev:0"), terms=terms))


# leave=True: a bond is free, and rewards can be taken, a day after the last round. This does not wait for them.


def server(job):
    galaxy.Server(at=ledger("dev:0"), jobs=[job], test_data="digits", leave=True).run()


def client(job, number):
    account = f"dev:{number}"
    galaxy.Client(at=ledger(account), jobs=[job], data="digits", shard=f"{number}/2", leave=True).run()


def audit(job):
    """Recompute every round, to the bit; that needs no account."""
    with ledger() as reading:
        print("owner", reading.jobs()[job].owner)
        for audited in reading.audit(job).rounds():
            print(f"round {audited.round} is right: {audited.updates} updates make {audited.root.hex()}")


if __name__ == "__main__":
    role, *numbers = sys.argv[1:]
    {"submit": submit, "server": server, "client": client, "audit": audit}[role](*map(int, numbers))
