"""Be four clients in one program, each with a budget of its own: python client.py"""

import galaxy_fl as galaxy

if __name__ == "__main__":
    galaxy.Client(data="digits", shards="1-4/4", stop_at_epsilon=8.0).run()
