"""Stacks while memory becomes scarce: what is live when it runs out was mostly made shortly before, by programs that make
all of it anew at each turn (a cache of keys and values that grows by copying), or that grow step by step."""

import _thread
import time

PART = 0.3  # of the GPU that PyTorch has reserved, from which on growth is looked at
GROWTH = 0.01  # of the GPU: what counts as growth
PAUSE = 0.5  # seconds between two looks, of some microseconds
KEEP = 10  # looks without growth, after which stacks are off again


class Scarce:
    def __init__(self, torch, recording):
        self.torch = torch
        self.recording = recording
        self.highest = {}
        self.quiet = 0

    def begin(self):
        count = self.torch.cuda.device_count()
        self.totals = [self.torch.cuda.get_device_properties(d).total_memory for d in range(count)]
        _thread.start_new_thread(self.run, ())

    def run(self):
        try:
            while not self.recording.given_up:
                time.sleep(PAUSE)
                self.look()
        except Exception:
            pass  # the interpreter ends, or a version of PyTorch without these figures

    def look(self):
        grown = False
        for device, total in enumerate(self.totals):
            # The allocator's own figures: no call of CUDA, which could come amid the capture of a graph.
            reserved = self.torch._C._cuda_memoryStats(device)["reserved_bytes"]["all"]["current"]
            if reserved > self.highest.get(device, 0) + GROWTH * total:
                self.highest[device] = reserved
                grown = grown or reserved > PART * total
        self.quiet = 0 if grown else self.quiet + 1
        self.recording.grows(grown or self.recording.growing and self.quiet < KEEP)
