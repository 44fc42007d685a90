"""Pauses of Python's garbage collector, which hold every thread of the program."""

import gc

LEAST = 50_000  # ns: shorter ones do not show in a step, and there are many


class Pauses:
    def __init__(self, library):
        self.library = library
        self.began = 0

    def __call__(self, phase, info):
        if phase == "start":
            self.began = self.library.now()
        elif self.began and self.library.now() - self.began >= LEAST:
            self.library.span(b"gc", self.began, info.get("generation", 0))


def begin(_torch, library):
    gc.callbacks.append(Pauses(library))
