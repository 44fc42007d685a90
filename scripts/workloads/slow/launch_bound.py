#!/usr/bin/env python3
"""Kernels so short that launching them takes longer than running them.

Variant 1 trains a GPT on one short sequence, 2 a recurrent cell written by hand, 3 runs a residual network on one picture.
--fixed replays the step as a CUDA graph.
"""

import frame


def build(variant, fixed):
    import torch
    from torch.nn import functional as F

    import models

    if variant == 1:
        model = models.GPT(12, heads=12, width=768, tokens=64).cuda().bfloat16()
        optimizer = models.trainer(model, fused=False, foreach=True, capturable=True)
        step = models.training(model, models.tokens(1, 64), optimizer)  # guilty
    elif variant == 2:
        model = models.Recurrent(256).cuda()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, foreach=True)
        series, target = torch.randn(16, 48, 256, device="cuda"), torch.randn(16, 256, device="cuda")

        def step():
            loss = F.mse_loss(model(series), target)  # guilty
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    else:
        model = models.ConvNet(64, (3, 4, 6, 3)).cuda().bfloat16().eval()
        picture = torch.randn(1, 3, 224, 224, device="cuda", dtype=torch.bfloat16)

        @torch.no_grad()
        def step():
            model(picture)  # guilty

    return frame.graphed(step) if fixed else step


if __name__ == "__main__":
    frame.run(__doc__, build)
