"""Describe a job and submit it, in the folder that the server runs in: python model.py"""

import galaxy_fl as galaxy

if __name__ == "__main__":
    job = galaxy.Job(model="mlp", rounds=5, train=galaxy.Train(learning_rate=0.1, batch_size=32))
    print("job", galaxy.submit(job, clients=2))
