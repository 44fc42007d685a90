#!/usr/bin/env python3
"""Prints what overhead.jsonl says, and writes overhead.json and overhead.md beside it.

table.py DIR
"""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import analysis
import claims
from conduct import Results

TIMELINES = (("none", "timeline --api=none"), ("launch", "timeline --api=launch"), ("node", "timeline --graphs=node"))


def rows(w):
    """What was measured of a workload: (label, estimate of the ratio, how it was compared)."""
    found = []

    def add(label, estimate, how):
        if estimate is not None:
            found.append((label, estimate, how))

    off = ("never", "off")
    add("ledger / never attached", w.across(("ledger", "off"), off), "across")
    for how, name in (
        ("ledger", "ledger"),
        ("idle", "timeline that was stopped"),
        ("nothing", "nothing attached (control)"),
    ):
        add(f"{name}, attached while running / before", w.late(f"late:{how}"), "late")
    add(
        "empty callbacks on allocation calls / off",
        w.inside(("callbacks", "bare:allocations"), ("callbacks", "off")),
        "inside",
    )
    for how in ("bare", "none", "launch", "node", "mixed", "profiler"):
        add(f"attached, off, in process '{how}' / never attached", w.across((how, "off"), off), "across")
    for how, name in TIMELINES:
        bare, on = ("bare", f"bare:{how}"), (how, "warpscope")
        add(f"bare consumer of the same kinds as {name} / off", w.inside(bare, ("bare", "off")), "inside")
        add(f"{name} / off", w.inside(on, (how, "off")), "inside")
        add(f"{name} / bare consumer", w.double(on, (how, "off"), bare, ("bare", "off")), "double")
        add(f"off right after {name} / other times", w.wake(how, "warpscope"), "double")
        add(f"{name}, always on / never attached", w.across((how, "on"), off), "across")
        add(f"{name}, always on / bare consumer", w.across((how, "on"), bare), "across")
    mixed = "timeline --api=none / bare consumer, both in one process"
    add(mixed, w.inside(("mixed", "warpscope"), ("mixed", "bare:none")), "inside")
    add("torch.profiler, CUDA / off", w.inside(("profiler", "profiler:cuda"), ("profiler", "off")), "inside")
    add("torch.profiler, CPU + CUDA / off", w.inside(("profiler", "profiler:both"), ("profiler", "off")), "inside")
    add("nsys -t cuda / never attached", w.across(("nsys", "on"), off), "across")
    return found


def step_text(w, seconds):
    each = seconds / w.units
    amount = f"{each * 1e3:.2f} ms" if each >= 1e-3 else f"{each * 1e6:.3f} µs"
    return f"{amount} a {w.unit}"


def base(w):
    """The median step with nothing on, and in which process that was."""
    for how in ("never", "bare", "none", "mixed", "profiler"):
        seconds = w.seconds(how, "off")
        if seconds:
            return seconds, how
    return None, None


def print_workload(w, medians, out):
    """medians: the same by the medians of windows."""
    seconds, how = base(w)
    print(f"\n{w.title} ({w.key})", file=out)
    kernels = w.kernels_per_step()
    print(
        f"  {step_text(w, seconds) if seconds else 'no step was measured'} (process '{how}', off), "
        f"{kernels:.0f} kernels a step, {w.sessions} sessions",
        file=out,
    )
    by_median = {label: e for label, e, _ in rows(medians)}
    for label, e, comparison in rows(w):
        added = ""
        if seconds and not comparison == "double" and "/ bare" not in label:
            each = (e.mid - 1) * seconds / w.units
            added = f"  {each * 1e3:+.3f} ms" if seconds / w.units >= 1e-3 else f"  {each * 1e9:+.0f} ns"
        print(f"  {label:68} {e.text(4):38} {comparison:7}{added:13} {by_median[label].text(4)}", file=out)
    for line in claims.budgets(w):
        print(f"  {line}", file=out)
    for what, taken in w.memory_taken():
        print(f"  device memory taken, {what}: {taken / 2**20:+.0f} MiB", file=out)
    for (process, state, why), times in sorted(w.refused.items()):
        print(f"  left out ({times}×): {process}, {state}: {why}", file=out)


def figures(e):
    return {"ratio": e.mid, "low": e.low, "high": e.high, "pairs": e.pairs, "effective": e.effective}


def as_json(w, medians):
    seconds, how = base(w)
    by_median = {label: e for label, e, _ in rows(medians)}
    return {
        "title": w.title,
        "step_ms": seconds and seconds * 1e3,
        "step_of": how,
        "units": w.units,
        "unit": w.unit,
        "kernels_a_step": w.kernels_per_step(),
        "sessions": w.sessions,
        "ratios": [
            {"what": label, "comparison": c, **figures(e), "of_medians": figures(by_median[label])}
            for label, e, c in rows(w)
        ],
        "device_memory_taken": dict(w.memory_taken()),
        "left_out": [{"process": p, "state": s, "why": y, "times": n} for (p, s, y), n in sorted(w.refused.items())],
        "facts": w.facts,
    }


def headline(environment, workloads):
    facts = {}
    for w in workloads.values():
        facts.update({k: v for k, v in w.facts.items() if k in ("gpu", "torch", "cuda")})
        for line in w.work.values():
            facts["cupti"] = line["cupti_version"]
            facts["simulated"] = "sim" in os.path.dirname(line["cupti"]).split(os.sep)
    words = [environment.get("date", "no date"), environment.get("gpu") or facts.get("gpu") or "no GPU"]
    words += [f"driver {environment['driver']}"] if environment.get("driver") else []
    words += [f"CUPTI {facts['cupti']}"] if "cupti" in facts else []
    words += [f"torch {facts['torch']}"] if "torch" in facts else []
    words.append(environment.get("warpscope") or "warpscope")
    if facts.get("simulated"):
        words.append("SIMULATED DEVICE: these are no measurements of a GPU")
    return ", ".join(words)


def main():
    folder = sys.argv[1]
    lines = list(Results(folder).lines())
    workloads, environment = analysis.read(lines)
    medians, _ = analysis.read(lines, by="median")
    if not workloads:
        print(f"no results in {folder}", file=sys.stderr)
        return 1
    head = headline(environment, workloads)
    print(head)
    print(
        "median of pairs [95 % interval] by means of windows; how compared; time added; the same by medians of windows"
    )
    for w in workloads.values():
        print_workload(w, medians[w.key], sys.stdout)
    judged = claims.judge(workloads)
    print("\nclaims")
    for c in judged:
        if c.verdict != "not measured":
            print(f"  {c.verdict:10} {c.text:80} {c.figure}")
    print(f"  not measured: {sum(c.verdict == 'not measured' for c in judged)}, named in overhead.json")
    with open(os.path.join(folder, "overhead.json"), "w", encoding="utf-8") as file:
        document = {
            "environment": environment,
            "workloads": {key: as_json(w, medians[key]) for key, w in workloads.items()},
            "claims": [vars(c) for c in judged],
        }
        json.dump(document, file, indent=1)
        file.write("\n")
    with open(os.path.join(folder, "overhead.md"), "w", encoding="utf-8") as file:
        file.write(claims.markdown(head, workloads, judged))
    return 0


if __name__ == "__main__":
    sys.exit(main())
