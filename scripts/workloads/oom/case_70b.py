"""A model of 70 billion parameters with 4-bit weights (about 40 GB) on one GPU of 80 GB: the KV cache of its
sequences grows until nothing is left. --kv fp8 keeps keys and values in 8 bits; --tokens N ends after N tokens;
--limit N admits N tokens at most.

All weights are there, with random bits. The prompt goes through the projections that make keys and values, a token
now and then through all of a layer: memory is the subject, not text.
"""

import torch

import card

GROUP = 128  # weights that share a scale


class Shape:
    def __init__(self, layers, width, inner, heads, kv_heads, bits):
        self.layers, self.width, self.inner, self.heads, self.kv_heads, self.bits = layers, width, inner, heads, kv_heads, bits
        self.head = width // heads

    def matrices(self):
        kv = self.kv_heads * self.head
        return {
            "q": (self.width, self.width), "k": (kv, self.width), "v": (kv, self.width), "o": (self.width, self.width),
            "gate": (self.inner, self.width), "up": (self.inner, self.width), "down": (self.width, self.inner),
        }  # fmt: skip


SHAPES = (
    Shape(80, 8192, 28672, 64, 8, 4),  # Llama 3 70B
    Shape(80, 8192, 29568, 64, 8, 4),  # Qwen 2 72B
    Shape(48, 6144, 22528, 48, 8, 8),  # 26 billion parameters in 8 bits
)


class Quantised(torch.nn.Module):
    """A matrix in 4 or 8 bits, with a scale for each group of weights."""

    def __init__(self, rows, columns, bits):
        super().__init__()
        self.bits = bits
        self.register_buffer("packed", torch.randint(256, (rows, columns * bits // 8), dtype=torch.uint8, device="cuda"))
        self.register_buffer("scales", torch.full((rows, columns // GROUP), 1e-3, dtype=torch.float16, device="cuda"))

    def forward(self, x):
        w = self.packed
        if self.bits == 4:
            w = torch.stack((w & 15, w >> 4), dim=-1).flatten(1)
        w = (w.to(torch.bfloat16) - 2 ** (self.bits - 1)).unflatten(1, (-1, GROUP)) * self.scales.to(torch.bfloat16).unsqueeze(-1)
        return x @ w.flatten(1).t()


class PagedKVCache:
    """Keys and values in blocks of tokens, allocated as they are needed."""

    def __init__(self, shape, dtype, block):
        self.shape, self.dtype, self.block = shape, dtype, block
        self.blocks = [[] for _ in range(shape.layers)]

    def append_to_kv_cache(self, layer, keys, values):
        block = torch.empty(2, self.block, self.shape.kv_heads, self.shape.head, dtype=self.dtype, device="cuda")  # guilty
        block[0].copy_(keys.unflatten(-1, (self.shape.kv_heads, -1)))
        block[1].copy_(values.unflatten(-1, (self.shape.kv_heads, -1)))
        self.blocks[layer].append(block)

    def bytes(self):
        return sum(b.nbytes for layer in self.blocks for b in layer)


def main():
    args = card.arguments(("--kv", str, "bf16"), ("--tokens", int, 0), ("--limit", int, 0))
    total = card.begin(torch, args.variant)
    shape = SHAPES[args.variant - 1]
    block = (4096, 2048, 8192)[args.variant - 1]
    layers = [{name: Quantised(*size, shape.bits) for name, size in shape.matrices().items()} for _ in range(shape.layers)]
    embedding = torch.empty(128256, shape.width, dtype=torch.bfloat16, device="cuda").normal_(std=0.02)
    head = torch.empty(128256, shape.width, dtype=torch.bfloat16, device="cuda").normal_(std=0.02)
    weights = torch.cuda.memory_allocated()
    print(f"weights: {weights / 1e9:.1f} GB of {total / 1e9:.1f}")
    cache = PagedKVCache(shape, torch.float8_e4m3fn if args.kv == "fp8" else torch.bfloat16, block)
    held = 0
    try:
        with torch.no_grad():
            while not args.tokens or held < args.tokens:
                if args.limit and held >= args.limit:
                    break
                x = embedding[torch.randint(128256, (block,), device="cuda")]
                for n, layer in enumerate(layers):
                    cache.append_to_kv_cache(n, layer["k"](x), layer["v"](x))
                held += block
            token = embedding[:1]
            for layer in layers[:4]:
                hidden = torch.nn.functional.silu(layer["gate"](token)) * layer["up"](token)
                token = token + layer["down"](hidden) + layer["o"](layer["q"](token))
            print(f"token {(token @ head.t()).argmax().item()}")
    finally:
        card.measure("kv_bytes", cache.bytes())
        card.measure("tokens", held)
        card.measure("half_tokens", held // 2)
        card.measure("allocated", torch.cuda.memory_allocated())


main()
