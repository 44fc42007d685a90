"""The measured processes: how each is started, spoken to, and looked at from outside."""

import glob
import json
import os
import select
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TICKS = os.sysconf("SC_CLK_TCK")
# What a process under measurement must not inherit from whoever measures.
FOREIGN = ("LD_PRELOAD", "CUDA_INJECTION64_PATH", "NVTX_INJECTION64_PATH", "WARPSCOPE_SOCKET", "BARE_KINDS")


# What the library is told that is loaded into a running process. "idle" has a timeline, which is stopped at once.
LATE = {
    "late:ledger": {"WARPSCOPE_MODE": "ledger"},
    "late:idle": {"WARPSCOPE_MODE": "timeline", "WARPSCOPE_API": "none"},
}


class Unavailable(Exception):
    """This way of starting does not exist here; the text says why."""


def find_nsys():
    found = shutil.which("nsys")
    places = (
        "/opt/nvidia/nsight-systems*/*/bin/nsys",
        "/opt/nvidia/nsight-systems*/bin/nsys",
        "/usr/local/cuda*/bin/nsys",
    )
    paths = [found] if found else sorted(path for place in places for path in glob.glob(place))
    if not paths:
        raise Unavailable("no nsys on this machine")
    return paths[-1]


class Refused(RuntimeError):
    """A process answered a command with an error."""


class Tools:
    """Where everything is: warpscope, the libraries of this benchmark, a folder to work in."""

    def __init__(self, binaries, work):
        self.warpscope = os.path.join(binaries, "warpscope")
        self.library = os.path.join(binaries, "libwarpscope.so")
        self.libraries = os.path.join(binaries, "overhead")
        self.work = work
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
        if how in ("never", "bare", "callbacks", "profiler") or how.startswith("late:"):
            return []
        if how == "ledger":
            return self.run(trace, "--mode", "ledger")
        if how == "mixed":
            return self.run(trace, "--api", "none")
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
            return [
                find_nsys(),
                "profile",
                "-t",
                "cuda",
                "-s",
                "none",
                "--cpuctxsw=none",
                "--force-overwrite=true",
                "-o",
                out,
            ]
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
        if how == "bare":
            environment["OVERHEAD_BARE"] = "1"
        # Pipes of our own: what stands before the worker may keep standard input and output for itself.
        name = name.replace(":", "-")
        pipes = [os.path.join(tools.work, f"{name}.{end}") for end in ("in", "out")]
        for path in pipes:
            if os.path.exists(path):
                os.unlink(path)
            os.mkfifo(path, 0o600)
        self.commands = os.open(pipes[0], os.O_RDWR)
        self.answers = os.open(pipes[1], os.O_RDWR)
        worker = [
            sys.executable,
            os.path.join(HERE, "worker.py"),
            part.program,
            json.dumps(part.options),
            tools.libraries,
        ]
        self.log = open(os.path.join(tools.work, f"{name}.log"), "wb")
        self.child = subprocess.Popen(
            before + worker + pipes,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env=environment,
            cwd=tools.work,
        )
        self.rest = b""

    def answer(self, seconds):
        """The next line of JSON; RuntimeError if none comes in time."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self.rest:
            # Shortly, so that a process that has ended is noticed.
            if select.select([self.answers], [], [], 0.25)[0]:
                self.rest += os.read(self.answers, 1 << 16)
            elif self.child.poll() is not None:
                raise RuntimeError(f"{self.how}: ended with status {self.child.returncode}: {self.last_words()}")
            elif time.monotonic() > deadline:
                raise RuntimeError(f"{self.how}: no answer within {seconds} s: {self.last_words()}")
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def last_words(self):
        """The last line that it wrote to standard error."""
        with open(self.log.name, encoding="utf-8", errors="replace") as file:
            lines = file.read().strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"

    def ask(self, wait=60, **command):
        """Its answer; Refused if that is an error."""
        os.write(self.commands, json.dumps(command).encode() + b"\n")
        answer = self.answer(wait)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer

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
        """Waits for its end, after the command to end; a process that does not end is killed."""
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            return self.child.wait()
        finally:
            os.close(self.commands)
            os.close(self.answers)
            self.log.close()
