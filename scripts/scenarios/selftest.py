"""The harness on invented runs: programs that need no GPU, and a stand-in for warpscope that prints what the program
asks it to. Shows that right verdicts pass and wrong ones fail, each for its reason."""

import json
import os
import subprocess
import sys
import tempfile
import time

import judge
import truth

STAND_IN = '''#!/usr/bin/env python3
import json, subprocess, sys
a = sys.argv[1:]
if a[0] == "version":
    print("warpscope stand-in")
elif a[0] == "run":
    trace = a[a.index("-o") + 1]
    status = subprocess.run(a[a.index("--") + 1:]).returncode
    open(trace, "w").write(open(sys.argv[0] + ".say").read())
    print(open(sys.argv[0] + ".text").read(), file=sys.stderr)
    sys.exit(status)
elif a[0] == "doctor":
    print(open(a[2]).read())
else:
    gpus = [{"used_bytes": 1000, "residual_bytes": -5}, {"used_bytes": 1000, "residual_bytes": 2}]
    print(json.dumps({"memory": {"accounts": [{"when": "at the peak", "gpus": [{"used_bytes": 9, "residual_bytes": 9}]}, {"when": "at the failure", "gpus": gpus}]}}))
'''
PROGRAM = '''import os, sys, time
turn = os.environ["WARPSCOPE_SCENARIO_TURN"]
open(turn + ".ready", "w").close()
while not os.path.exists(turn + ".go"):
    time.sleep(0.01)
print("measure live", 50 if "--fixed" in sys.argv else 150)
x = 1  # guilty
time.sleep(60 if "--hang" in sys.argv else 0)
sys.exit(0 if "--fixed" in sys.argv else 1)
'''
GUILTY = 7


def finding(ident, severity, line, gain="100 B"):
    return {
        "id": ident, "severity": severity, "title": f"Tensors made at p.py:{line} in f", "evidence": [], "confidence": "high",
        "cost": {"bytes": 100}, "fix": [{"change": "do less", "expected_gain": gain}],
    }  # fmt: skip


def main():
    failed = []

    def check(what, got, want):
        if got != want:
            failed.append(f"{what}: {got!r}, not {want!r}")

    with tempfile.TemporaryDirectory() as folder:
        tool = os.path.join(folder, "warpscope")
        with open(tool, "w") as file:
            file.write(STAND_IN)
        os.chmod(tool, 0o755)
        with open(os.path.join(folder, "p.py"), "w") as file:
            file.write(PROGRAM)

        def case(name, entry, findings, wants, limit=20):
            entry = {"name": name, "is": "", "program": "p.py", **entry}
            with open(os.path.join(folder, "truth.json"), "w") as file:
                json.dump({"suite": "s", "variants": [1], "residual": 0.01, "limit_s": limit, "programs": [entry]}, file)
            with open(tool + ".say", "w") as file:
                json.dump({"findings": findings}, file)
            with open(tool + ".text", "w") as file:
                for n, f in enumerate(findings):  # the head of every other finding takes two lines
                    file.write(f"{n + 1}  {f['title']}" + ("\n      " if n % 2 else "      ") + f"{f['severity']} {f['id']}\n   takes  9 GiB\n")
            results = os.path.join(folder, "results-" + name)
            command = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "main.py"), "--folder", folder]
            command += ["--results", results, "--warpscope", tool]
            done = subprocess.run(command, capture_output=True, text=True)
            with open(os.path.join(results, "s.jsonl")) as file:
                row = json.loads(file.read().splitlines()[-1])
            check(name, row["wrong"] or "; ".join(p["wrong"] for p in row["pairs"] if p["wrong"]), wants)
            check(name + ", status", done.returncode, 1 if wants else 0)
            check(name + ", last line", done.stdout.splitlines()[-1], "0 passed, 1 failed" if wants else "1 passed, 0 failed")
            return row, command

        leak, note = finding("memory.leak", "error", GUILTY), finding("memory.line", "note", 3)
        right = {"first": "memory.leak"}
        row, again = case("right", right, [leak, note], "")
        check("residual", row["residual"], -0.005)
        check("line", row["line"], f"p.py:{GUILTY}")
        began = time.monotonic()
        text = subprocess.run(again, capture_output=True, text=True).stdout
        check("kept", "p.py" in text and time.monotonic() - began < 5, True)
        case("other", right, [note], "says memory.line")
        case("line", right, [finding("memory.leak", "error", 3)], f"blames p.py:3, not p.py:{GUILTY}")
        case("silent", right, [], "no diagnosis was printed")
        case("weak", right, [finding("memory.leak", "note", GUILTY)], "says so in a note only")
        case("setup", {**right, "setup": ["memory.limit"]}, [finding("memory.limit", "error", 1), leak], "")
        case("two", {**right, "then": "memory.logits"}, [leak, finding("memory.logits", "warning", 3)], "")
        case("order", {**right, "then": "memory.logits"}, [leak, finding("memory.logits", "note", 3)], "does not name memory.logits behind it")
        case("innocent", {"ceiling": "note"}, [note], "")
        case("accused", {"ceiling": "note"}, [finding("memory.leak", "warning", 3)], "says warning memory.leak")
        case("status", {**right, "exit": "ends"}, [leak], "ended with status 1")
        case("slow", {**right, "arguments": ["--hang"]}, [leak], "did not end within 1 s", limit=1)
        fix = {"name": "less", "arguments": ["--fixed"], "predicted": "gain:less", "measured": "live"}
        case("pair", {**right, "fixes": [fix]}, [leak], "")
        case("far", {**right, "fixes": [fix]}, [finding("memory.leak", "error", GUILTY, "300 B")], "off by -67%")
    check("sizes", [judge.number(t) for t in ("up to 1.50 GiB", "about 3.2 ms a step", "most")], [1.5 * (1 << 30), 3.2, None])
    for suite in ("oom", "slow"):
        there = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "workloads", suite)
        if not os.path.exists(os.path.join(there, "truth.json")):
            continue
        for p in truth.Suite(there).programs([1, 2, 3], []):
            check(f"{p.key}: file", os.path.exists(p.path), True)
            if p.line:
                check(f"{p.key}: has a guilty line", bool(p.guilty()), True)
    for line in failed:
        print(line)
    print(f"{0 if failed else 1} passed, {len(failed)} failed")
    return 1 if failed else 0
