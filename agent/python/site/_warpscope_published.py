"""Turns what PyTorch recorded of a step into ranges of the trace.

Ranges of the domain warpscope.op are operators: the text is name and shapes. Those of warpscope.module are calls of
modules, in the forward pass and, told by the numbers that PyTorch gives to differentiable operators, in the backward
pass; the value, of the forward pass, is by how many bytes the GPU's tensors grew inside. Those of warpscope.region
are record_function's. A moment of the domain warpscope.operators says that a
step was sampled, with its length, and another one what that cost.
"""

import os

USER = 7  # of torch's RecordScope
DERIVATIVE = 1  # likewise: a function of the backward pass
EVALUATE = "autograd::engine::evaluate_function: "
MOST_EVENTS = 200_000
MOST_TEXT = 240
BACKWARD = 1 << 63  # value of a module's range that is told of its backward pass
SLICE = 64  # events, between two moments in which the program may have the GIL
UNKNOWN = 1 << 31  # threads that are known by PyTorch's number alone

# They compute nothing: without anything inside they are left out.
VIEWS = frozenset(
    "aten::" + name
    for name in "alias as_strided _conj detach detach_ diagonal expand expand_as _fused_noop is_nonzero lift_fresh narrow permute "
    "_reshape_alias resolve_conj resolve_neg result_type select set_data size slice split squeeze stride t transpose unbind unfold "
    "unsafe_split _unsafe_view unsqueeze view view_as _local_scalar_noop".split()
) | {"detach", "detach_"}


def shapes_text(shapes):
    while shapes and not shapes[-1]:
        shapes = shapes[:-1]
    return ", ".join("[%s]" % ", ".join(map(str, s)) for s in shapes)


def backward_threads():
    """The kernel's numbers of the autograd engine's threads, where this version of PyTorch names them."""
    found = []
    for tid in os.listdir("/proc/self/task"):
        try:
            with open("/proc/self/task/%s/comm" % tid) as file:
                if file.read().startswith("pt_autograd_"):
                    found.append(int(tid))
        except OSError:
            pass  # it has ended
    return found


def base(window, first, events):
    """When the recorder, which has a clock of its own, made its first mark: just before it returned from being switched
    on; and its last one was made just after it was asked to stop."""
    last = events[-1]
    if last.kind() == "mark" and last.name() == "__stop_profile":
        other = window.ended - int(first.cpu_elapsed_us(last) * 1000)
        if abs(other - window.marked) < 100_000:
            return (other + window.marked) // 2
    return window.marked


class Open:
    """An operator that has begun."""

    __slots__ = ("event", "began", "outer", "name", "inside", "number")

    def __init__(self, event, began, outer):
        self.event, self.began, self.outer, self.inside = event, began, outer, False
        self.name = event.name()
        self.number = event.sequence_nr()


class Publisher:
    def __init__(self, library):
        self.library = library
        self.texts = library.Texts()
        self.domains = {}
        self.array = (library.Mark * 256)()
        self.count = 0
        self.spent = 0
        self.ending = library.c_word()  # not 0: the program ends
        self.base = 0  # when the recorder made its first mark, ns of CLOCK_MONOTONIC

    def publish(self, window):
        """Returns what it took of the GIL's time, ns."""
        self.spent, began = 0, self.library.now()
        lists = [events for events in window.events if events]
        window.events = None
        first = next((e[0] for e in lists if e[0].kind() == "mark" and e[0].name() == "__start_profile"), None)
        if first is not None and sum(map(len, lists)) <= MOST_EVENTS:
            lists.sort(key=lambda events: events[0] is not first)
            self.base = base(window, first, lists[0])
            others = self.kernel_threads([e[0].thread_id() for e in lists[1:]])
            modules = {}  # of differentiable operators, by their number
            for i, events in enumerate(lists):
                thread = window.thread if i == 0 else others[i - 1]
                self.thread(window, events, first, thread, modules, window.calls if i == 0 else [])
            for call in window.calls:
                if call.ended:
                    self.mark("module", call.text, call.began, call.ended, window.thread, call.kept)
            self.mark("operators", "sampled", window.began, 0, window.thread, window.ended - window.began)
        cost = window.cost + self.spent + self.library.now() - began
        self.mark("operators", "cost", window.ended, 0, window.thread, cost)
        self.mark("operators", "published", window.ended, 0, window.thread, self.library.now() - window.ended)
        self.flush()
        return cost - window.cost

    def kernel_threads(self, numbers):
        named = backward_threads()
        if len(set(numbers)) == 1 == len(named):
            return named * len(numbers)
        return [UNKNOWN | n for n in numbers]

    def thread(self, window, events, first, thread, modules, calls):
        """One thread's operators. `modules` is filled by the forward pass and read by the backward pass."""
        elapsed = first.cpu_elapsed_us
        innermost = None
        at = 0
        stack = []  # calls of modules that are open
        for n, event in enumerate(events):
            if n % SLICE == SLICE - 1:
                self.let_go()
            kind = event.kind()
            if kind == "push":
                now = self.base + int(elapsed(event) * 1000)
                while at < len(calls) and calls[at].began <= now:
                    stack.append(calls[at])
                    at += 1
                while stack and stack[-1].ended and stack[-1].ended < now:
                    stack.pop()
                if innermost is not None:
                    innermost.inside = True
                innermost = Open(event, now, innermost)
                number, outer = innermost.number, innermost.outer
                if outer is not None and outer.number < 0 and outer.name.startswith(EVALUATE):
                    outer.number = number  # the recorder tells it of the function alone, not of its evaluation
                if number >= 0 and stack and event.scope() != DERIVATIVE and not innermost.name.startswith(EVALUATE):
                    modules.setdefault(number, stack[-1].text)
            elif kind == "pop":
                if innermost is not None:
                    self.range(innermost, self.base + int(elapsed(event) * 1000), thread, modules)
                    innermost = innermost.outer
        self.flush()

    def range(self, op, ended, thread, modules):
        if op.name.startswith(EVALUATE):
            text = modules.get(op.number)
            if text:
                self.mark("module", text, op.began, ended, thread, BACKWARD)
        elif op.event.scope() == USER:
            self.mark("region", op.name[:MOST_TEXT], op.began, ended, thread, 0)
        elif op.inside or op.name not in VIEWS:
            text = "%s\t%s" % (op.name, shapes_text(op.event.shapes()))
            self.mark("op", text[:MOST_TEXT], op.began, ended, thread, 0)

    def mark(self, domain, text, began, ended, thread, value):
        number = self.domains.get(domain)
        if number is None:
            number = self.domains[domain] = self.texts.of("warpscope." + domain)
        m = self.array[self.count]
        m.began, m.ended, m.value, m.thread = began, max(ended, began + 1) if ended else 0, value & (1 << 64) - 1, thread
        m.text, m.domain = self.texts.of(text), number
        self.count += 1
        if self.count == len(self.array):
            self.flush()

    def flush(self):
        if self.count:
            self.library.marks(self.array, self.count)
            self.count = 0

    def let_go(self):
        """The program's threads want the GIL at each launch: it is given up before they have to ask for it."""
        before = self.library.now()
        self.library.sleep(before + 200_000, self.ending)
        self.spent -= self.library.now() - before
        if self.ending.value:
            raise SystemExit  # of this thread
