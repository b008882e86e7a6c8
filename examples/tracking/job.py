"""Submit a job: python job.py"""

import galaxy_fl as galaxy

if __name__ == "__main__":
    job = galaxy.Job(model="mlp", rounds=3, train=galaxy.Train(learning_rate=0.1))
    print("job", galaxy.submit(job, clients=2))
