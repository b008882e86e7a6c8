"""Train on one ward's patients: python client.py 1, and in another terminal python client.py 2"""

import sys

from patients import Patients

import galaxy_fl as galaxy

if __name__ == "__main__":
    ward = int(sys.argv[1])
    galaxy.Client(data=Patients(ward, 120), test_data=Patients(0, 60), name=f"ward-{ward}").run()
