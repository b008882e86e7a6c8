"""What the examples of language models import, loaded once for all of their programs."""

from galaxy_fl.lm.libraries import libraries

transformers, peft = libraries()
Llama = transformers.LlamaForCausalLM  # imported when it is asked for
