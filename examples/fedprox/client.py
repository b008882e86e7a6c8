"""Be five clients in one program, each with two of the ten digits: python client.py"""

import galaxy_fl as galaxy

if __name__ == "__main__":
    galaxy.Client(data="digits", shards="1-5/5", partition="labels:2").run()
