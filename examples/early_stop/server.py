"""Keep the best model, and end the job when it is good enough, or gets no better: python server.py 0.8"""

import sys

import galaxy_fl as galaxy

if __name__ == "__main__":
    server = galaxy.Server(test_data="digits", best="accuracy", stop_when=f"accuracy>={sys.argv[1]}", patience=10)
    for outcome in server.run():
        print(f"job {outcome.job}: {outcome.rounds} rounds, the best is round {outcome.best_round}")
