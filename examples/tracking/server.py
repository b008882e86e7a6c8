"""Evaluate each round's model, for TensorBoard and as CSV: python server.py, then tensorboard --logdir runs"""

import galaxy_fl as galaxy

if __name__ == "__main__":
    galaxy.Server(test_data="digits", track=["tensorboard:runs", "csv:numbers.csv"]).run()
