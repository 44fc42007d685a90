"""What is switched on and off inside a measured process: captures(name) with on() and off().

Names: "off"; "bare:CONTENT", the consumer of bare.c; "warpscope", whatever its library was started for; and
"profiler:cuda" and "profiler:both", torch.profiler. off() returns when what was recorded has been delivered.
"""

import ctypes
import os

# CUpti_ActivityKind numbers. What `warpscope run` enables at each setting, see cupti/ws_timeline.c:
# kernels 10, copies 1 and 22, sets 2; waits 38, overhead 17, NVTX 12 and 13; whole graphs 51.
WORK = "10,1,22,2"
TIMELINE = WORK + ",38,17,12,13"
CONTENT = {
    "work": WORK,
    "none": TIMELINE + ",51",
    "launch": TIMELINE + ",51,launch",
    "node": TIMELINE,
    "allocations": "allocations",
}
KERNEL, GRAPH = 10, 51
LOOKS = 3


class Off:
    """Nothing is on."""

    def on(self):
        pass

    def off(self):
        pass

    def amount(self):
        """Something that grows when records arrive; None where nothing can tell."""
        return None


class Bare:
    """The consumer that throws everything away."""

    def __init__(self, library, content):
        self.library = library
        self.kinds = CONTENT[content].encode()

    def on(self):
        failed = self.library.bare_start(self.kinds)
        if failed:
            raise RuntimeError(f"the bare consumer could not start: CUPTI's error {failed}")

    def off(self):
        failed = self.library.bare_stop()
        if failed:
            raise RuntimeError(f"the bare consumer could not stop: CUPTI's error {failed}")

    def amount(self):
        return self.library.bare_bytes() + self.library.bare_calls()


class Warpscope:
    """The library that was preloaded, by its own start and stop."""

    def __init__(self):
        process = ctypes.CDLL(None)
        try:
            self.start, self.stop = process.warpscope_start, process.warpscope_stop
        except AttributeError:
            raise LookupError("no warpscope_start in this process") from None

    def on(self):
        failed = self.start()
        if failed != 0:
            raise RuntimeError(f"warpscope_start returned {failed}")

    def off(self):
        failed = self.stop()
        if failed:
            raise RuntimeError(f"warpscope_stop returned {failed}")

    def amount(self):
        return None  # its trace tells, after the run


class Profiler:
    """torch.profiler: a new one for each window, whose result is thrown away."""

    def __init__(self, both):
        from torch.profiler import ProfilerActivity, profile

        activities = [ProfilerActivity.CUDA] + ([ProfilerActivity.CPU] if both else [])
        self.make = lambda: profile(activities=activities)
        self.profiler = None
        self.events = 0
        self.looked = 0

    def on(self):
        self.profiler = self.make()
        self.profiler.start()

    def off(self):
        self.profiler.stop()
        if self.looked < LOOKS:  # slow, and the same each time
            events = self.profiler.profiler.kineto_results.events()
            self.events += sum(1 for e in events if "CUDA" in str(e.device_type()))
            self.looked += 1
        self.profiler = None

    def amount(self):
        return self.events if self.looked < LOOKS else None


def load_bare(folder):
    """libbare.so with the types of its functions."""
    library = ctypes.CDLL(os.path.join(folder, "libbare.so"))
    library.bare_start.argtypes = [ctypes.c_char_p]
    for name in ("bare_bytes", "bare_records", "bare_calls", "bare_buffers", "bare_strangers"):
        getattr(library, name).restype = ctypes.c_uint64
    library.bare_path.restype = ctypes.c_char_p
    library.bare_version.restype = ctypes.c_uint32
    return library


def capture(name, bare):
    """The capture of that name; bare is what load_bare returned."""
    kind, _, what = name.partition(":")
    if kind in ("off", "on"):
        return Off()
    if kind == "bare":
        return Bare(bare, what)
    if kind == "warpscope":
        return Warpscope()
    if kind == "profiler":
        return Profiler(what == "both")
    raise LookupError(f"no capture is called {name}")
