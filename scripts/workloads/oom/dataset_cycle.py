"""A Dataset whose samples refer to themselves: nothing frees them but Python's collector of cycles, which goes by the
number of objects, not by their size. --fixed makes samples without the cycle, and memory stays flat.

The training loop keeps the collector from running, as loops do that want even step times.
"""

import gc

import torch

import card

STEPS = 30


class Sample:
    def __init__(self, features):
        self.features = features
        self.owner = None
        self.on_use = None


class Dataset(torch.utils.data.Dataset):
    def __init__(self, variant, rows, width, fixed):
        self.variant, self.rows, self.width, self.fixed = variant, rows, width, fixed

    def __len__(self):
        return 10000

    def __getitem__(self, index):
        sample = Sample(torch.randn(self.rows, self.width, device="cuda"))  # guilty
        if self.fixed:
            return sample
        if self.variant == 1:
            sample.owner = sample
        elif self.variant == 2:
            sample.on_use = lambda: sample.features.mean()  # a closure that its own subject holds
        else:
            sample.owner = [{"item": sample}]  # a cycle through containers
        return sample


def main():
    args = card.arguments(("--fixed", None, False))
    card.begin(torch, args.variant)
    rows, width = ((65536, 4096), (98304, 2048), (32768, 6144))[args.variant - 1]
    data = torch.utils.data.DataLoader(Dataset(args.variant, rows, width, args.fixed), batch_size=1, collate_fn=lambda items: items[0])
    model = torch.nn.Sequential(torch.nn.Linear(width, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1)).cuda()
    optimizer = torch.optim.AdamW(model.parameters())
    gc.collect()
    gc.disable()
    live = []
    try:
        for sample in data:
            model(sample.features).pow(2).mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            del sample
            live.append(torch.cuda.memory_allocated())
            if args.fixed and len(live) == STEPS:
                break
    finally:
        if len(live) > 6:
            card.measure("slope", (live[-1] - live[5]) / (len(live) - 6))


main()
