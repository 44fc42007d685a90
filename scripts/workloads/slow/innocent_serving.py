#!/usr/bin/env python3
"""Token-by-token inference as it should be: a static cache, and each token one CUDA graph.

Variants differ in the model's width and in how many sequences are decoded at once.
"""

import frame


def build(variant, _fixed):
    import torch
    from torch import nn
    from torch.nn import functional as F

    width, layers, batch = ((4096, 16, 8), (5120, 12, 4), (6144, 8, 16))[variant - 1]
    heads, length = width // 128, 1024

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
            self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)
            self.keys = nn.Buffer(torch.zeros(batch, heads, length, 128))
            self.values = nn.Buffer(torch.zeros(batch, heads, length, 128))

        def forward(self, x, position):
            query, key, value = self.qkv(self.norm1(x)).view(batch, 1, 3, heads, 128).permute(2, 0, 3, 1, 4)
            self.keys.index_copy_(2, position, key)
            self.values.index_copy_(2, position, value)
            x = x + self.out(F.scaled_dot_product_attention(query, self.keys, self.values).transpose(1, 2).reshape(batch, 1, width))
            return x + self.down(F.silu(self.up(self.norm2(x))))

    with torch.device("cuda"):
        table = nn.Embedding(16000, width).bfloat16()
        layers = nn.ModuleList(Layer() for _ in range(layers)).bfloat16()
        token, position = torch.zeros(batch, 1, dtype=torch.long), torch.zeros(1, dtype=torch.long)

    @torch.no_grad()
    def step():
        x = table(token)
        for layer in layers:
            x = layer(x, position)
        token.copy_(F.linear(x, table.weight).argmax(-1))
        position.add_(1).remainder_(length)

    return frame.graphed(step)


if __name__ == "__main__":
    frame.run(__doc__, build, unfixable="nothing is wrong")
