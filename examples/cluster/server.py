"""Serve clients that reach this machine: python server.py [URL]; it listens where the URL says"""

import sys

import galaxy_fl as galaxy

LISTEN = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:9763"

if __name__ == "__main__":
    galaxy.Server(at=LISTEN, test_data="digits").run()
