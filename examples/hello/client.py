"""Train on one half of the digits: python client.py 1, and in another terminal python client.py 2"""

import sys

import galaxy_fl as galaxy

if __name__ == "__main__":
    number = sys.argv[1]
    galaxy.Client(data="digits", shard=f"{number}/2", name=number).run()
