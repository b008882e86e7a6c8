"""Aggregate the rounds, and evaluate each model: python server.py"""

from patients import Patients

import galaxy_fl as galaxy

if __name__ == "__main__":
    galaxy.Server(test_data=Patients(0, 60)).run()
