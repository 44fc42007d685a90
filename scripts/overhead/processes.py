"""The measured processes: how each is started, spoken to, and looked at from outside."""

import glob
import json
import os
import selectors
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TICKS = os.sysconf("SC_CLK_TCK")
# What a process under measurement must not inherit from whoever measures.
FOREIGN = ("LD_PRELOAD", "CUDA_INJECTION64_PATH", "NVTX_INJECTION64_PATH", "WARPSCOPE_SOCKET", "BARE_KINDS")


class Unavailable(Exception):
    """This way of starting does not exist here; the text says why."""


def find_nsys():
    found = shutil.which("nsys")
    places = ("/opt/nvidia/nsight-systems*/*/bin/nsys", "/opt/nvidia/nsight-systems*/bin/nsys", "/usr/local/cuda*/bin/nsys")
    paths = [found] if found else sorted(path for place in places for path in glob.glob(place))
    if not paths:
        raise Unavailable("no nsys on this machine")
    return paths[-1]


class Tools:
    """Where everything is: warpscope, the libraries of this benchmark, a folder to work in."""

    def __init__(self, warpscope, libraries, work):
        self.warpscope = warpscope
        self.libraries = libraries
        self.work = work
        self.takes_turns = True  # warpscope and the bare consumer, in one process
        self._help = None

    def run_help(self):
        if self._help is None:
            out = subprocess.run([self.warpscope, "run", "--help"], capture_output=True, text=True, check=False)
            self._help = out.stdout + out.stderr
        return self._help

    def run(self, trace, *flags):
        return [self.warpscope, "run", "--quiet", "--force", "-o", trace, *flags, "--"]

    def command(self, how, trace):
        """What stands before the worker's own command line."""
        if how in ("never", "bare", "callbacks", "profiler"):
            return []
        if how == "ledger":
            return self.run(trace, "--mode", "ledger")
        if how in ("none", "launch"):
            return self.run(trace, "--api", how)
        if how == "node":
            return self.run(trace, "--api", "none", "--graphs", "node")
        if how == "budget":
            if "--budget" not in self.run_help():
                raise Unavailable("this warpscope has no --budget")
            return self.run(trace, "--budget", "1%")
        if how == "nsys":
            out = trace + ".nsys"
            return [find_nsys(), "profile", "-t", "cuda", "-s", "none", "--cpuctxsw=none", "--force-overwrite=true", "-o", out]
        raise LookupError(f"no process is called {how}")


class Measured:
    """One process that waits for commands. Its answers are awaited for a bounded time."""

    def __init__(self, tools, part, how, name):
        self.how = how
        self.trace = os.path.join(tools.work, f"{name}.wscope")
        before = tools.command(how, self.trace)
        self.agent = bool(before) and before[0] == tools.warpscope
        environment = {k: v for k, v in os.environ.items() if k not in FOREIGN}
        environment.update(part.environment)
        worker = [sys.executable, os.path.join(HERE, "worker.py"), part.program, json.dumps(part.options), tools.libraries]
        self.log = open(os.path.join(tools.work, f"{name}.log"), "wb")
        self.child = subprocess.Popen(
            before + worker, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, env=environment, cwd=tools.work
        )
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.child.stdout, selectors.EVENT_READ)
        self.rest = b""

    def answer(self, seconds):
        """The next line of JSON; RuntimeError if none comes in time."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self.rest:
            left = deadline - time.monotonic()
            if left <= 0 or not self.selector.select(left):
                raise RuntimeError(f"{self.how}: no answer within {seconds} s, see {self.log.name}")
            data = os.read(self.child.stdout.fileno(), 1 << 16)
            if not data:
                status = self.child.wait(10)
                raise RuntimeError(f"{self.how}: ended with status {status}: {self.last_words()}")
            self.rest += data
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def last_words(self):
        """The last line that it wrote to standard error."""
        with open(self.log.name, encoding="utf-8", errors="replace") as file:
            lines = file.read().strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"

    def ask(self, wait=60, **command):
        """Its answer; an "error" in it is the caller's to judge."""
        try:
            self.child.stdin.write(json.dumps(command).encode() + b"\n")
            self.child.stdin.flush()
        except BrokenPipeError:
            pass  # answer() says how it ended
        return self.answer(wait)

    def agent_cpu(self):
        """Seconds of processor time that the agent has taken, None if there is none."""
        if not self.agent:
            return None
        with open(f"/proc/{self.child.pid}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def agent_peak(self):
        """Most memory that the agent has had, in bytes."""
        if not self.agent:
            return None
        with open(f"/proc/{self.child.pid}/status", encoding="utf-8") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        return None

    def close(self, seconds=60):
        """Ends it; a process that does not end is killed."""
        try:
            self.child.stdin.close()
        except BrokenPipeError:
            pass
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            return self.child.wait()
        finally:
            self.selector.close()
            self.child.stdout.close()
            self.log.close()
