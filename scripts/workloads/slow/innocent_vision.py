#!/usr/bin/env python3
"""A vision model as it should be: channels last, bf16, workers enough for its pictures, read once in many steps.

Variants differ in the size of the model and of the pictures' batch.
"""

import frame


def build(variant, _fixed):
    from torch.utils.data import DataLoader

    import loader

    size, channels, blocks = ((32, 384, (3, 4, 6)), (24, 512, (2, 3, 4)), (32, 384, (4, 6, 4)))[variant - 1]
    source = iter(DataLoader(loader.pictures(), size, num_workers=loader.WORKERS, pin_memory=True, prefetch_factor=4))
    import torch
    from torch.nn import functional as F

    import models

    model = models.ConvNet(channels, blocks).cuda().to(torch.bfloat16, memory_format=torch.channels_last)
    optimizer = models.trainer(model)
    total, steps = torch.zeros((), device="cuda"), iter(range(1 << 30))

    def step():
        picture, label = next(source)
        picture = picture.cuda(non_blocking=True).to(torch.bfloat16, memory_format=torch.channels_last)
        loss = F.cross_entropy(model(picture), label.cuda(non_blocking=True))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        total.add_(loss.detach())
        if next(steps) % 50 == 49:
            total.div_(50).item()
            total.zero_()

    return step


if __name__ == "__main__":
    frame.run(__doc__, build, unfixable="nothing is wrong")
