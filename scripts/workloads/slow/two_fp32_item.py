#!/usr/bin/env python3
"""Two faults at once: matrix products in full fp32, and gradients clipped with a value read for each parameter.

Variant 1 trains a GPT, 2 a deeper one, 3 a narrower one. --fixed allows TF32 and clips on the GPU.
"""

import frame


def build(variant, fixed):
    import torch

    import item
    import models

    torch.set_float32_matmul_precision("high" if fixed else "highest")
    layers, width, batch = ((8, 512, 16), (12, 512, 16), (8, 384, 32))[variant - 1]
    model = models.GPT(layers, heads=8, width=width, tokens=512, vocabulary=4096).cuda()
    optimizer, batch = models.trainer(model), models.tokens(batch, 512, 4096)
    parameters = list(model.parameters())

    def step():
        model(batch).backward()  # guilty
        item.clip(parameters, fixed)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


if __name__ == "__main__":
    frame.run(__doc__, build)
