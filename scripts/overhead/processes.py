"""The measured processes: how each is started, spoken to, and stopped; and the agents of those that are recorded."""

import glob
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TICKS = os.sysconf("SC_CLK_TCK")
# What a process under measurement must not inherit from whoever measures.
FOREIGN = ("LD_PRELOAD", "CUDA_INJECTION64_PATH", "NVTX_INJECTION64_PATH", "BARE_KINDS", "OVERHEAD_BARE")
AGENT_SECONDS = 20

# Kinds of processes:
#   never      nothing of ours is ever loaded, and no CUPTI
#   ours       like it at first; warpscope's library is loaded later, with an agent of its own
#   profiler   like it at first; torch.profiler is used later
#   whole      under `warpscope run` from the start: whole graphs, never switched
#   barewhole  the bare consumer from the start, the same kinds, never switched
#   nsys       under `nsys profile -t cuda` from the start, where there is one
#   budget     under `warpscope run --budget 1%`
BEFORE = {
    "whole": ("--api", "none", "--graphs", "graph"),
    "budget": ("--budget", "1%"),
}


class Unavailable(Exception):
    """Processes of this kind cannot be had here; the text says why."""


def nsys(out):
    """What stands before a program that nsys is to record."""
    places = ("/opt/nvidia/nsight-systems*/*/bin/nsys", "/opt/nvidia/nsight-systems*/bin/nsys", "/usr/local/cuda*/bin/nsys")
    found = [shutil.which("nsys")] + sorted((path for place in places for path in glob.glob(place)), reverse=True)
    if not any(found):
        raise Unavailable("no nsys on this machine")
    flags = ["-t", "cuda", "-s", "none", "--cpuctxsw=none", "--force-overwrite=true", "-o", out]
    return [next(filter(None, found)), "profile", *flags]


class Tools:
    """Where everything is: warpscope, the libraries of this benchmark, a folder to work in."""

    def __init__(self, binaries, work):
        self.warpscope = os.path.join(binaries, "warpscope")
        self.library = os.path.join(binaries, "libwarpscope.so")
        self.libraries = os.path.join(binaries, "overhead")
        self.work = work

    def run(self, trace, *flags):
        return [self.warpscope, "run", "--force", "--no-python", "-o", trace, *flags, "--"]


def clean(environment):
    """Of what is in it, what a process under measurement may have."""
    return {k: v for k, v in environment.items() if k not in FOREIGN and not k.startswith("WARPSCOPE_")}


def pipe(tools, name):
    path = os.path.join(tools.work, name)
    if os.path.exists(path):
        os.unlink(path)
    os.mkfifo(path, 0o600)
    return path


class Agent:
    """A `warpscope run` whose program waits, so that another process can be recorded by it."""

    def __init__(self, tools, name, flags):
        self.trace = os.path.join(tools.work, f"{name}.wscope")
        told = os.path.join(tools.work, f"{name}.environment")
        if os.path.exists(told):
            os.unlink(told)
        self.end_of_wait = os.open(pipe(tools, f"{name}.wait"), os.O_RDWR)
        script = f'env > "{told}.new"; mv "{told}.new" "{told}"; read x < "{os.path.join(tools.work, name)}.wait"'
        self.log = open(os.path.join(tools.work, f"{name}.agent.log"), "wb")
        self.child = subprocess.Popen(
            tools.run(self.trace, *flags) + ["/bin/sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env=clean(os.environ),
            cwd=tools.work,
        )
        deadline = time.monotonic() + AGENT_SECONDS
        while not os.path.exists(told):
            if self.child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("no agent could be started")
            time.sleep(0.02)
        with open(told, encoding="utf-8") as file:
            words = [line.rstrip("\n").partition("=") for line in file]
        self.environment = {key: value for key, _, value in words if key.startswith("WARPSCOPE_")}

    def close(self):
        os.write(self.end_of_wait, b"end\n")
        os.close(self.end_of_wait)
        self.child.send_signal(signal.SIGCONT)
        try:
            self.child.wait(30)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.log.close()


class Refused(RuntimeError):
    """A process answered a command with an error."""


class Measured:
    """One process that waits for commands. Its answers are awaited for a bounded time."""

    def __init__(self, tools, workload, kind, number):
        self.tools, self.kind = tools, kind
        self.name = f"{workload.key}-{kind}-{number}"
        self.trace = os.path.join(tools.work, f"{self.name}.wscope")
        self.step = 0.01  # seconds, until it is calibrated
        self.agent = None  # its process
        self.held = None
        environment = {**clean(os.environ), **workload.environment}
        if kind == "barewhole":
            environment["OVERHEAD_BARE"] = "none"
        pipes = [pipe(tools, f"{self.name}.{end}") for end in ("in", "out")]
        self.commands = os.open(pipes[0], os.O_RDWR)
        self.answers = os.open(pipes[1], os.O_RDWR)
        before = tools.run(self.trace, *BEFORE[kind]) if kind in BEFORE else []
        recorded = bool(before)
        if kind == "nsys":
            before = nsys(self.trace + ".nsys")
        worker = [
            sys.executable,
            os.path.join(HERE, "worker.py"),
            workload.program,
            json.dumps(workload.options),
            tools.libraries,
        ]
        self.log = open(os.path.join(tools.work, f"{self.name}.log"), "wb")
        self.child = subprocess.Popen(
            before + worker + pipes,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env=environment,
            cwd=tools.work,
        )
        if recorded:
            self.agent = self.child
        self.rest = b""

    # ---- speaking ----

    def answer(self, seconds):
        """The next line of JSON; RuntimeError if none comes in time, Refused if it is an error."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self.rest:
            # Shortly, so that a process that has ended is noticed.
            if select.select([self.answers], [], [], 0.25)[0]:
                self.rest += os.read(self.answers, 1 << 16)
            elif self.child.poll() is not None:
                raise RuntimeError(f"{self.name}: ended with status {self.child.returncode}: {self.last_words()}")
            elif time.monotonic() > deadline:
                raise RuntimeError(f"{self.name}: no answer within {seconds} s: {self.last_words()}")
        line, self.rest = self.rest.split(b"\n", 1)
        answer = json.loads(line)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer

    def last_words(self):
        """The last line that it wrote to standard error."""
        with open(self.log.name, encoding="utf-8", errors="replace") as file:
            lines = file.read().strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"

    def tell(self, **command):
        os.write(self.commands, json.dumps(command).encode() + b"\n")

    def ask(self, wait=60, **command):
        self.tell(**command)
        return self.answer(wait)

    # ---- its agent ----

    def attach(self):
        """Has warpscope's library loaded into it, by way of an agent of its own."""
        self.held = Agent(self.tools, self.name, ("--api", "launch", "--capture", "call"))
        self.agent = self.held.child
        return self.ask(
            do="attach", library=self.tools.library, environment={**self.held.environment, "WARPSCOPE_QUIET": "1"}
        )

    def signal_agent(self, number):
        """Agents stand still while other processes are measured: theirs is not those's price."""
        if self.agent and self.agent.poll() is None:
            self.agent.send_signal(number)

    def agent_cpu(self):
        """Seconds of processor time that the agent has taken."""
        with open(f"/proc/{self.agent.pid}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def agent_memory(self, what="VmRSS"):
        """Memory of the agent in bytes; VmHWM: the most that it has had."""
        with open(f"/proc/{self.agent.pid}/status", encoding="utf-8") as file:
            for line in file:
                if line.startswith(what + ":"):
                    return int(line.split()[1]) * 1024
        return 0

    # ---- end ----

    def abandon(self):
        for child in (self.child, self.held and self.held.child):
            if child and child.poll() is None:
                child.kill()

    def close(self, seconds=30):
        """Waits for its end, after the command to end; a process that does not end is killed. Its exit status."""
        self.signal_agent(signal.SIGCONT)
        try:
            status = self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            status = self.child.wait()
        if self.held:
            self.held.close()
        os.close(self.commands)
        os.close(self.answers)
        self.log.close()
        return status


def forget(tools):
    """Removes what an earlier run has left in the folder."""
    shutil.rmtree(tools.work, ignore_errors=True)
    os.makedirs(tools.work, exist_ok=True)
