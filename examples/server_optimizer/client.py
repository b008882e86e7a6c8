"""Train on digits of which each client has a few labels: python client.py 1 and 2, each in a terminal of its own"""

import sys

import galaxy_fl as galaxy

if __name__ == "__main__":
    number = sys.argv[1]
    galaxy.Client(data="digits", shard=f"{number}/2", partition="labels:5", test_data="digits", name=number).run()
