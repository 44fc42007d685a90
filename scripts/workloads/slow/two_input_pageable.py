#!/usr/bin/env python3
"""Two faults at once: batches are made in the training loop, and copied from pageable memory.

Variants differ in how many pictures and how large. --fixed makes them in workers, pinned.
"""

import frame


def build(variant, fixed):
    import torch
    from torch.nn import functional as F
    from torch.utils.data import DataLoader, Dataset

    size, side = ((96, 224), (128, 192), (72, 256))[variant - 1]

    class Noise(Dataset):
        def __len__(self):
            return 1 << 20

        def __getitem__(self, index):
            return torch.rand(3, side, side), index % 1000  # guilty

    options = {"num_workers": 10, "pin_memory": True, "prefetch_factor": 3} if fixed else {}
    source = iter(DataLoader(Noise(), size, **options))

    import models

    model = models.ConvNet(128, (2, 2, 2)).cuda().to(torch.bfloat16, memory_format=torch.channels_last)
    optimizer = models.trainer(model)

    def step():
        picture, label = next(source)  # guilty
        for _ in range(4):  # once for each member of an ensemble
            copy = picture.to("cuda", non_blocking=fixed)  # guilty
            F.cross_entropy(model(copy.to(torch.bfloat16, memory_format=torch.channels_last)), label.cuda(non_blocking=True)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


if __name__ == "__main__":
    frame.run(__doc__, build)
