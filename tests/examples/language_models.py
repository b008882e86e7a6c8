"""What the examples of language models import, loaded once for all of their programs."""

from importlib import import_module

from galaxy_fl.lm.libraries import libraries

for _name in (
    "galaxy_fl.lm.model",
    "galaxy_fl.lm.texts",
    "galaxy_fl.modes.submit",
    "galaxy_fl.participants.client",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
):
    import_module(_name)
transformers, peft = libraries()
Llama = transformers.LlamaForCausalLM  # imported when it is asked for
Auto = transformers.AutoModelForCausalLM
