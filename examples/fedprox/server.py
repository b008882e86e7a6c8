"""Aggregate the rounds, and evaluate each model: python server.py"""

import galaxy_fl as galaxy

if __name__ == "__main__":
    galaxy.Server(test_data="digits").run()
