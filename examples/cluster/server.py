"""Aggregate the rounds: python server.py"""

from galaxy_fl.core.server import FLClusterServer
from galaxy_fl.core.strategy import FederateStrategy

if __name__ == "__main__":
    FLClusterServer(FederateStrategy.FED_AVG, test_data="digits").start(until_done=True)
