"""Operators with their shapes, modules and regions, in sampled steps only.

PyTorch's older recorder (of torch.autograd.profiler_legacy; it has nothing to do with torch.profiler's and with
CUPTI) takes operators down in the thread of the step and in those of its backward pass; hooks common to all
modules note which one runs. A step is sampled so rarely that all of it, as measured, costs less than SHARE of the
time. A program that starts a profiler of its own has it at once, and a program without an optimizer is sampled in
calls of its outermost module. What was recorded becomes ranges of the trace afterwards (_warpscope_published.py).
"""

import functools
import os
import sys
import threading
import weakref

from _warpscope_published import Publisher

FIRST = 5  # steps, before the first that is sampled: warm-up is nobody's usual step
EVERY = 100  # steps between two, at least
SHARE = 0.005  # of the time, at most
MOST = 20  # steps of one process
WITHOUT_STEPS = 5_000_000_000  # ns, after which a program that trains nothing is sampled by its modules
CALLS = 4  # of the outermost module, one after another
PATIENCE = 3  # times that it is found training, before it is sampled all the same: its first step may be long in coming
MOST_CALLS = 8  # of the outermost module in one step: more is one that accumulates gradients, of which these are enough
LONGEST = 2_000_000_000  # ns: what takes longer is no step


class Call:
    """A call of a module."""

    __slots__ = ("began", "ended", "text", "outer", "memory", "kept")

    def __init__(self, began, text, outer, memory):
        self.began, self.ended, self.text, self.outer, self.memory, self.kept = began, 0, text, outer, memory, 0


class Window:
    """What is recorded of one step."""

    def __init__(self, began):
        self.began = began
        self.ended = 0
        self.marked = 0  # when the recorder made its first mark
        self.thread = threading.get_native_id()
        self.ident = threading.get_ident()
        self.calls = []
        self.outermost = 0  # calls
        self.open = None  # the innermost call
        self.events = None
        self.cost = 0  # ns


class Names:
    """What modules are called in the outermost one."""

    def __init__(self):
        self.root = None
        self.texts = {}

    def of(self, module, outermost):
        if outermost and (self.root is None or self.root() is not module):
            self.texts = {id(m): "%s\t%s" % (name or "(model)", type(m).__name__) for name, m in module.named_modules()}
            self.root = weakref.ref(module)
        return self.texts.get(id(module)) or "(other)\t" + type(module).__name__


class Types:
    """What a module computes with: the type of its first tensor, and that which autocast makes of it."""

    def __init__(self, torch):
        self.tensor = torch.Tensor
        self.enabled = torch.is_autocast_enabled
        self.dtype = getattr(torch, "get_autocast_dtype", None)
        if self.dtype is None:  # before 2.4
            self.enabled = lambda _device: torch.is_autocast_enabled()
            self.dtype = lambda _device: torch.get_autocast_gpu_dtype()

    def of(self, args):
        for arg in args:
            if isinstance(arg, self.tensor):
                text = str(arg.dtype).rpartition(".")[2]
                if arg.is_cuda and self.enabled("cuda"):
                    text += ", autocast " + str(self.dtype("cuda")).rpartition(".")[2]
                return " " + text
        return ""


def compiled():
    """Whether torch.compile is in use: hooks would make it compile anew."""
    utils, frames = sys.modules.get("torch._dynamo.utils"), sys.modules.get("torch._dynamo.eval_frame")
    return bool(utils and utils.counters.get("frames")) or getattr(frames, "most_recent_backend", None) is not None


class Operators:
    def __init__(self, torch, library):
        self.torch = torch
        self.library = library
        self.publisher = Publisher(library)
        self.names = Names()
        self.types = Types(torch)
        self.window = None
        self.done = []  # windows that wait for being published
        self.steps = 0
        self.left = MOST
        self.next_step = FIRST
        self.next_time = library.now() + WITHOUT_STEPS
        self.before = 0  # when the last step ended
        self.usual = []  # lengths of steps that were not sampled
        self.hooks = []
        self.calls = 0  # of the outermost module, that are still to be recorded
        self.patience = PATIENCE
        self.call_code = torch.nn.Module._call_impl.__code__

    # ---- when ---------------------------------------------------------------------------------

    def after_step(self):
        """At the end of each step, in its thread, inside the program's optimizer."""
        now = self.library.now()
        window = self.window
        self.calls = 0  # it has steps: no need to go by modules
        if self.steps == 0:
            self.next_step = FIRST
            self.unhook()
        if window is not None and window.ident == threading.get_ident():
            self.end()
        elif window is None and self.before:
            self.usual = self.usual[-8:] + [now - self.before]
        self.steps += 1
        self.before = self.library.now()
        due = self.steps >= self.next_step and (self.left == MOST or now >= self.next_time)
        if due and self.left and self.window is None and not self.done and self.begin():
            self.hook()

    def between(self):
        """Now and then, in the sampler's thread."""
        if self.done:
            window = self.done.pop()
            try:
                window.cost += self.publisher.publish(window)
            finally:
                self.next_step = self.steps + EVERY
                self.next_time = self.library.now() + int(window.cost / SHARE)
                if self.steps == 0:
                    self.next_time = max(self.next_time, self.library.now() + WITHOUT_STEPS)
        elif self.steps == 0 and self.left and not self.hooks and self.library.now() >= self.next_time:
            self.next_time = self.library.now() + WITHOUT_STEPS
            if self.library.recording() and not compiled():
                self.calls = CALLS
                self.hook()

    # ---- recording ----------------------------------------------------------------------------

    def begin(self):
        """Begins to record in this thread, if PyTorch lets us."""
        if not self.library.recording() or self.torch.autograd._profiler_enabled():
            return False
        from torch._C._profiler import _ExperimentalConfig
        from torch.autograd import ProfilerConfig, ProfilerState, _enable_profiler_legacy

        window = Window(self.library.now())
        try:  # With shapes alone: of memory it says on stderr what it missed, and stacks cost.
            _enable_profiler_legacy(ProfilerConfig(ProfilerState.CPU, True, False, False, False, False, _ExperimentalConfig()))
        except Exception:
            self.left = 0  # a version of PyTorch that does not have it any more
            return False
        window.marked = self.library.now()
        self.window = window
        return True

    def end(self, keep=True):
        """Ends what `begin` began, in the same thread."""
        window, self.window = self.window, None
        if not self.calls:
            self.unhook()
        window.ended = self.library.now()
        from torch.autograd import _disable_profiler_legacy

        window.events = _disable_profiler_legacy()
        window.cost = self.library.now() - window.ended
        if self.before and self.usual:
            window.cost += max(window.ended - self.before - sorted(self.usual)[len(self.usual) // 2], 0)
        if keep:
            self.left -= 1
            self.done.append(window)

    def give_way(self):
        """The program starts a profiler of its own, or forks: a child would record on without end."""
        if self.window is not None and self.window.ident == threading.get_ident():
            self.calls = 0
            self.end(keep=False)

    def before_fork(self):
        try:
            self.give_way()
        except Exception:
            self.fail()

    def watch(self):
        os.register_at_fork(before=self.before_fork)
        import torch.autograd.profiler as new
        import torch.autograd.profiler_legacy as old

        for module, name in ((new, "_prepare_profiler"), (new, "_enable_profiler"), (old, "_enable_profiler_legacy")):
            original = getattr(module, name, None)
            if original is not None:
                setattr(module, name, self.after_way(original))

    def after_way(self, original):
        @functools.wraps(original)
        def call(*args, **kwargs):
            try:
                self.give_way()
            except Exception:
                pass
            return original(*args, **kwargs)

        return call

    # ---- modules ------------------------------------------------------------------------------

    def hook(self):
        if compiled():
            return
        from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

        self.hooks.append(register_module_forward_pre_hook(self.enter))
        try:
            self.hooks.append(register_module_forward_hook(self.leave, always_call=True))
        except TypeError:
            self.hooks.append(register_module_forward_hook(self.leave))

    def memory(self):
        """Bytes of tensors on this thread's GPU."""
        torch = self.torch
        if not torch.cuda.is_initialized():
            return 0
        return torch._C._cuda_memoryStats(torch._C._cuda_getDevice())["allocated_bytes"]["all"]["current"]

    def unhook(self):
        hooks, self.hooks = self.hooks, []
        for handle in hooks:
            handle.remove()

    def enter(self, module, args):
        """Runs in the program's forward pass: whatever goes wrong is not its affair."""
        try:
            window = self.window
            if window is None:
                if not self.calls or self.inside() or self.trains(module) or not self.begin():
                    return
                window = self.window
            if window.ident == threading.get_ident():
                if window.open is None:
                    window.outermost += 1
                    if window.outermost > MOST_CALLS:
                        return self.end()
                text = self.names.of(module, window.open is None) + self.types.of(args)
                memory = self.memory()
                window.open = Call(self.library.now(), text, window.open, memory)
                window.calls.append(window.open)
        except Exception:
            self.fail()

    def trains(self, module):
        """Whether an optimizer's step is to be expected, of which this call is a part only."""
        if not self.patience or not (module.training and self.torch.is_grad_enabled()):
            return False
        self.patience -= 1
        self.calls = 0
        self.unhook()
        return True

    def inside(self):
        """Whether the module that is being called is called by another one, which was not seen."""
        frame, seen = sys._getframe(2), 0
        while frame is not None and seen < 2:
            seen += frame.f_code is self.call_code
            frame = frame.f_back
        return seen == 2

    def leave(self, _module, _args, _output):
        try:
            window = self.window
            if window is None or window.ident != threading.get_ident() or window.open is None:
                return
            window.open.ended = self.library.now()
            window.open.kept = self.memory() - window.open.memory
            window.open = window.open.outer
            if window.open is not None:
                return
            if self.calls:
                self.calls -= 1
                self.end()
            elif self.library.now() - window.began > LONGEST:
                self.end(keep=False)
        except Exception:
            self.fail()

    def fail(self):
        self.left = self.calls = 0
        self.unhook()


def begin(torch, library):
    operators = Operators(torch, library)
    operators.watch()
    return operators
