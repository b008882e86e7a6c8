"""Train on one poet's poems: python client.py blake, and in another terminal python client.py dickinson"""

import sys

import galaxy_fl as galaxy
from galaxy_fl.lm import Texts, poems

if __name__ == "__main__":
    poet = sys.argv[1]
    own = poems(poet)
    # Tokens are made here, where the texts are: with a tokenizer, Texts(own, tokenizer, length=64).
    data, test_data = Texts(own[:-2], length=64), Texts(own[-2:], length=64)
    galaxy.Client(data=data, test_data=test_data, name=poet).run()
