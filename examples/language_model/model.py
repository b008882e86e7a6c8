"""Describe a job that teaches a language model two poets, and submit it: python model.py, after python base.py"""

import galaxy_fl as galaxy
from galaxy_fl.lm import CausalLM


class Net(CausalLM):
    base = "base"  # the folder here; clients get it with the job
    config = {
        "model_type": "llama",
        "vocab_size": 257,  # bytes, and the end of a text
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": 256,
    }
    lora = {
        "r": 8,
        "lora_alpha": 16,
        "lora_dropout": 0.05,
        "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    }


def job():
    train = galaxy.Train(optimizer="AdamW", learning_rate=0.01, batch_size=8, local_epochs=2, clip_norm=1.0)
    return galaxy.Job(model=Net, rounds=3, train=train, name="poets")


if __name__ == "__main__":
    print("job", galaxy.submit(job(), clients=2))
