"""What Python is doing: stacks of threads, sampled, and how long a thread waits for the GIL.

A thread of its own wakes at uneven distances, takes the GIL and looks at the frames of the others. How long
it had to wait for the GIL is its estimate of what any other thread waits; a sample counts for the
moment at which it was due, since the line that held the GIL until then is the line at which it is found.
The thread is not known to `threading`, and ends before the interpreter does.
"""

import _thread
import atexit
import ctypes
import os
import random
import sys
import threading
import time

MOST_THREADS = 8  # looked at in one sample
FRAMES = 48
MOST_STACKS = 1 << 14  # that are told apart
BUSY = 0.02  # of the time: a thread that uses less of a CPU is waiting
SHARE = 0.01  # of a CPU, that the sampler may use: above, it samples more rarely
MOST_COST = 2_000_000  # ns: of the first samples, which are new in all that they find
LEAST_WAIT = 100_000  # ns: shorter waits for the GIL are not told one by one
KNOWN_EVERY = 64  # samples, between two looks at what threads there are


def cpu_clock(tid):
    """The clock of a thread's CPU time: asked of a thread that is gone it fails, and no more."""
    return (~tid << 3) | 6


HERE = __file__.rpartition("/")[0] + "/"  # what lies here is not the program's


class Stacks:
    """Numbers of stacks. What was seen is known by its code and place, and costs no text."""

    def __init__(self, library):
        self.texts = library.Texts()
        self.known = {}  # places: number, and the code, which must not be replaced by other code

    def of(self, frame):
        places = []
        code = []
        while frame is not None and len(code) < FRAMES:
            c = frame.f_code
            code.append(c)
            places.append(id(c))
            places.append(frame.f_lasti)
            frame = frame.f_back
        key = tuple(places)
        found = self.known.get(key)
        if found is None:
            if len(self.known) >= MOST_STACKS:
                return self.texts.of(self.texts.OTHER)
            found = self.known[key] = (self.texts.of(self.text(code, places)), code)
        return found[0]

    def text(self, code, places):
        lines = []
        for i, c in enumerate(code):
            if not c.co_filename.startswith(HERE):
                lines.append("%s:%d %s" % (c.co_filename, line_of(c, places[2 * i + 1]), getattr(c, "co_qualname", c.co_name)))
        return "\n".join(lines) or "(warpscope)"


def line_of(code, place):
    """The line of an instruction: a frame's f_lineno, asked later."""
    if hasattr(code, "co_lines"):
        for start, end, line in code.co_lines():
            if start <= place < end:
                return line or code.co_firstlineno
        return code.co_firstlineno
    line, at, table = code.co_firstlineno, 0, code.co_lnotab  # before 3.10
    for i in range(0, len(table) - 1, 2):
        at += table[i]
        if at > place:
            break
        line += table[i + 1] if table[i + 1] < 0x80 else table[i + 1] - 0x100
    return line


def interpreters():
    """A function that lists the interpreters of this process; None: nobody knows."""
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            return __import__(name).list_all
        except ImportError:
            pass
    return None


class Threads:
    """The kernel's numbers of threads, by Python's. Threads that Python did not start (those of PyTorch's
    backward pass) are not in `threading`: theirs is read where the C library keeps it, through
    /proc/self/mem, which fails where memory is gone instead of crashing."""

    REACH = 1024  # bytes of the C library's own record of a thread

    def __init__(self):
        self.known = {}
        self.main = threading.main_thread().ident
        self.place = None

    def look(self):
        """Forgets threads that ended."""
        self.known = {ident: thread.native_id for ident, thread in list(threading._active.items()) if thread.native_id}

    def of(self, ident):
        tid = self.known.get(ident)
        if tid is None:
            tid = self.known[ident] = self.read(ident)
        return tid

    def read(self, ident):
        try:
            memory = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return 0
        try:
            if self.place is None:
                self.place = self.find(memory)
            data = os.pread(memory, 4, ident + self.place) if self.place else b""
            return int.from_bytes(data, sys.byteorder)
        except (OSError, OverflowError):
            return 0
        finally:
            os.close(memory)

    def find(self, memory):
        """Where it is in the record: the same place in two threads whose numbers are known; 0: nowhere."""
        places = None
        for ident, tid in ((_thread.get_ident(), threading.get_native_id()), (self.main, os.getpid())):
            data = os.pread(memory, self.REACH, ident)
            at = {i for i in range(4, len(data) - 3, 4) if int.from_bytes(data[i : i + 4], sys.byteorder) == tid}
            places = at if places is None else places & at
        return min(places) if places else 0


class Sampler:
    def __init__(self, library, rate):
        self.library = library
        self.period = 1e9 / rate
        self.domain = 0
        self.stacks = None
        self.array = (library.Mark * MOST_THREADS)()
        self.word = ctypes.c_uint32()
        self.ended = _thread.allocate_lock()
        self.after = None  # called between samples
        self.threads = Threads()
        self.pid = os.getpid()
        self.used = {}  # kernel's thread id: its CPU time, ns
        self.cost = 0.0  # of a sample, ns of CPU time: the average
        self.interpreters = interpreters()

    def start(self):
        if not isinstance(_thread.start_new_thread, type(len)):
            return  # gevent and the like put something else there: this would block all that it runs
        self.ended.acquire()
        atexit.register(self.stop)
        _thread.start_new_thread(self.run, ())

    def stop(self):
        """At the end of the program: the interpreter must not be taken down under the thread."""
        if os.getpid() == self.pid:  # a forked child has no such thread
            self.library.wake(self.word)
            self.ended.acquire(timeout=1)

    def run(self):
        try:
            self.loop()
        except (Exception, SystemExit):
            pass  # the program goes on without samples
        finally:
            self.stacks = None  # code must not outlive what the program's libraries know about it
            self.ended.release()

    def loop(self):
        library, word, pick = self.library, self.word, random.Random().uniform
        count = 0
        while not word.value:
            period = max(self.period, self.cost / SHARE)
            woke = library.sleep(library.now() + int(period * pick(0.5, 1.5)), word)
            taken = library.now()
            if word.value or not woke:
                return
            if not library.recording():
                self.used.clear()
                continue
            if self.interpreters is not None and len(self.interpreters()) > 1:
                return  # sys._current_frames makes frames of all of them in this one, which ends badly from 3.12 on
            cpu = time.thread_time_ns()
            if count % KNOWN_EVERY == 0:
                self.threads.look()
            if not self.domain:  # texts need a capture
                self.domain, self.stacks = library.Texts().of("warpscope.stack"), Stacks(library)
            count += 1
            self.sample(woke, taken)
            if taken - woke >= LEAST_WAIT:
                library.span(b"gil wait", woke, taken - woke)
            self.cost += (min(time.thread_time_ns() - cpu, MOST_COST) - self.cost) / 16
            if self.after is not None:
                self.between()

    def between(self):
        try:
            self.after()
        except Exception:
            self.after = None

    def sample(self, woke, taken):
        frames = sys._current_frames()
        frames.pop(_thread.get_ident(), None)
        n = 0
        delay = min((taken - woke) // 1000, 0xFFFFFFFF)
        first = frames.pop(self.threads.main, None)
        if first is not None:
            n = self.one(n, self.threads.main, first, woke, delay, 0.0)
        for ident, frame in frames.items():
            if n == MOST_THREADS:
                break
            n = self.one(n, ident, frame, woke, delay, BUSY)
        if n:
            self.library.marks(self.array, n)

    def one(self, n, ident, frame, woke, delay, least):
        """Writes down where a thread is, unless it has used less of a CPU than `least`. The value is how long
        the sample waited for the GIL, and how much CPU time the thread has used since the last one, in µs."""
        tid = self.threads.of(ident)
        used = 0
        if tid:
            try:
                total = time.clock_gettime_ns(cpu_clock(tid))
            except OSError:
                return n
            before = self.used.get(tid)
            self.used[tid] = total
            used = total - before if before is not None else 0
        if tid and used < least * self.period:
            return n
        mark = self.array[n]
        mark.began, mark.ended, mark.thread, mark.domain = woke, 0, tid, self.domain
        mark.text = self.stacks.of(frame)
        mark.value = min(used // 1000, 0xFFFFFFFF) << 32 | delay
        return n + 1

