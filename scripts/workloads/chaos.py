#!/usr/bin/env python3
"""Runs traced programs for a while and kills programs and agents at random moments.

    chaos.py WARPSCOPE WORKLOADS SECONDS [ENDLESS]

Each round takes one of the workloads, one way to record it, and one thing that happens to it: nothing, the
program killed (SIGKILL, SIGTERM, SIGSEGV), the agent killed, killed and replaced by another one, or stopped for a while. Then the
program's status must be its own, nothing may hang, and what was written must be readable. ENDLESS is the compiled endless.cu.
SEED in the environment repeats a run. The status is 1 if any round failed; its folder is kept.
"""

import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

PATIENCE = 120  # seconds that anything may take before it counts as hanging

# Keeps the program's PID and status where the agent's end does not matter.
WRAPPER = '"$@" & echo $! >pid.new; mv pid.new pid; wait $!; s=$?; echo $s >status; exit $s'


def programs(workloads, endless):
    """(name, command, ends by itself)"""
    python = sys.executable
    at = lambda name: os.path.join(workloads, name)
    rows = [
        ("gpt", [python, at("train_gpt.py"), "gpu", "150"], True),
        ("gpt launch-bound", [python, at("train_gpt.py"), "launch", "300"], True),
        ("gpt as graph", [python, at("train_gpt.py"), "launch", "300", "--graph"], True),
        ("loaders", [python, at("loaders.py"), "200"], True),
        ("children", [python, at("children.py"), "3"], True),
        ("allocator", [python, at("reserve.py"), "count.json"], True),
    ]
    if endless:
        rows += [(f"endless {mode}", [endless, mode, "tally"], False) for mode in ("gpu", "launch", "slow")]
    return rows


def ways(warpscope, library):
    """(name, command before the program, environment, with an agent)"""
    return [
        ("run", [warpscope, "run", "-o", "t.wscope", "--"], {}, True),
        ("run --mode ledger", [warpscope, "run", "--mode", "ledger", "-o", "t.wscope", "--"], {}, True),
        ("run --graphs node", [warpscope, "run", "--graphs", "node", "-o", "t.wscope", "--"], {}, True),
        ("run --api all", [warpscope, "run", "--api", "all", "-o", "t.wscope", "--"], {}, True),
        ("run --keep 3s", [warpscope, "run", "--keep", "3s", "-o", "t.wscope", "--"], {}, True),
        ("run --budget 10%", [warpscope, "run", "--budget", "10%", "-o", "t.wscope", "--"], {}, True),
        ("preload", [], {"LD_PRELOAD": library}, False),
    ]


def wait_for(path, process, seconds):
    deadline = time.monotonic() + seconds
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            return False
        if process is not None and process.poll() is not None and not os.path.exists(path):
            return os.path.exists(path)
        time.sleep(0.02)
    return True


def send(pid, number):
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


def read_number(path):
    with open(path, encoding="utf-8") as file:
        return int(file.read())


def replace(warpscope, pid, log):
    """Another agent goes on where one was killed; None: there was nothing to take over."""
    second = subprocess.Popen([warpscope, "attach", "-o", "second.wscope", str(pid)], stdout=log, stderr=log)
    try:
        # A program that has not begun, or has ended, is refused at once.
        return None if second.wait(timeout=1) != 0 else second
    except subprocess.TimeoutExpired:
        return second


def happen(event, way, agent, pid, ends, again):
    """Does it; again() starts another agent. The program's statuses that are right afterwards, and that agent."""
    time.sleep(random.uniform(0.2, 9))
    right, second = {0}, None
    if event in ("kill program", "term program", "segv program"):
        number = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "segv": signal.SIGSEGV}[event.split()[0]]
        if send(pid, number):
            right.add(128 + number)
    elif event in ("kill agent", "replace agent") and way[3]:
        agent.kill()
        if event == "replace agent":
            agent.wait()
            second = again()
    elif event == "stop agent" and way[3]:
        if send(agent.pid, signal.SIGSTOP):
            time.sleep(random.uniform(0.5, 4))
            send(agent.pid, signal.SIGCONT)
    if not ends and 128 + signal.SIGKILL not in right:
        time.sleep(random.uniform(0.5, 3))
        send(pid, signal.SIGKILL)
        right.add(128 + signal.SIGKILL)
    return right, second


def readable(warpscope, way):
    """What is wrong with what was written; None: nothing."""
    files = [name for name in os.listdir(".") if name.endswith(".wscope")]
    for name in [name for name in os.listdir(".") if name.endswith(".wscap")]:
        made = name + ".wscope"
        r = subprocess.run([warpscope, "recover", "--force", "-o", made, name], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
        if r.returncode == 0:
            files.append(made)
        elif "before it recorded anything" not in r.stderr and "nothing can be recovered" not in r.stderr:
            return f"recover {name}: status {r.returncode}: {r.stderr}"
    if way[3] and not files:
        return "there is no trace"
    kernels = 0
    for name in files:
        r = subprocess.run([warpscope, "inspect", "--json", "--kernels", "--memory", name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
        if r.returncode != 0:
            return f"inspect {name}: status {r.returncode}: {r.stderr}"
        kernels += (json.loads(r.stdout).get("kernels") or {}).get("all", {}).get("count", 0)
    return kernels


def one(warpscope, way, program, event):
    """Runs one round in the current folder; what went wrong, or the kernels recorded."""
    _, command, ends = program
    with open("log", "w", encoding="utf-8") as log:
        agent = subprocess.Popen([*way[1], "sh", "-c", WRAPPER, "sh", *command], env={**os.environ, **way[2]}, stdout=log, stderr=log)
        if not wait_for("pid", agent, PATIENCE):
            agent.kill()
            return "the program was not started"
        pid = read_number("pid")
        right, second = happen(event, way, agent, pid, ends, lambda: replace(warpscope, pid, log))
        if not wait_for("status", None, PATIENCE):
            send(pid, signal.SIGKILL)
            return "the program hangs"
        status = read_number("status")
        try:
            of_run = agent.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            agent.kill()
            return "the agent hangs"
        if second is not None:
            try:
                if second.wait(timeout=PATIENCE) != 0:
                    return f"the status of attach is {second.returncode}"
            except subprocess.TimeoutExpired:
                second.kill()
                return "the second agent hangs"
    if status not in right:
        return f"the program's status is {status}, right were {sorted(right)}"
    if of_run != status and not (event in ("kill agent", "replace agent") and way[3]):
        return f"the status of run is {of_run}, the program's {status}"
    return readable(warpscope, way)


def main():
    if len(sys.argv) < 4:
        print(__doc__, file=sys.stderr)
        return 2
    warpscope, workloads, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    endless = sys.argv[4] if len(sys.argv) > 4 else None
    library = subprocess.run([warpscope, "lib"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    seed = int(os.environ.get("SEED", time.time_ns() % 1000000))
    random.seed(seed)
    events = ["nothing", "kill program", "kill program", "term program", "segv program", "kill agent", "kill agent", "replace agent", "stop agent"]
    start, done, failed, kernels, seen = time.monotonic(), 0, 0, 0, collections.Counter()
    while time.monotonic() - start < seconds:
        way, program, event = random.choice(ways(warpscope, library)), random.choice(programs(workloads, endless)), random.choice(events)
        folder = f"round-{done}"
        shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(folder)
        os.chdir(folder)
        begin = time.monotonic()
        try:
            result = one(warpscope, way, program, event)
        except (subprocess.TimeoutExpired, ValueError, OSError) as problem:
            result = f"{type(problem).__name__}: {problem}"
        os.chdir("..")
        done += 1
        seen[event] += 1
        bad = isinstance(result, str)
        print(f"{'FAILED' if bad else 'ok    '} {done}: {program[0]}, {way[0]}, {event}, {time.monotonic() - begin:.0f} s: {result if bad else f'{result} kernels'}", flush=True)
        if bad:
            failed += 1
            with open(os.path.join(folder, "log"), encoding="utf-8", errors="replace") as log:
                print(log.read()[-2000:])
        else:
            kernels += result
            shutil.rmtree(folder)
    print(
        f"figure chaos, seed {seed}: {done} rounds in {time.monotonic() - start:.0f} s ({', '.join(f'{n} {what}' for what, n in sorted(seen.items()))}), "
        f"{failed} failed, {kernels} kernels in readable traces"
    )
    return 1 if failed or not done else 0


if __name__ == "__main__":
    sys.exit(main())
