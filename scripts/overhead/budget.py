"""What --budget costs by the program's own clock: the steps that its windows fell into against those around them.

The program runs by itself, as a budget's measure of progress expects. The residue of an attached but stopped
timeline is not in this figure: nothing in one process can be compared with never attached (see analysis.late).
"""

import json
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
    """Seconds that the steps of each window took more than steps near it, and the seconds of all steps. stamps:
    (begin, seconds) of every step."""
    more = []
    for begin, end in windows:
        inside, near = [], []
        for at, took in stamps:
            if at < end + BESIDE and at + took > begin:
                inside.append(took)
            elif begin - NEAR < at < begin - BESIDE or end + BESIDE < at < end + NEAR:
                near.append(took)
        if inside and near:
            more.append(sum(inside) - len(inside) * statistics.median(near))
    return more, sum(took for _, took in stamps)


def share(more, span, seed=1):
    """The slowdown as a share of the time, and its upper 95 % bound by a bootstrap over windows; None without any."""
    if not more or span <= 0:
        return None
    source = random.Random(seed)
    sums = sorted(sum(source.choices(more, k=len(more))) for _ in range(DRAWS))
    return sum(more) / span, sums[int(0.95 * DRAWS)] / span
