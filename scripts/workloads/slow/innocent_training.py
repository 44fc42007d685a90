#!/usr/bin/env python3
"""Training as it should be: bf16, fused attention, fused optimizer, batches pinned and copied ahead.

Variants differ in the model's width and depth.
"""

import frame


def build(variant, _fixed):
    import models
    import pageable

    layers, width = ((6, 2048), (3, 4096), (4, 3072))[variant - 1]
    model = models.GPT(layers, heads=width // 128, width=width, tokens=1024, vocabulary=8192).cuda().bfloat16()
    optimizer = models.trainer(model)
    feed = pageable.Feed([models.tokens(8, 1024, 8192).cpu() for _ in range(4)])

    def step():
        model(feed()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


if __name__ == "__main__":
    frame.run(__doc__, build, unfixable="nothing is wrong")
