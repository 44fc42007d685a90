"""What tensors are for, by their addresses: read off the optimizers that the program has made."""

import functools
import time
import weakref

SECONDS = 0.5  # of looking, at most
MOST = 200_000  # tensors


class Roles:
    """Keeps weak references to optimizers, and asks them what they hold when memory has run out."""

    def __init__(self, torch):
        self.torch = torch
        self.optimizers = weakref.WeakSet()

    def watch(self):
        from torch.optim import optimizer

        base = optimizer.Optimizer
        original = base.__init__

        @functools.wraps(original)
        def __init__(this, *args, **kwargs):
            original(this, *args, **kwargs)
            self.seen(this)

        base.__init__ = __init__
        # One that was copied or unpickled never ran __init__.
        optimizer.register_optimizer_step_pre_hook(self.before_step)

    def seen(self, optimizer):
        try:
            self.optimizers.add(optimizer)
        except Exception:
            pass  # a subclass that cannot be hashed or referred to: its tensors stay without a role

    def before_step(self, optimizer, _args, _kwargs):
        self.seen(optimizer)

    def read(self):
        """Lists of addresses and sizes in turns, by role, and whether all was looked at."""
        look = Look(self.torch)
        try:
            for optimizer in list(self.optimizers):
                look.at(optimizer)
        except Enough:
            return look.lists(), False
        return look.lists(), True


class Enough(Exception):
    """There is more than there is time for."""


class Look:
    def __init__(self, torch):
        self.tensor = torch.Tensor
        self.until = time.monotonic() + SECONDS
        self.count = 0
        self.found = {"parameters": {}, "gradients": {}, "optimizer state": {}}

    def at(self, optimizer):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                self.add("parameters", parameter)
                self.add("gradients", getattr(parameter, "grad", None))
        for state in list(optimizer.state.values()):
            for value in state.values() if isinstance(state, dict) else ():
                self.add("optimizer state", value)

    def add(self, role, tensor):
        if not isinstance(tensor, self.tensor):
            return
        self.count += 1
        if self.count > MOST or self.count % 256 == 0 and time.monotonic() > self.until:
            raise Enough
        try:
            tensor = getattr(tensor, "_local_tensor", tensor)  # this rank's part of a distributed one
            if tensor.is_cuda:
                storage = tensor.untyped_storage()
                if storage.data_ptr():
                    self.found[role][storage.data_ptr()] = storage.nbytes()
        except Exception:
            pass  # it has no storage: a fake or wrapped one

    def lists(self):
        return {role: [n for pair in found.items() for n in pair] for role, found in self.found.items() if found}
