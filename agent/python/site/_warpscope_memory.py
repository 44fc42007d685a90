"""PyTorch's memory at the moment when it runs out of it.

PyTorch calls the observer before it raises, with no lock held, also where it gives up without asking
the driver (torch.cuda.set_per_process_memory_fraction). The snapshot, the program's stack and the
request go to files beside the trace, as far as WARPSCOPE_PYTHON_OUT names a place.
"""

import json
import os
import pickle
import sys
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
            self.write(device, requested, allocated, free)
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
    """Stacks of allocations: in the first steps, where parameters, gradients and optimizer states
    are made. Those that a program asked for itself stay as it asked."""

    STEPS = 3

    def __init__(self, torch):
        self.torch = torch
        self.steps = 0
        self.on = False

    def start(self):
        memory = self.torch.cuda.memory
        original = memory._record_memory_history

        def asked(*args, **kwargs):
            self.on = False  # the program's own from now on
            return original(*args, **kwargs)

        original(enabled="state", context="state", stacks="python")
        self.on = True
        self.original = original
        memory._record_memory_history = asked

    def after_step(self, _optimizer, _args, _kwargs):
        self.steps += 1
        if self.steps == self.STEPS and self.on:
            self.original(enabled="state", context=None, stacks="python")


def begin(torch, library):
    out = os.environ.get("WARPSCOPE_PYTHON_OUT", "")
    attach = torch._C._cuda_attach_out_of_memory_observer
    # It would initialise CUDA: when the program does, or now if it has.
    observer = Observer(torch, library, out)
    torch.cuda._lazy_call(lambda: attach(observer))
    if os.environ.get("WARPSCOPE_ALLOC_STACKS", "first") == "none":
        return
    from torch.optim.optimizer import register_optimizer_step_post_hook

    recording = Recording(torch)
    torch.cuda._lazy_call(recording.start)
    if os.environ.get("WARPSCOPE_ALLOC_STACKS", "first") != "all":
        register_optimizer_step_post_hook(recording.after_step)
