"""What --budget costs by the program's own clock: the steps that its windows fell into against those around them; and
whether its estimates hold what was launched.

The program runs by itself, as a budget's measure of progress expects. What an attached but stopped timeline leaves
behind between windows is not in this figure: nothing in one process can be compared with never attached (see
Workload.did in analysis.py).
"""

import json
import os
import random
import statistics
import subprocess

# Steps this near to a window are like those in it, but for the window; those right beside it may still pay for it.
NEAR = 2.0
BESIDE = 0.2
DRAWS = 4000


def windows_of(warpscope, trace):
    """(begin, end) of the windows that were recorded, seconds since 1970."""
    command = [warpscope, "inspect", "--events", "--top", "0", "--format", "jsonl", trace]
    found = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout:
            if '"kind":"window"' not in line:
                continue
            row = json.loads(line)
            if row.get("length_ns"):
                begin = row["begin_unix_ns"] * 1e-9
                found.append((begin, begin + row["length_ns"] * 1e-9))
    return found


def excess(stamps, windows):
    """Seconds that the steps of each window took more than as many steps near it, and the seconds of all steps.
    stamps: (begin, seconds) of every step. By means on both sides: what is rare and slow near a window is as likely
    in it, and would count as the window's own beside a median. By when steps begin: a window is more likely to touch a
    long step than a short one."""
    more = []
    usual = statistics.median(took for _, took in stamps) if stamps else 0
    for begin, end in windows:
        inside, near = [], []
        for at, took in stamps:
            if begin - usual < at < end + BESIDE:
                inside.append(took)
            elif begin - NEAR < at < begin - BESIDE or end + BESIDE < at < end + NEAR:
                near.append(took)
        if inside and near:
            more.append(sum(inside) - len(inside) * statistics.fmean(near))
    return more, sum(took for _, took in stamps)


def share(more, span, seed=1):
    """The slowdown as a share of the time, and its upper 95 % bound by a bootstrap over windows; None without any."""
    if not more or span <= 0:
        return None
    source = random.Random(seed)
    sums = sorted(sum(source.choices(more, k=len(more))) for _ in range(DRAWS))
    return sum(more) / span, sums[int(0.95 * DRAWS)] / span


def look(warpscope, process, document):
    """For the results: what the windows took, what is estimated, and what warpscope said."""
    found = {}
    stamps = process.trace + ".stamps"
    if os.path.exists(stamps):
        with open(stamps, encoding="utf-8") as file:
            steps = json.load(file)
        windows = windows_of(warpscope, process.trace)
        more, span = excess(steps, windows)
        found.update(budget_windows=len(windows), budget_excess=more, budget_span=span)
        sampling = document.get("sampling")
        if sampling and windows:
            begin = (document["range"]["start_unix_ns"] + sampling["from_ns"]) * 1e-9
            end = begin + sampling["span_ns"] * 1e-9
            found["budget_steps"] = sum(begin <= at < end for at, _ in steps)
            found["budget_sampling"] = sampling
            found["budget_estimated"] = document["kernels"].get("estimated")
    with open(process.log.name, encoding="utf-8", errors="replace") as file:
        found["budget_said"] = [line.strip() for line in file if "budget" in line][-3:]
    return found
