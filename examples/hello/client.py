"""Train on one half of the digits: python client.py 1, and in another terminal python client.py 2"""

import sys

from galaxy_fl.core.trainer_controller import TrainerController

if __name__ == "__main__":
    number = sys.argv[1]
    TrainerController(data="digits", shard=f"{number}/2", client_id=number).start(until_done=True)
