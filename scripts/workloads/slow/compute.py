#!/usr/bin/env python3
"""The GPU's arithmetic is the limit, and nothing else is wrong.

Variant 1 trains a wide GPT, 2 a wide residual network, 3 runs attention over long sequences.
"""

import frame


def build(variant, _fixed):
    import torch
    from torch.nn import functional as F

    import models

    if variant == 1:
        model = models.GPT(3, heads=32, width=4096, tokens=1024, vocabulary=8192).cuda().bfloat16()
        return models.training(model, models.tokens(8, 1024, 8192), models.trainer(model))
    if variant == 2:
        weights = [torch.randn(512, 512, 3, 3, device="cuda", dtype=torch.bfloat16).to(memory_format=torch.channels_last) * 0.01 for _ in range(12)]
        picture = torch.randn(64, 512, 56, 56, device="cuda", dtype=torch.bfloat16).to(memory_format=torch.channels_last)

        def step():
            x = picture
            for weight in weights:
                x = F.conv2d(x, weight, padding=1)
            return x.amax()

        return step
    query, key, value = (torch.randn(2, 32, 16384, 128, device="cuda", dtype=torch.bfloat16) for _ in range(3))

    def step():
        for _ in range(3):
            result = F.scaled_dot_product_attention(query, key, value)
        return result.amax()

    return step


if __name__ == "__main__":
    frame.run(__doc__, build, unfixable="the hardware is the limit")
