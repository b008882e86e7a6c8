"""What the examples that need extras import, loaded once for all of their programs."""

import opacus.optimizers
import opacus.validators  # noqa: F401

from galaxy_fl.lm.libraries import libraries

transformers, peft = libraries()
Llama = transformers.LlamaForCausalLM  # imported when it is asked for
