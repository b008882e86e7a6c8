"""Train on one client's digits: python client.py 1 scanned (or coded), and so on to 4, each in a terminal of its own"""

import sys

from digits import digits

import galaxy_fl as galaxy

if __name__ == "__main__":
    client, kind = int(sys.argv[1]), sys.argv[2]
    galaxy.Client(data=digits("train", client, kind), test_data=digits("test", client, kind), name=str(client)).run()
