#!/usr/bin/env python3
"""Batches are made more slowly than the GPU trains on them.

Variant 1 prepares pictures in the training process, 2 splits texts into tokens there, 3 reads JSON lines in one worker.
--fixed uses workers enough.
"""

import json
import random

import frame

WORKERS = 10


def pictures():
    import torch
    from torch.utils.data import Dataset

    class Pictures(Dataset):
        """What a file of pictures gives: decoded, cut, turned, recoloured."""

        def __len__(self):
            return 1 << 20

        def __getitem__(self, index):
            random.seed(index)  # guilty
            picture = torch.full((3, 288, 288), index % 251, dtype=torch.uint8)  # guilty
            top, left = random.randrange(64), random.randrange(64)  # guilty
            picture = picture[:, top : top + 224, left : left + 224].float().div_(255)  # guilty
            if random.random() < 0.5:  # guilty
                picture = picture.flip(2)  # guilty
            grey = picture.mean(0, keepdim=True)  # guilty
            picture = (picture * random.uniform(0.8, 1.2) + grey * random.uniform(-0.2, 0.2)).clamp_(0, 1)  # guilty
            picture = torch.nn.functional.avg_pool2d(picture, 3, stride=1, padding=1)  # guilty
            return picture.sub_(0.45).div_(0.22), index % 1000  # guilty

    return Pictures()


def words(text, table, length):
    """A tokeniser in plain Python."""
    out = []  # guilty
    for word in text.split():  # guilty
        while word:  # guilty
            size = min(6, len(word))  # guilty
            while size > 1 and word[:size] not in table:  # guilty
                size -= 1  # guilty
            out.append(table.get(word[:size], ord(word[0])))  # guilty
            word = word[size:]  # guilty
    out = out[:length]  # guilty
    return out + [0] * (length - len(out))  # guilty


def texts(length, encoded):
    import torch
    from torch.utils.data import Dataset

    random.seed(0)
    syllables = [a + b + c for a in "bdfgklmnprst" for b in "aeiou" for c in "lmnrst"]
    table = {syllable: 300 + i for i, syllable in enumerate(syllables)}
    lines = [" ".join("".join(random.choices(syllables, k=random.randint(1, 4))) for _ in range(3 * length)) for _ in range(64)]
    if encoded:
        lines = [json.dumps({"text": line, "meta": [{"at": i, "kind": line[i : i + 9]} for i in range(2000)]}) for line in lines]

    class Texts(Dataset):
        def __len__(self):
            return 1 << 20

        def __getitem__(self, index):
            line = lines[index % len(lines)]
            if encoded:
                line = json.loads(line)["text"]
            return torch.tensor(words(line, table, length))

    return Texts()


def batches(data, size, workers, fixed):
    from torch.utils.data import DataLoader

    if fixed:
        return iter(DataLoader(data, size, num_workers=WORKERS, pin_memory=True, prefetch_factor=4))
    return iter(DataLoader(data, size, num_workers=workers, pin_memory=True))


def build(variant, fixed):
    # Workers are forked before CUDA is used.
    source = batches(pictures(), 64, 0, fixed) if variant == 1 else batches(texts(512, variant == 3), 16, 0 if variant == 2 else 1, fixed)
    import torch
    from torch.nn import functional as F

    import models

    if variant == 1:
        model = models.ConvNet(128, (3, 4, 6, 3)).cuda().to(torch.bfloat16, memory_format=torch.channels_last)
        optimizer = models.trainer(model)

        def step():
            picture, label = next(source)  # guilty
            picture = picture.cuda(non_blocking=True).to(torch.bfloat16, memory_format=torch.channels_last)
            F.cross_entropy(model(picture), label.cuda(non_blocking=True)).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        return step
    layers, width = ((4, 1024), (3, 1536))[variant - 2]
    model = models.GPT(layers, heads=width // 128, width=width, tokens=512, vocabulary=8192).cuda().bfloat16()
    optimizer = models.trainer(model)

    def step():
        batch = next(source)  # guilty
        model(batch.cuda(non_blocking=True)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


if __name__ == "__main__":
    frame.run(__doc__, build)
