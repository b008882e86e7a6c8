"""Train on one half of the digits, wherever this machine is: python client.py 1 [URL]"""

import sys

import galaxy_fl as galaxy

SERVER = sys.argv[2] if len(sys.argv) > 2 else "http://127.0.0.1:9763"

if __name__ == "__main__":
    number = sys.argv[1]
    galaxy.Client(at=SERVER, data="digits", shard=f"{number}/2", name=number).run()
