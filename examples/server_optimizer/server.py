"""Aggregate, take the step, and keep the moments: python server.py"""

import galaxy_fl as galaxy

if __name__ == "__main__":
    galaxy.Server().run()
