#!/usr/bin/env python3
"""Attention written as two matrix products and a softmax: the scores of all pairs pass through memory.

Variant 1 trains a causal model, 2 runs one without a mask, 3 trains with dropout on long sequences. --fixed calls
scaled_dot_product_attention.
"""

import frame


def build(variant, fixed):
    import torch
    from torch.nn import functional as F

    import models

    mask = models.causal_mask((2048, 1024, 4096)[variant - 1])

    def naive(query, key, value):
        scores = query @ key.transpose(-2, -1) * models.scale(query.shape[-1])  # guilty
        if variant != 2:
            scores = scores.masked_fill(mask, float("-inf"))  # guilty
        weights = torch.softmax(scores, -1)  # guilty
        if variant == 3:
            weights = F.dropout(weights, 0.1)
        return weights @ value

    def fused(query, key, value):
        return F.scaled_dot_product_attention(query, key, value, is_causal=variant != 2, dropout_p=0.1 if variant == 3 else 0.0)

    attention = fused if fixed else naive
    if variant == 2:
        model = models.GPT(6, heads=12, width=768, tokens=1024, vocabulary=8192, attention=attention).cuda().half()
        batch = models.tokens(16, 1024, 8192)

        @torch.no_grad()
        def step():
            model(batch)

        return step
    size, tokens, heads = (4, 2048, 16) if variant == 1 else (1, 4096, 16)
    model = models.GPT(3, heads=heads, width=1024, tokens=tokens, vocabulary=8192, attention=attention).cuda().bfloat16()
    return models.training(model, models.tokens(size, tokens, 8192), models.trainer(model))


if __name__ == "__main__":
    frame.run(__doc__, build)
