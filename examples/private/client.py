"""Be twenty clients in one program, each with a budget of its own: python client.py"""

import galaxy_fl as galaxy

if __name__ == "__main__":
    galaxy.Client(data="digits", shards="1-20/20", stop_at_epsilon=30.0).run()
