"""Aggregate the rounds; the server needs no data: python server.py"""

import galaxy_fl as galaxy

if __name__ == "__main__":
    galaxy.Server().run()
