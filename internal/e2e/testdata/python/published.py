"""What PyTorch's recorder would have taken down of a step, handed to warpscope's module on the simulated device."""

import ctypes
import os
import sys
import time

import torch

driver = ctypes.CDLL("libcuda.so.1")
assert driver.cuInit(0) == 0
torch.cuda.init()
library = sys.modules["_warpscope_library"]
sys.path.insert(0, os.path.dirname(library.__file__))
from _warpscope_published import USER, Publisher  # noqa: E402


class Event:
    def __init__(self, kind, us, name="", thread=1, shapes=(), scope=0, number=-1):
        self.at, self.values = us, (kind, name, thread, [list(s) for s in shapes], scope, number)

    def kind(self):
        return self.values[0]

    def name(self):
        return self.values[1]

    def thread_id(self):
        return self.values[2]

    def shapes(self):
        return self.values[3]

    def scope(self):
        return self.values[4]

    def sequence_nr(self):
        return self.values[5]

    def cpu_elapsed_us(self, other):
        return other.at - self.at


class Call:
    def __init__(self, began, ended, text, kept):
        self.began, self.ended, self.text, self.kept = began, ended, text, kept


class Window:
    pass


ms = 1_000_000
now = time.monotonic_ns() - 50 * ms
w = Window()
w.began, w.marked, w.ended, w.thread, w.cost = now, now, now + 20 * ms, os.getpid(), 7
w.calls = [Call(now + 1 * ms, now + 9 * ms, "(model)\tNet float32", 4096), Call(now + 2 * ms, now + 8 * ms, "fc\tLinear float32", 1024)]
forward = [
    Event("mark", 0, "__start_profile"),
    Event("push", 500, "train", scope=USER),
    Event("push", 3000, "aten::linear", shapes=[(8, 16), (32, 16), ()], number=41),
    Event("push", 3100, "aten::t", shapes=[(32, 16)], number=41),  # a view: left out
    Event("pop", 3200),
    Event("push", 3300, "aten::addmm", shapes=[(32,), (8, 16), (16, 32), (), ()], number=42),
    Event("pop", 5000),
    Event("pop", 6000),
    Event("pop", 9500),
    Event("pop", 9600),  # of what had begun before
    Event("mark", 20000, "__stop_profile"),
]
backward = [
    Event("push", 12000, "autograd::engine::evaluate_function: AddmmBackward0", thread=2, number=-1),
    Event("push", 12100, "AddmmBackward0", thread=2, shapes=[(8, 32)], scope=1, number=42),
    Event("pop", 13000, thread=2),
    Event("pop", 13100, thread=2),
    Event("push", 14000, "cut off by the end of the step", thread=2),
]
w.events = [backward, [], forward]
Publisher(library).publish(w)
