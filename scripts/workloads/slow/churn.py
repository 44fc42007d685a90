#!/usr/bin/env python3
"""Memory that is given back to the driver and taken again within a step.

Variant 1 empties PyTorch's cache in each step, 2 runs without the cache, 3 empties it while its segments can grow.
--fixed leaves the cache alone.
"""

import os

import frame


def build(variant, fixed):
    if variant == 2 and not fixed:
        os.environ["PYTORCH_NO_CUDA_MEMORY_CACHING"] = "1"  # guilty
    if variant == 3:
        os.environ["PYTORCH_CUDA_ALLOC_CONF"] = os.environ["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"
    import torch
    from torch.nn import functional as F

    import models

    if variant == 3:
        model = models.ConvNet(128, (2, 2, 2)).cuda().to(torch.bfloat16, memory_format=torch.channels_last)
        optimizer = models.trainer(model)
        picture = torch.randn(96, 3, 224, 224, device="cuda").to(torch.bfloat16, memory_format=torch.channels_last)
        label = torch.randint(0, 1000, (96,), device="cuda")

        def train():
            F.cross_entropy(model(picture), label).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    else:
        layers, width = ((6, 2048), (4, 2560))[variant - 1]
        model = models.GPT(layers, heads=width // 128, width=width, tokens=512, vocabulary=8192).cuda().bfloat16()
        train = models.training(model, models.tokens(8, 512, 8192), models.trainer(model))

    def step():
        train()
        if variant != 2 and not fixed:
            torch.cuda.empty_cache()  # guilty

    return step


if __name__ == "__main__":
    frame.run(__doc__, build)
