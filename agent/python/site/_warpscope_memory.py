"""PyTorch's memory at the moment when it runs out of it.

PyTorch calls the observer before it raises, with no lock held, also where it gives up without asking
the driver (torch.cuda.set_per_process_memory_fraction). The snapshot, the program's stack and the
request go to files beside the trace, as far as WARPSCOPE_PYTHON_OUT names a place.
"""

import json
import os
import pickle
import sys
import threading
import traceback

MOST = 3  # of one process: a server that catches each of them must not fill the disk


class Observer:
    def __init__(self, torch, library, out):
        self.torch = torch
        self.library = library
        self.out = out
        self.seen = 0

    def __call__(self, device, requested, allocated, free):
        began = self.library.now()
        self.seen += 1
        if self.seen <= MOST and self.out:
            try:
                self.write(device, requested, allocated, free)
            except Exception:
                pass  # a full disk, no memory left on the host: the program has its own trouble now
        self.library.span(b"out of memory", began, requested)

    def write(self, device, requested, allocated, free):
        stem = "%s.oom-%d-%d" % (self.out, os.getpid(), self.seen)
        facts = {
            "device": device,
            "requested_bytes": requested,
            "device_limit_or_allocated_bytes": allocated,
            "device_free_bytes": free,
            "monotonic_ns": self.library.now(),
            "torch": self.torch.__version__,
            "stack": [
                {"file": f.filename, "line": f.lineno, "function": f.name, "text": f.line}
                for f in traceback.extract_stack(sys._getframe(2), limit=64)
            ],
        }
        with os.fdopen(os.open(stem + ".json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(facts, file)
        snapshot = self.torch.cuda.memory._snapshot()
        with os.fdopen(os.open(stem + ".pickle", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            pickle.dump(snapshot, file)


class Recording:
    """Stacks of live allocations, which cost: in the first steps, where parameters, gradients and
    optimizer states are made, and in one of EVERY later ones; a program without an optimizer has them
    for SECONDS. What is allocated meanwhile keeps its stack for as long as it lives. A program that asks
    PyTorch itself has what it asked for, and no more of this."""

    FIRST = 3
    EVERY = 50
    SECONDS = 30.0

    def __init__(self, torch, always):
        self.memory = torch.cuda.memory
        self.original = self.memory._record_memory_history
        self.always = always
        self.steps = 0
        self.on = False
        self.given_up = False

    def start(self):
        self.memory._record_memory_history = self.asked
        self.switch(True)
        if not self.always:
            timer = threading.Timer(self.SECONDS, self.after_time)
            timer.daemon = True
            timer.start()

    def asked(self, *args, **kwargs):
        self.given_up = True
        self.memory._record_memory_history = self.original
        return self.original(*args, **kwargs)

    def switch(self, on):
        if on != self.on and not self.given_up:
            self.on = on
            if on:
                self.original(enabled="state", context="state", stacks="python")
            else:
                self.original(enabled=None)

    def after_step(self, _optimizer, _args, _kwargs):
        self.steps += 1
        self.switch(self.steps < self.FIRST or self.steps % self.EVERY == 0)

    def after_time(self):
        if self.steps == 0:
            self.switch(False)


def when_initialised(torch, call):
    """PyTorch makes the program's first use of CUDA fail when such a call does."""

    def harmless():
        try:
            call()
        except Exception:
            pass

    torch.cuda._lazy_call(harmless)


def begin(torch, library):
    out = os.environ.get("WARPSCOPE_PYTHON_OUT", "")
    # Attaching initialises CUDA: it is done when the program does, or now if it has.
    observer = Observer(torch, library, out)
    when_initialised(torch, lambda: torch._C._cuda_attach_out_of_memory_observer(observer))
    when = os.environ.get("WARPSCOPE_ALLOC_STACKS", "first")
    if when == "none":
        return
    recording = Recording(torch, when == "all")
    when_initialised(torch, recording.start)
    if when != "all":
        from torch.optim.optimizer import register_optimizer_step_post_hook

        register_optimizer_step_post_hook(recording.after_step)
