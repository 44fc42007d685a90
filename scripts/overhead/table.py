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


def rows(w):
    """What was measured of a workload: (label, estimate of the ratio, how it was compared)."""
    found = []

    def add(label, estimate, how):
        if estimate is not None:
            found.append((label, estimate, how))

    add("ledger / never attached", w.change("ours", "ledger", "ledger"), "change")
    add("CUPTI loaded, nothing on / never attached", w.change("ours", "mute", "ledger"), "change")
    add("ledger / CUPTI loaded, nothing on", w.inside("ours", "ledger", "mute"), "inside")
    add("its callbacks without those for failures alone / none", w.inside("ours", "few", "mute"), "inside")
    add("all of its callbacks, however often they come / none", w.inside("ours", "all", "mute"), "inside")
    add("one callback that is never called / none", w.inside("ours", "one", "mute"), "inside")
    add("control: never attached / others, as for the ledger", w.control("ledger"), "change")
    add("control: never attached / others, as for the timeline", w.control("full"), "change")
    for kind, state, name in (
        ("ours", "off", "timeline, stopped"),
        ("ours", "bare", "bare consumer"),
        ("ours", "none", "timeline --api=none"),
        ("ours", "launch", "timeline --api=launch"),
        ("profiler", "off", "torch.profiler, stopped"),
        ("profiler", "profiler:cuda", "torch.profiler, CUDA"),
        ("profiler", "profiler:both", "torch.profiler, CPU + CUDA"),
    ):
        add(f"{name} / never attached", w.change(kind, state), "change")
    add("timeline --api=none / bare consumer", w.inside("ours", "none", "bare"), "inside")
    for kind, state, name in (
        ("ours", "bare", "bare consumer"),
        ("ours", "none", "timeline --api=none"),
        ("ours", "launch", "timeline --api=launch"),
        ("profiler", "profiler:cuda", "torch.profiler, CUDA"),
        ("profiler", "profiler:both", "torch.profiler, CPU + CUDA"),
    ):
        add(f"{name} / off", w.inside(kind, state, "off"), "inside")
    add("bare consumer, whole graphs / never attached", w.across("barewhole", "never"), "across")
    add("timeline, whole graphs / never attached", w.across("whole", "never"), "across")
    add("nsys -t cuda / never attached", w.across("nsys", "never"), "across")
    add("timeline, whole graphs / bare consumer", w.across("whole", "barewhole"), "across")
    return found


def step_text(w, seconds):
    each = seconds / w.units
    amount = f"{each * 1e3:.2f} ms" if each >= 1e-3 else f"{each * 1e6:.3f} µs"
    return f"{amount} a {w.unit}"


def print_workload(w, out):
    """Claims go by medians of the steps of a turn; the same by their means is the last column."""
    seconds = w.seconds()
    if not w.turns:
        return
    step = f"{step_text(w, seconds)}, {w.kernels_per_step():.0f} kernels a step" if seconds else ""
    print(f"\n{w.title}: {step}", file=out)
    by_mean = {label: e for label, e, _ in rows(w.means)}
    for label, e, comparison in rows(w):
        mean = by_mean.get(label)
        print(f"  {label:54} {e.text(4):36} {comparison:7} {mean.text(4) if mean else ''}", file=out)
    if w.calls:
        print("  callbacks in a step: " + ", ".join(f"{n} × {name}" for name, n in w.calls.items()), file=out)
    for (kind, why), times in sorted(w.refused.items()):
        print(f"  left out ({times}×): {kind}: {why}", file=out)


def figures(e):
    return e and {"ratio": e.mid, "low": e.low, "high": e.high, "turns": e.turns, "processes": e.processes}


def as_json(w):
    seconds = w.seconds()
    by_mean = {label: e for label, e, _ in rows(w.means)}
    return {
        "title": w.title,
        "step_ms": seconds and seconds * 1e3,
        "units": w.units,
        "unit": w.unit,
        "kernels_a_step": w.kernels_per_step(),
        "seconds": w.seconds_taken,
        "callbacks_a_step": w.calls,
        "ratios": [
            {"what": label, "comparison": c, **figures(e), "by_means": figures(by_mean.get(label))}
            for label, e, c in rows(w)
        ],
        "left_out": [{"kind": k, "why": y, "times": n} for (k, y), n in sorted(w.refused.items())],
        "said": [text for end in w.ends for text in end.get("budget_said", [])],
        "facts": w.facts,
    }


def headline(environment, workloads):
    facts = {}
    for w in workloads.values():
        facts.update(w.facts)
    words = [environment.get("date", "no date")[:10], environment.get("gpu") or facts.get("gpu") or "no GPU"]
    words += [f"driver {environment['driver']}"] if environment.get("driver") else []
    words += [f"CUPTI {facts['cupti_version']}"] if "cupti_version" in facts else []
    words += [f"torch {facts['torch']}"] if "torch" in facts else []
    words += [f"{environment.get('processors', 0)} processors", environment.get("warpscope") or "warpscope"]
    if "sim" in os.path.dirname(facts.get("cupti", "")).split(os.sep):
        words.append("SIMULATED DEVICE: these are no measurements of a GPU")
    return ", ".join(words)


def main():
    folder = sys.argv[1]
    lines = list(Results(folder).lines())
    workloads, environment = analysis.read(lines)
    means, _ = analysis.read(lines, by="mean")
    if not workloads:
        print(f"no results in {folder}", file=sys.stderr)
        return 1
    for key, w in workloads.items():
        w.means = means[key]
    head = headline(environment, workloads)
    print(head)
    print("ratio [95 % interval] by medians of turns; n turns/processes; how compared; the same by means of turns")
    for w in workloads.values():
        print_workload(w, sys.stdout)
    judged = claims.judge(workloads)
    print("\nclaims")
    for c in judged:
        if c.verdict != "not measured":
            print(f"  {c.verdict:10} {c.text:84} {c.figure}")
    print(f"  not measured: {sum(c.verdict == 'not measured' for c in judged)}, named in overhead.json")
    for w in workloads.values():
        for end in w.ends:
            for text in end.get("budget_said", []):
                print(f"  {w.key}: {text}")
    with open(os.path.join(folder, "overhead.json"), "w", encoding="utf-8") as file:
        document = {
            "environment": environment,
            "workloads": {key: as_json(w) for key, w in workloads.items()},
            "claims": [vars(c) for c in judged],
        }
        json.dump(document, file, indent=1)
        file.write("\n")
    with open(os.path.join(folder, "overhead.md"), "w", encoding="utf-8") as file:
        file.write(claims.markdown(head, workloads, judged))
    return 0


if __name__ == "__main__":
    sys.exit(main())
