"""Generation for many sequences at once, token by token (or a few at a time): keys and values of all tokens so far grow
until nothing is left."""

import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

import card


class Attention(torch.nn.Module):
    """One layer's attention, with keys and values of its own."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = torch.nn.Linear(width, 3 * width, bias=False)
        self.out = torch.nn.Linear(width, width, bias=False)
        self.keys = self.values = None

    def update_kv_cache(self, k, v):
        if self.keys is None:
            self.keys, self.values = k, v
        else:
            self.keys = torch.cat((self.keys, k), dim=2)  # guilty: 3
            self.values = torch.cat((self.values, v), dim=2)  # guilty: 3
        return self.keys, self.values

    def forward(self, x):
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, dim=-1))
        k, v = self.update_kv_cache(k, v)
        x = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out(x.transpose(1, 2).flatten(2))


def llama(batch):
    config = LlamaConfig(
        vocab_size=8192, hidden_size=512, intermediate_size=1024, num_hidden_layers=16, num_attention_heads=8,
        num_key_value_heads=8, max_position_embeddings=65536,
    )  # fmt: skip
    with torch.device("cuda"):
        model = LlamaForCausalLM(config).eval()
    cache = DynamicCache()
    tokens = torch.randint(8192, (batch, 8), device="cuda")  # as many as a small model drafted
    with torch.no_grad():
        while True:
            out = model(input_ids=tokens, past_key_values=cache, use_cache=True)  # guilty: 1
            tokens = out.logits.argmax(-1)


def qwen(batch):
    config = Qwen2Config(
        vocab_size=4096, hidden_size=768, intermediate_size=1536, num_hidden_layers=12, num_attention_heads=12,
        num_key_value_heads=12, max_position_embeddings=65536, eos_token_id=None, bos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    with torch.device("cuda"):
        model = Qwen2ForCausalLM(config).eval()
    ids = torch.randint(1, 4096, (batch, 4), device="cuda")
    model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=20000, do_sample=False)  # guilty: 2


def own(batch):
    with torch.device("cuda"):
        layers = torch.nn.ModuleList(Attention(1024, 16) for _ in range(8))
    x = torch.randn(batch, 1, 1024, device="cuda")
    with torch.no_grad():
        while True:
            for layer in layers:
                x = torch.nn.functional.normalize(x + layer(x), dim=-1)


def main():
    args = card.arguments()
    total = card.begin(torch, args.variant)
    torch.set_default_dtype(torch.bfloat16)
    batch = int((16384, 49152, 49152)[args.variant - 1] * total / (79 * card.GIB))
    (llama, qwen, own)[args.variant - 1](batch)


main()
