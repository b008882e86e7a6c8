"""Train a model of one's own on skewed data: python client.py 1, and so on to 3, each in a terminal of its own"""

import sys

import galaxy_fl as galaxy

if __name__ == "__main__":
    number = sys.argv[1]
    galaxy.Client(data="digits", shard=f"{number}/3", partition="dirichlet:0.5", test_data="digits", name=number).run()
