"""Runs a program under `warpscope run --doctor`, and asks `warpscope doctor --json` about what it left.

Programs import what they need first and then take turns on the GPU: importing PyTorch takes longer than most of
them work. A program waits for its turn if WARPSCOPE_SCENARIO_TURN names a file: it makes FILE.ready and waits for
FILE.go. The turn ends when `warpscope run` has ended, so that the next program finds the card empty.
"""

import glob
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time

import trim

COLUMNS = "400"  # a finding's head on one line
MEASURE = re.compile(r"^measure (\w+) (-?[\d.]+(?:e[+-]?\d+)?)\s*$", re.MULTILINE)
PIECE = 64 << 20  # of a program's output


class Card:
    """Who may use the GPU: one after another, in the order in which they asked."""

    def __init__(self):
        self.lock = threading.Condition()
        self.queue = []
        self.alone = False
        self.shared = 0

    def take(self, alone):
        me = object()
        with self.lock:
            self.queue.append(me)
            self.lock.wait_for(lambda: self.queue[0] is me and not self.alone and (self.shared == 0 or not alone))
            self.queue.pop(0)
            if alone:
                self.alone = True
            else:
                self.shared += 1
            self.lock.notify_all()

    def give(self, alone):
        with self.lock:
            if alone:
                self.alone = False
            else:
                self.shared -= 1
            self.lock.notify_all()


class Launcher:
    def __init__(self, warpscope, folder, python=sys.executable):
        self.warpscope = warpscope
        self.folder = folder
        self.python = python
        self.card = Card()
        self.children = set()
        os.makedirs(folder, exist_ok=True)

    def end(self):
        """Ends what runs: programs are in sessions of their own, and would go on without us."""
        for child in list(self.children):
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)

    def run(self, program, name, arguments, environment):
        """Runs a program once and returns what came of it."""
        stem = os.path.join(self.folder, name)
        for old in glob.glob(glob.escape(stem) + ".*"):
            os.remove(old)
        trace, turn = stem + ".wscope", stem + ".turn"
        env = dict(os.environ, COLUMNS=COLUMNS, NO_COLOR="1", WARPSCOPE_SCENARIO_TURN=turn, PYTHONDONTWRITEBYTECODE="1")
        env.update(program.environment)
        env.update(environment)
        command = [self.warpscope, "run", "--force", "--doctor", "-o", trace, *program.flags, "--"]
        command += [self.python, program.path, "--variant", str(program.variant), *program.arguments, *arguments]
        began = time.monotonic()
        with open(stem + ".out", "wb") as out, open(stem + ".err", "wb") as err:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env, start_new_session=True)
            self.children.add(child)
            turned, late = self.turn(program, child, turn)
            ended = time.monotonic_ns()
            self.children.discard(child)
        for rest in glob.glob(glob.escape(turn) + ".*"):
            os.remove(rest)
        run = {
            "name": name, "status": child.returncode, "late": late, "seconds": round(time.monotonic() - began, 1),
            "turn_seconds": round(time.monotonic() - turned, 1) if turned else None, "command": " ".join(command[1:]),
        }  # fmt: skip
        out, err = read(stem + ".out"), read(stem + ".err")
        run["printed"] = printed(err)
        run["measures"] = {m[1]: float(m[2]) for m in MEASURE.finditer(out)}
        run["stderr_tail"] = err[-1500:]
        self.ask(program, run, stem, trace)
        run["told_after_s"] = told_after(os.path.join(self.folder, run["files"][0]), ended) if run["files"] else None
        return run

    def turn(self, program, child, turn):
        """Waits for the end of a program; returns when its turn began, and whether it took too long."""
        deadline = time.monotonic() + 240  # of imports, and of waiting for the card
        while child.poll() is None and not os.path.exists(turn + ".ready") and time.monotonic() < deadline:
            time.sleep(0.01)
        if child.poll() is None and not os.path.exists(turn + ".ready"):
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            return None, True
        if child.poll() is not None:
            return None, False
        self.card.take(program.alone)
        began = time.monotonic()
        try:
            open(turn + ".go", "w").close()
            try:
                child.wait(program.limit)
                return began, False
            except subprocess.TimeoutExpired:
                # Its own session, so that what the program has started ends as well.
                for how in (signal.SIGTERM, signal.SIGKILL):
                    os.killpg(child.pid, how)
                    try:
                        child.wait(10)
                        break
                    except subprocess.TimeoutExpired:
                        continue
                return began, True
        finally:
            self.card.give(program.alone)

    def ask(self, program, run, stem, trace):
        """The diagnosis as data: of the snapshot that a failure or a history left, else of the trace."""
        snapshots = last_of_each(sorted(glob.glob(glob.escape(stem) + ".oom-*.pickle") + glob.glob(glob.escape(stem) + ".end-*.pickle")))
        run["files"] = [os.path.basename(f) for f in snapshots] + ([os.path.basename(trace)] if os.path.exists(trace) else [])
        of = snapshots[0] if snapshots and program.judge != "trace" else trace
        run["diagnosis"], run["doctor_seconds"], run["doctor_error"] = self.json("doctor", "--json", of)
        if os.path.exists(trace):
            inspection, _, _ = self.json("inspect", "--memory", "--json", trace)
            memory = (inspection or {}).get("memory") or {}
            run["inspection"] = {"memory": {"accounts": memory.get("accounts"), "moments": memory.get("moments")}}

    def json(self, *arguments):
        began = time.monotonic()
        try:
            done = subprocess.run([self.warpscope, *arguments], capture_output=True, timeout=60)
        except subprocess.TimeoutExpired:
            return None, 60.0, "took more than 60 s"
        seconds = round(time.monotonic() - began, 2)
        try:
            return json.loads(done.stdout), seconds, ""
        except ValueError:
            return None, seconds, done.stderr.decode(errors="replace")[-400:]


def read(path):
    with open(path, "rb") as file:
        return file.read(PIECE).decode(errors="replace")


HEAD = re.compile(r"^(\d+)  (\S.*?)(?:\s{2,}(error|warning|note) ((?:memory|time)\.[\w-]+))?\s*$")
REST = re.compile(r"^\s{3,}(error|warning|note) ((?:memory|time)\.[\w-]+)\s*$")


def printed(text):
    """The findings as they were printed: a list for each diagnosis, the first one first. A finding begins with its
    number; what it is stands at the end of the line, or on one of its own if the title is long."""
    blocks, head = [], None
    for line in text.splitlines():
        match = HEAD.match(line)
        rest = REST.match(line)
        if match and match[3]:
            found = (match[1], match[2], match[3], match[4])
        elif rest and head:
            found = (head[1], head[2], rest[1], rest[2])
        else:
            head = match or head
            continue
        if found[0] == "1" or not blocks:
            blocks.append([])
        blocks[-1].append({"severity": found[2], "id": found[3], "title": found[1]})
        head = None
    return blocks


def told_after(snapshot, ended):
    """Seconds from a failure to the end of `warpscope run`, which has then printed its diagnosis; None: nothing failed."""
    if ".oom-" not in snapshot:
        return None
    try:
        with open(snapshot, "rb") as file:
            at = trim.Plain(file).load().get("warpscope", {}).get("monotonic_ns")
    except (OSError, EOFError, pickle.UnpicklingError):
        return None  # the program was ended while it wrote
    return round((ended - at) / 1e9, 2) if at else None


def last_of_each(files):
    """The last snapshot of each process: their names end in the process and a number."""
    last = {}
    for file in files:
        process, _, number = file.rpartition("-")
        number = int(number.split(".")[0])
        if process not in last or number > last[process][0]:
            last[process] = (number, file)
    return [file for _, file in sorted(last.values(), key=lambda pair: os.stat(pair[1]).st_mtime_ns)]
