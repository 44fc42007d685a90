"""PyTorch's memory at the moment when it runs out of it.

PyTorch calls the observer before it raises, with no lock held, also where it gives up without asking
the driver (torch.cuda.set_per_process_memory_fraction). The snapshot goes to a file beside the trace, as
far as WARPSCOPE_PYTHON_OUT names a place, with what PyTorch does not put into it under "warpscope": the
request, the program's stack, and what tensors are for.
"""

import _thread
import atexit
import functools
import importlib
import os
import pickle
import sys
import threading
import time
import traceback

from _warpscope_progress import Progress
from _warpscope_roles import Roles
from _warpscope_scarce import Scarce

ENTRIES = 1_000_000  # of a history: about 100 MB of the host's memory
MOST = 3  # of one process: a server that catches each of them must not fill the disk
FRAMES = 64


def stack_at(frame):
    """The lines from a frame outwards, innermost first."""
    summary = traceback.extract_stack(frame, limit=FRAMES)
    return [{"file": f.filename, "line": f.lineno, "function": f.name, "text": f.line or ""} for f in reversed(summary)]


class Observer:
    def __init__(self, torch, library, out, roles, fraction, progress):
        self.torch = torch
        self.library = library
        self.out = out
        self.roles = roles
        self.fraction = fraction
        self.progress = progress
        self.recording = None
        self.seen = 0

    def __call__(self, device, requested, limit, free):
        began = self.library.now()
        self.seen += 1
        if self.seen <= MOST and self.out:
            try:
                self.write(device, requested, limit, free, sys._getframe().f_back)
            except Exception:
                pass  # a full disk, no memory left on the host: the program has its own trouble now
        self.library.span(b"out of memory", began, requested)

    def write(self, device, requested, limit, free, frame):
        facts = {
            "layout": 1,
            "device": device,
            "requested_bytes": requested,
            "limit_bytes": limit,  # the GPU's size, or what the program has allowed itself
            "device_free_bytes": free,
            "monotonic_ns": self.library.now(),
            "pid": os.getpid(),
            "torch": str(self.torch.__version__),  # a class of its own otherwise
        }
        for add in (self.total, self.stack, self.known, self.far):
            try:
                add(facts, frame)
            except Exception:
                pass  # one fact less
        self.dump("%s.oom-%d-%d.pickle" % (self.out, os.getpid(), self.seen), {"warpscope": facts})

    def dump(self, path, more):
        with Unimported(self.torch):
            snapshot = self.torch.cuda.memory._snapshot()
        snapshot.update(more)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            pickle.dump(snapshot, file)

    def at_end(self):
        """What a leak is told from: the history of a program that did not run out of memory."""
        try:
            if self.out and self.seen == 0 and self.torch.cuda.is_initialized():
                self.dump("%s.end-%d-1.pickle" % (self.out, os.getpid()), {})
        except Exception:
            pass  # the driver may be gone already

    def after_step(self, wanted, optimizer, _args, _kwargs):
        """Leaves a snapshot after the steps that were asked for, of the optimizer whose steps are counted."""
        step = self.progress.steps
        if self.progress.optimizer != id(optimizer) or step not in wanted:
            return
        wanted.discard(step)
        try:
            facts = {"layout": 1, "pid": os.getpid(), "step": step}
            self.known(facts, None)
            self.dump("%s.step-%d-%d.pickle" % (self.out, os.getpid(), step), {"warpscope": facts})
        except Exception:
            pass  # a full disk: the program's step goes on

    def total(self, facts, _frame):
        facts["device_total_bytes"] = self.torch.cuda.get_device_properties(facts["device"]).total_memory

    def stack(self, facts, frame):
        if frame is None:
            # A thread of the autograd engine, which runs no Python: the main thread waits for it.
            frame = sys._current_frames().get(threading.main_thread().ident)
            facts["stack_of_main_thread"] = True
        if frame is not None:
            facts["stack"] = stack_at(frame)
        if self.fraction.stack:
            facts["limit_stack"] = self.fraction.stack

    def far(self, facts, _frame):
        facts.update(self.progress.facts())
        if self.recording is not None:
            facts["stack_steps"] = self.recording.sampled

    def known(self, facts, _frame):
        facts["roles"], facts["roles_complete"] = self.roles.read()


class Unimported:
    """While stacks become text, PyTorch asks whether its compiler has code of its own among them, and so imports the compiler,
    for which a program that does not use it would wait for seconds: it has none."""

    NAME = "_inductor"

    def __init__(self, torch):
        self.torch = torch
        self.put = None

    def __enter__(self):
        if "torch." + self.NAME not in sys.modules and self.NAME not in vars(self.torch):
            self.put = Absent("torch." + self.NAME)
            setattr(self.torch, self.NAME, self.put)

    def __exit__(self, *_):
        # An import, by another thread, has put the real one there.
        if self.put is not None and vars(self.torch).get(self.NAME) is self.put:
            delattr(self.torch, self.NAME)


class Absent:
    """A package that has not been imported; whoever else asks it for something gets the real one's."""

    def __init__(self, name):
        self.__name__ = name

    def __getattr__(self, name):
        if name == "codecache":
            raise AttributeError(name)
        return getattr(importlib.import_module(self.__name__), name)


class Fraction:
    """Remembers who limited the program's memory."""

    NAME = "set_per_process_memory_fraction"

    def __init__(self):
        self.stack = None

    def watch(self, torch):
        original = getattr(torch.cuda.memory, self.NAME)

        @functools.wraps(original)
        def limit(*args, **kwargs):
            try:
                self.stack = stack_at(sys._getframe().f_back)
            except Exception:
                pass
            return original(*args, **kwargs)

        for module in (torch.cuda.memory, torch.cuda):
            if getattr(module, self.NAME, None) is original:
                setattr(module, self.NAME, limit)


class Recording:
    """Stacks of live allocations, which cost: in the first steps, where parameters, gradients and
    optimizer states are made, and in one of EVERY later ones; a program without an optimizer has them
    for SECONDS. What is allocated meanwhile keeps its stack for as long as it lives. A program that asks
    PyTorch itself has what it asked for, and no more of this. A history takes each allocation down."""

    FIRST = 3
    EVERY = 50
    SECONDS = 30.0

    def __init__(self, torch, when):
        self.history = when == "history"
        self.memory = torch.cuda.memory
        self.original = self.memory._record_memory_history
        self.always = when in ("all", "history")
        self.steps = 0
        self.sampled = 0  # steps whose stacks were recorded
        self.growing = False  # memory becomes scarce: see Scarce
        self.on = False
        self.late = False  # SECONDS are over
        self.given_up = False

    def start(self):
        self.memory._record_memory_history = self.asked
        self.switch(True)
        threads = isinstance(_thread.start_new_thread, type(len))  # not gevent's
        if not self.always and not self.given_up and threads:
            _thread.start_new_thread(self.after_time, ())  # the program's `threading` does not list it

    def give_up(self):
        self.given_up = True
        self.memory._record_memory_history = self.original

    def asked(self, *args, **kwargs):
        self.give_up()
        return self.original(*args, **kwargs)

    def switch(self, on):
        """Called inside the program's optimizer step, which must not fail for a version of PyTorch that
        takes other arguments."""
        if on == self.on or self.given_up:
            return
        self.on = on
        try:
            if on and self.history:
                self.original(enabled="all", context="alloc", stacks="python", max_entries=ENTRIES)
            elif on:
                self.original(enabled="state", context="state", stacks="python")
            else:
                self.original(enabled=None)
        except Exception:
            self.give_up()

    def after_step(self, _optimizer, _args, _kwargs):
        self.steps += 1
        self.sampled += self.on
        self.switch(self.wanted())

    def wanted(self):
        if self.steps == 0:
            return self.growing or not self.late
        return self.growing or self.steps < self.FIRST or self.steps % self.EVERY == 0

    def grows(self, growing):
        if growing != self.growing:
            self.growing = growing
            self.switch(self.wanted())

    def after_time(self):
        time.sleep(self.SECONDS)
        self.late = True
        if self.steps == 0:
            self.switch(self.growing)


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
    roles, fraction, progress = Roles(torch), Fraction(), Progress(torch)
    for watch in (roles.watch, lambda: fraction.watch(torch), progress.watch):
        try:
            watch()
        except Exception:
            pass  # a version of PyTorch without it: the snapshot says less
    # Attaching initialises CUDA: it is done when the program does, or now if it has.
    observer = Observer(torch, library, out, roles, fraction, progress)
    when_initialised(torch, lambda: torch._C._cuda_attach_out_of_memory_observer(observer))
    wanted = {int(step) for step in os.environ.get("WARPSCOPE_SNAPSHOT_STEPS", "").split(",") if step.isdigit()}
    if wanted and out:
        from torch.optim.optimizer import register_optimizer_step_post_hook

        register_optimizer_step_post_hook(functools.partial(observer.after_step, wanted))
    when = os.environ.get("WARPSCOPE_ALLOC_STACKS", "first")
    if when == "none":
        return
    recording = observer.recording = Recording(torch, when)
    when_initialised(torch, recording.start)
    if recording.history:
        atexit.register(observer.at_end)
    if not recording.always:
        from torch.optim.optimizer import register_optimizer_step_post_hook

        register_optimizer_step_post_hook(recording.after_step)
        when_initialised(torch, Scarce(torch, recording).begin)
