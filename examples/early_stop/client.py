"""Train on a part of the digits, until the server ends the job: python client.py"""

import galaxy_fl as galaxy

if __name__ == "__main__":
    galaxy.Client(data="digits", shard="1/4").run()
