#!/usr/bin/env python3
"""Another Python thread computes, and the launching thread waits for the interpreter's lock.

Variant 1 prepares batches in a thread, 2 aggregates metrics in one, 3 parses records in two. --fixed does the same in processes.
"""

import array
import json
import multiprocessing
import queue
import threading

import frame


def count(start, rounds):
    """Plain Python that holds the lock: a rolling hash over numbers."""
    value = start
    for i in range(rounds):
        value = (value * 1103515245 + 12345 + i) & 0x7FFFFFFF  # guilty
    return value


def prepare(tokens, out):
    """Makes batches for ever: each token is hashed some times, as word pieces are."""
    value = 1
    while True:
        batch = array.array("q")
        for _ in range(tokens):
            for _ in range(16):
                value = (value * 1103515245 + 12345) & 0x7FFFFFFF  # guilty
            batch.append(value % 8192)
        out.put(batch.tobytes())


def aggregate(inbox, rounds):
    """Works off what the training loop reports."""
    totals = {}
    while True:
        step = inbox.get()
        totals[step % 100] = count(step, rounds)


def parse(inbox, text):
    while True:
        inbox.get()
        records = json.loads(text)  # guilty
        sum(record["value"] for record in records)


def start(target, arguments, fixed):
    worker = (multiprocessing.get_context("fork").Process if fixed else threading.Thread)(target=target, args=arguments, daemon=True)
    worker.start()


def build(variant, fixed):
    boxes = (lambda size: multiprocessing.get_context("fork").Queue(size)) if fixed else (lambda size: queue.Queue(size))
    box = boxes(2)
    if variant == 1:
        for _ in range(6 if fixed else 1):
            start(prepare, (4096, box), fixed)
    elif variant == 2:
        start(aggregate, (box, 200_000), fixed)
    else:
        text = json.dumps([{"name": f"record {i}", "value": i, "list": list(range(10))} for i in range(20000)])
        for _ in range(2):
            start(parse, (box, text), fixed)
    import torch

    import models

    model = models.GPT(6, heads=16, width=2048, tokens=512, vocabulary=8192).cuda().bfloat16()
    batch = models.tokens(8, 512, 8192)
    train = models.training(model, batch, models.trainer(model))
    steps = iter(range(1 << 30))

    def step():
        if variant == 1:
            batch.copy_(torch.frombuffer(bytearray(box.get()), dtype=torch.int64).view(8, 512))
        else:
            box.put(next(steps))
        train()

    return step


if __name__ == "__main__":
    frame.run(__doc__, build)
