"""How far training is, for the diagnosis of memory: steps, what was live after each of them, and whether the gradients
that are there have been used up."""

import functools

MOST = 512  # figures of live memory; then every second one is dropped, and half as many are taken


class Progress:
    def __init__(self, torch):
        self.torch = torch
        self.optimizer = None  # the first one; by identity, it may be gone
        self.steps = 0
        self.every = 1
        self.live = []
        self.applied = False  # gradients were used by a step, and not given back since
        self.zeroed = 0  # times that they were given back, or set to zero …
        self.kept = 0  # … of them, to zero: their memory stays
        self.device = None

    def watch(self):
        from torch.optim import optimizer

        optimizer.register_optimizer_step_post_hook(self.after_step)
        original = optimizer.Optimizer.zero_grad

        @functools.wraps(original)
        def zero_grad(this, set_to_none=True):
            original(this, set_to_none)
            self.zeroed += 1
            if set_to_none:
                self.applied = False
            else:
                self.kept += 1

        # As PyTorch's own: torch.compile leaves it out of graphs.
        optimizer.Optimizer.zero_grad = getattr(self.torch, "_disable_dynamo", lambda function: function)(zero_grad)

    def after_step(self, optimizer, _args, _kwargs):
        self.applied = True
        if self.optimizer is None:
            self.optimizer = id(optimizer)
        if self.optimizer != id(optimizer):
            return
        try:
            if self.steps % self.every == 0:
                self.look()
        except Exception:
            pass  # a version of PyTorch without it: one fact less
        self.steps += 1

    def look(self):
        if not self.torch.cuda.is_initialized():
            return
        if self.device is None:
            self.device = self.torch.cuda.current_device()
        self.live.append(self.torch._C._cuda_memoryStats(self.device)["allocated_bytes"]["all"]["current"])
        if len(self.live) >= MOST:
            self.live = self.live[::2]
            self.every *= 2

    def facts(self):
        return {
            "steps": self.steps,
            "live_every": self.every,
            "live_bytes": list(self.live),
            "gradients_applied": self.applied,
            "zero_grad_calls": self.zeroed,
            "zero_grad_keeps": self.kept,
        }
