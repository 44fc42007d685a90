#!/usr/bin/env python3
"""Another Python thread computes, and the launching thread waits for the interpreter's lock.

Variant 1 makes batches for a later evaluation in a thread, 2 aggregates metrics in one, 3 parses records in two: nobody
waits for what they make. --fixed does the same in processes.
"""

import array
import collections
import json
import multiprocessing
import threading
import time

import frame


def count(start, rounds):
    """Plain Python that holds the lock: a rolling hash over numbers."""
    value = start
    for i in range(rounds):  # guilty
        value = (value * 1103515245 + 12345 + i) & 0x7FFFFFFF  # guilty
    return value


def prepare(tokens):
    """Makes batches for an evaluation: each token is hashed some times, as word pieces are."""
    value, made = 1, collections.deque(maxlen=8)
    while True:
        batch = array.array("q")
        for _ in range(tokens):
            for _ in range(64):  # guilty
                value = (value * 1103515245 + 12345) & 0x7FFFFFFF  # guilty
            batch.append(value % 8192)
        made.append(batch.tobytes())
        time.sleep(0.005)


def aggregate(rounds):
    """Adds up metrics, a few times a second."""
    totals = {}
    while True:
        totals[len(totals) % 100] = count(len(totals), rounds)
        time.sleep(0.01)


def parse(text):
    while True:
        records = json.loads(text)  # guilty
        sum(record["value"] for record in records)  # guilty
        time.sleep(0.008)


def start(target, argument, fixed):
    worker = (multiprocessing.get_context("fork").Process if fixed else threading.Thread)(target=target, args=(argument,), daemon=True)
    worker.start()


def build(variant, fixed):
    if variant == 1:
        start(prepare, 4096, fixed)
    elif variant == 2:
        start(aggregate, 400_000, fixed)
    else:
        text = json.dumps([{"name": f"record {i}", "value": i, "list": list(range(10))} for i in range(3000)])
        for _ in range(2):
            start(parse, text, fixed)
    import models

    layers, width = ((6, 2048), (4, 2560), (8, 1536))[variant - 1]
    model = models.GPT(layers, heads=width // 128, width=width, tokens=512, vocabulary=8192).cuda().bfloat16()
    return models.training(model, models.tokens(8, 512, 8192), models.trainer(model))


if __name__ == "__main__":
    frame.run(__doc__, build)
