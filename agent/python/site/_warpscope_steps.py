"""Training steps: from one call of the optimizer to the next."""

import weakref


class Steps:
    """Counts the steps of the first optimizer that is used; others (a GAN's second one) step inside."""

    def __init__(self, library):
        self.library = library
        self.after = None  # called at each step's end
        self.optimizer = None  # weak: a search over settings makes many
        self.began = 0
        self.count = 0

    def after_step(self, optimizer, _args, _kwargs):
        if self.optimizer is None or self.optimizer() is None:
            self.optimizer = weakref.ref(optimizer)
            self.began = 0
        elif self.optimizer() is not optimizer:
            return
        if self.began:
            self.library.span(b"step", self.began, self.count)
        self.count += 1
        self.began = self.library.now()
        self.library.step()
        if self.after is not None:
            try:
                self.after()
            except Exception:
                self.after = None  # the program's step goes on without


def begin(torch, library):
    from torch.optim.optimizer import register_optimizer_step_post_hook

    steps = Steps(library)
    register_optimizer_step_post_hook(steps.after_step)
    return steps
