"""Be two clients, each a run of its own: python clients.py"""

import galaxy_fl as galaxy

if __name__ == "__main__":
    galaxy.Client(data="digits", shards="1-2/2", track=["tensorboard:runs", "csv:numbers.csv"]).run()
