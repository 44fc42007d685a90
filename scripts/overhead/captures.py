"""What is switched on and off inside a measured process.

A capture has to(state), which switches to one of its states, and amount(state), something that grows while records of
that state arrive (None where nothing in the process can tell).

Ours     warpscope's library, loaded into the running process behind libbetween.so:
           ledger, off   allocations alone, the timeline stopped (two names: before and after it was on for the first time)
           mute          the same without the callbacks on allocations: CUPTI is there and does nothing
           few           the same without those that watch other calls for failure; one: with one that nothing calls
           all           with those, too, that the library lets go where they come too often
           none, launch  the timeline at --api=none, launch
           bare          as none, but the records are thrown away as they come and there are no callbacks: CUPTI's price
Others   off; on: nothing is switched; bare:CONTENT: the consumer of bare.c; profiler:cuda and profiler:both
"""

import ctypes
import glob
import os
import sys

# CUpti_ActivityKind numbers. What `warpscope run` enables at each setting, see cupti/ws_timeline.c:
# kernels 10, copies 1 and 22, sets 2; waits 38, overhead 17, NVTX 12 and 13; whole graphs 51.
WORK = "10,1,22,2"
TIMELINE = WORK + ",38,17,12,13"
CONTENT = {"none": TIMELINE + ",51", "node": TIMELINE}
KERNEL = 10
CALLS = 2048  # more than any CUPTI has callbacks of one domain
LOOKS = 2


class Nothing:
    """Nothing is on, or something that is never switched."""

    def to(self, state):
        pass

    def amount(self, state):
        return None


class Bare:
    """The consumer that throws everything away, by itself."""

    def __init__(self, library, content):
        self.library = library
        self.kinds = CONTENT[content].encode()

    def to(self, state):
        failed = self.library.bare_start(self.kinds) if state != "off" else self.library.bare_stop()
        if failed:
            raise RuntimeError(f"the bare consumer could not be switched: CUPTI's error {failed}")


class Profiler:
    """torch.profiler: a new one for each window, whose result is thrown away."""

    def __init__(self):
        self.profiler = None
        self.events = {}
        self.looked = {}
        self.current = "off"

    def to(self, state):
        from torch.profiler import ProfilerActivity, profile

        if self.profiler:
            self.profiler.stop()
            self.look()
            self.profiler = None
        self.current = state
        if state != "off":
            activities = [ProfilerActivity.CUDA] + ([ProfilerActivity.CPU] if state == "profiler:both" else [])
            self.profiler = profile(activities=activities)
            self.profiler.start()

    def look(self):
        """Slow, and the same each time."""
        if self.looked.get(self.current, 0) < LOOKS:
            self.looked[self.current] = self.looked.get(self.current, 0) + 1
            events = self.profiler.profiler.kineto_results.events()
            self.events[self.current] = self.events.get(self.current, 0) + sum(
                1 for e in events if "CUDA" in str(e.device_type())
            )

    def amount(self, state):
        if state == "off" or self.looked.get(state, 0) >= LOOKS:
            return None
        return self.events.get(state, 0)


class Ours:
    """The timeline and the ledger of a library that was loaded into the running process."""

    # By state: the timeline, records of calls, records thrown away, which callbacks are off (between.c).
    STATES = {
        "ledger": (False, False, False, 0),
        "off": (False, False, False, 0),
        "mute": (False, False, False, 1),
        "few": (False, False, False, 2),
        "one": (False, False, False, 3),
        "all": (False, False, False, 4),
        "none": (True, False, False, 0),
        "launch": (True, True, False, 0),
        "bare": (True, False, True, 1),
    }

    def __init__(self, between, library):
        self.between = between
        self.library = library
        self.now = self.STATES["off"]

    def to(self, state):
        timeline, calls, bare, mute = self.STATES[state]
        was_timeline, was_calls, was_bare, was_mute = self.now
        if was_bare and not (bare and timeline):
            self.must("flush", self.between.between_bare(0))
        if was_timeline and (not timeline or calls != was_calls):
            self.must("warpscope_stop", self.library.warpscope_stop())
            was_timeline = False
        if timeline and not was_timeline:
            self.between.between_calls(int(calls))
            self.must("warpscope_start", self.library.warpscope_start())
        if bare and not was_bare:
            self.must("flush", self.between.between_bare(1))
        if mute != was_mute:
            self.must("callbacks", self.between.between_mute(mute))
        self.now = self.STATES[state]

    @staticmethod
    def must(what, failed):
        if failed:
            raise RuntimeError(f"{what} returned {failed}")

    def amount(self, state):
        return self.between.between_bytes() if state == "bare" else None


def load_bare(folder):
    """libbare.so with the types of its functions."""
    library = ctypes.CDLL(os.path.join(folder, "libbare.so"))
    library.bare_start.argtypes = [ctypes.c_char_p]
    library.bare_strangers.restype = ctypes.c_uint64
    return library


def load_between(folder):
    """libbetween.so; OSError where there is no CUPTI 13 for it."""
    path = os.path.join(folder, "libbetween.so")
    try:
        library = ctypes.CDLL(path)
    except OSError:
        # The loader finds it by its name once it is there.
        places = [os.path.join(p, "nvidia", "*", "lib") for p in sys.path]
        places += ["/usr/local/cuda*/extras/CUPTI/lib64", "/usr/local/cuda*/lib64"]
        found = [f for p in places for f in sorted(glob.glob(os.path.join(p, "libcupti.so.13")))]
        if not found:
            raise
        ctypes.CDLL(found[0])
        library = ctypes.CDLL(path)
    library.between_bytes.restype = ctypes.c_uint64
    library.between_records.restype = ctypes.c_uint64
    library.between_called.restype = ctypes.c_uint64
    library.between_name.restype = ctypes.c_char_p
    library.between_path.restype = ctypes.c_char_p
    library.between_version.restype = ctypes.c_uint32
    return library, path
