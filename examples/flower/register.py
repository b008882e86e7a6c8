"""Register the job of the app in digits_app. A whole run on one machine, in this folder; the first line in a terminal
of its own:

galaxy-chain node
galaxy-chain deploy --account dev:0
export GALAXY_HOME=$PWD/.galaxy GALAXY_ACCOUNT=dev:0 GALAXY_ACCOUNTS=dev:1-4 GALAXY_TRUST=OWNER
python register.py
flwr run . --stream --federation-config num-supernodes=4
galaxy-chain audit 1

OWNER is the address of dev:0, which `galaxy-chain job show 1` shows. In a simulation all clients are in one
environment, which names an account for each; otherwise each SuperNode has its own.
"""

from digits_app.task import initial

from galaxy_chain.flower import create_job

if __name__ == "__main__":
    job = create_job(initial(), rounds=3, clients=4, open=True, terms={"bond": "1 ether"})
    print(f"job {job}")
