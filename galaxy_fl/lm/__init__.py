"""Language models: LoRA adapters of a causal language model that is trained by many, and its base by nobody.

    from galaxy_fl.lm import CausalLM

    class Net(CausalLM):
        config = {"model_type": "gpt2", …}
        lora = {"r": 8, "lora_alpha": 16, "target_modules": ["c_attn"]}

Needs the extra: `pip install 'galaxy-fl[lm]'`. See docs/how-to/language-models.md.
"""

import typing as _typing

from galaxy_fl.lazily import lazily as _lazily

if _typing.TYPE_CHECKING:
    from galaxy_fl.lm.measuring import perplexity
    from galaxy_fl.lm.model import CausalLM
    from galaxy_fl.lm.sizes import Sizes
    from galaxy_fl.lm.texts import Texts, poems

__all__ = ["CausalLM", "Sizes", "Texts", "perplexity", "poems"]

_HOMES = {
    "CausalLM": "galaxy_fl.lm.model",
    "Sizes": "galaxy_fl.lm.sizes",
    "Texts": "galaxy_fl.lm.texts",
    "perplexity": "galaxy_fl.lm.measuring",
    "poems": "galaxy_fl.lm.texts",
}

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _lazily(__name__, _HOMES)
