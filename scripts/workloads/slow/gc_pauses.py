#!/usr/bin/env python3
"""Python's garbage collector stops the training loop.

Variant 1 collects by hand in each step, with an index of the data in memory, 2 after each of four parts of a step, 3 in
every third step. --fixed leaves the collector out of the loop.
"""

import gc

import frame


def index(size):
    """What a data set keeps of its samples."""
    return [{"name": f"sample-{i}", "box": [i, i + 1, i + 2], "next": None} for i in range(size)]


class Tidy:
    """What is put around each part of a step "to keep memory low"."""

    def __init__(self, on):
        self.on = on

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.on:
            gc.collect()  # guilty


def build(variant, fixed):
    import models

    kept = index((300_000, 60_000, 500_000)[variant - 1])
    if fixed:
        gc.collect()
        gc.freeze()
        gc.disable()
    layers, width = ((4, 2048), (6, 1536), (3, 2560))[variant - 1]
    model = models.GPT(layers, heads=width // 128, width=width, tokens=512, vocabulary=8192).cuda().bfloat16()
    optimizer, batch = models.trainer(model), models.tokens(8, 512, 8192)
    train, parts = models.training(model, batch, optimizer), batch.split(2)
    steps = iter(range(1 << 30))

    def step():
        now = next(steps)
        kept[now % len(kept)]["next"] = now
        if variant == 2:
            for part in parts:
                with Tidy(not fixed):
                    model(part).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            return
        train()
        if not fixed and (variant == 1 or now % 3 == 0):
            gc.collect()  # guilty

    # One collection in three steps: they are timed together.
    return frame.Several(lambda: [step() for _ in range(3)], 3) if variant == 3 else step


if __name__ == "__main__":
    frame.run(__doc__, build)
