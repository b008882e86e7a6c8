"""Take the adapters out of the final model, in peft's format: python adapter.py, after the job"""

from pathlib import Path

from model import Net

from galaxy_fl.lm import Texts, perplexity, poems

if __name__ == "__main__":
    base, net = Net(), Net()
    [final] = Path().glob("final_model_pars_*.safetensors")
    net.load_trained(final)
    for poet in ("blake", "dickinson", "shakespeare"):
        texts = Texts(poems(poet)[-2:], length=64)
        print(f"{poet}: perplexity {perplexity(base, texts):.2f} before, {perplexity(net, texts):.2f} after")
    net.export_adapter("adapter", base="base")
    print("adapter: peft.PeftModel.from_pretrained(base, 'adapter')")
