"""Describe a job with FedProx, for clients whose data are unlike each other's, and submit it: python model.py"""

import galaxy_fl as galaxy

if __name__ == "__main__":
    train = galaxy.Train(learning_rate=0.3, batch_size=16, local_epochs=10, proximal=0.01)
    print("job", galaxy.submit(galaxy.Job(model="mlp", rounds=5, train=train), clients=5))
