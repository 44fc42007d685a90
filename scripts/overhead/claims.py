"""What is claimed, held against what was measured; and the table for the README."""

from dataclasses import dataclass

import budget

# 97.5 % for each of two figures: 95 % for what is made of both, whatever they have to do with each other.
EACH_OF_TWO = 0.975
# An interval that is wider than this says nothing by including 1.
LEDGER_WIDTH = 0.02


@dataclass
class Claim:
    """One claim. verdict: met, not met, undecided, or "not measured"."""

    text: str
    figure: str
    verdict: str


def timeline(w, how="none", level=0.95):
    """What warpscope's timeline costs against the same process with it off: switched inside one process where that
    ran, else across processes."""
    inside = w.inside((how, "warpscope"), (how, "off"), level)
    return inside if inside else w.across((how, "on"), ("never", "off"), level)


def against_bare(w, how="none"):
    """The timeline against the bare consumer of the same kinds: each against off in its own process, the two taking
    turns; for a library that cannot be switched across processes."""
    bare = ("bare", f"bare:{how}")
    return w.double((how, "warpscope"), (how, "off"), bare, ("bare", "off")) or w.across((how, "on"), bare)


def share(mine, peer):
    """The time that mine adds as a share of what the peer adds: (mid, low, high), None where that says nothing."""
    if not mine or not peer or mine.low is None or peer.low is None or peer.low <= 1:
        return None
    return (mine.mid - 1) / (peer.mid - 1), (mine.low - 1) / (peer.high - 1), (mine.high - 1) / (peer.low - 1)


def judged(text, estimate, limit):
    if estimate is None:
        return Claim(text, "", "not measured")
    return Claim(text, estimate.text(4), estimate.verdict(limit))


def shares(w):
    """Against peers at equal content: they record the CPU side of calls, and every node of a graph."""
    how = "node" if w.has("node", "off") else "launch"
    name_of_mine = "--graphs=node" if how == "node" else "--api=launch"
    mine = timeline(w, how, EACH_OF_TWO)
    peers = (
        ("torch.profiler CPU + CUDA", w.inside(("profiler", "profiler:both"), ("profiler", "off"), EACH_OF_TWO), 1 / 8),
        ("torch.profiler CUDA", w.inside(("profiler", "profiler:cuda"), ("profiler", "off"), EACH_OF_TWO), 1 / 2),
        ("nsys -t cuda", w.across(("nsys", "on"), ("never", "off"), EACH_OF_TWO), 1 / 2),
    )
    for name, peer, limit in peers:
        text = f"{w.title}: time added by {name_of_mine} ≤ {limit:.3g} of what {name} adds"
        if mine is None or peer is None:
            yield Claim(text, "", "not measured")
            continue
        s = share(mine, peer)
        if s is None:
            yield Claim(text, f"{mine.text(4)} against {peer.text(4)}", "undecided")
            continue
        verdict = "met" if s[2] <= limit else "not met" if s[1] > limit else "undecided"
        yield Claim(text, f"{s[0]:.3f} [{s[1]:.3f}, {s[2]:.3f}]", verdict)


def ledger(w):
    """Attached to late where that was measured, which is the tightest; else across processes."""
    return w.late("late:ledger") or w.across(("ledger", "off"), ("never", "off"))


def of_ledger(w):
    text = f"{w.title}: ledger ≤ 1.003 of nothing attached, or 1.000 within"
    e = ledger(w)
    if e is None:
        return Claim(text, "", "not measured")
    if e.low is not None and e.low <= 1 <= e.high:
        verdict = "met" if e.high - e.low <= LEDGER_WIDTH else "undecided"
        return Claim(text, e.text(4), verdict)
    return Claim(text, e.text(4), e.verdict(1.003))


def ledger_ns(w):
    """Estimate of the ns that the ledger adds to an allocation and its release."""
    e, before = w.across(("ledger", "off"), ("never", "off")), w.seconds("never", "off")
    return e and before and e.map(lambda ratio: (ratio - 1) * before / w.units * 1e9)


def of_allocations(workloads):
    """With stacks as measured; without as the line through the depths meets none, as there is no ledger without."""
    for ordered in (False, True):
        points = []
        for w in workloads:
            ns = ledger_ns(w)
            if f"ordered={ordered}" in w.key and ns:
                points.append((int(w.key.partition("depth=")[2].split()[0]), ns))
                yield Claim(f"{w.title}: ledger adds ≤ 3000 ns", ns.text(0) + " ns", ns.verdict(3000))
        if len(points) < 2:
            continue
        line = [at_no_frames([(depth, getattr(ns, edge)) for depth, ns in points]) for edge in ("mid", "low", "high")]
        text = f"cuMemAlloc{'Async' if ordered else ''} and its release, no stack (extrapolated): ledger adds ≤ 1000 ns"
        if line[1] is None:
            yield Claim(text, f"{line[0]:.0f} ns", "undecided")
        else:
            verdict = "met" if line[2] <= 1000 else "not met" if line[1] > 1000 else "undecided"
            yield Claim(text, f"{line[0]:.0f} [{line[1]:.0f}, {line[2]:.0f}] ns", verdict)


def at_no_frames(points):
    """Where the least-squares line through (depth, ns) meets depth 0; None if a point is unknown."""
    if any(y is None for _, y in points):
        return None
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return mean_y - slope * mean_x


def budget_runs(w):
    for end in w.ends:
        if end["process"] == "budget" and "budget_span" in end:
            yield end, budget.share(end["budget_excess"], end["budget_span"])


def budgets(w):
    for end, shares_ in budget_runs(w):
        what = f"--budget 1%: {end['budget_windows']} windows in {end['budget_span']:.0f} s of steps"
        yield (
            f"{what}, nothing to compare"
            if shares_ is None
            else f"{what}, {shares_[0] * 100:+.2f} %, 95 % bound {shares_[1] * 100:+.2f} %"
        )


def of_budget(w):
    """The windows by the program's own clock, and on top of it what an attached, stopped timeline costs."""
    text = f"{w.title}: --budget 1%, upper bounds of windows and residue together ≤ 1 %"
    runs = [s for _, s in budget_runs(w) if s]
    if not runs:
        return Claim(text, "", "not measured")
    worst = max(bound for _, bound in runs)
    residue = w.late("late:idle")
    if residue is None or residue.low is None:
        return Claim(text, f"windows ≤ {worst * 100:.2f} %, residue not measured", "undecided")
    mid, low, high = ((value - 1) * 100 for value in (residue.mid, residue.low, residue.high))
    figure = f"windows ≤ {worst * 100:.2f} %, residue {mid:+.2f} % [{low:+.2f}, {high:+.2f}]"
    if worst + max(0, residue.high - 1) <= 0.01:
        return Claim(text, figure, "met")
    return Claim(text, figure, "not met" if worst + residue.low - 1 > 0.01 else "undecided")


def of_traces(w, limit):
    for end in w.ends:
        if "alone" not in end["part"] or not end.get("trace_kernels"):
            continue
        each = end["trace_bytes"] / end["trace_kernels"]
        text = f"{w.title}: trace of --api={end['process']} ≤ {limit} bytes a kernel"
        yield Claim(text, f"{each:.2f} of {end['trace_kernels']} kernels", "met" if each <= limit else "not met")


def of_agent(w):
    peaks = {e["process"]: e["agent_peak"] for e in w.ends if "alone" in e["part"] and e.get("agent_peak")}
    for process, (cpu, steps) in w.agent_share().items():
        rate = steps * w.kernels_per_step()
        peak = peaks.get(process, 0)
        figure = f"{cpu * 100:.1f} % of a core, {peak / 2**20:.0f} MiB at {rate:.0f} kernels/s"
        verdict = "met" if cpu <= 0.05 and 0 < peak <= 64 << 20 else "not met"
        yield Claim(f"{w.title}: agent of --api={process} ≤ 5 % of a core, ≤ 64 MiB", figure, verdict)


def judge(workloads):
    """All claims about the workloads that were measured."""
    found = []
    for w in workloads.values():
        if w.key.startswith("allocations"):
            continue
        found.append(judged(f"{w.title}: timeline --api=none ≤ 1.02 of the bare consumer", against_bare(w), 1.02))
        if w.has("node", "off") or w.has("node", "on"):
            found.append(
                judged(f"{w.title}: timeline --graphs=node ≤ 1.02 of the bare consumer", against_bare(w, "node"), 1.02)
            )
        found.append(of_ledger(w))
        if w.key.startswith("launches"):
            continue
        found += list(shares(w))
        found.append(of_budget(w))
        found += list(of_traces(w, 8 if w.key.startswith("generate") else 6))
        found += list(of_agent(w))
    found += list(of_allocations([w for w in workloads.values() if w.key.startswith("allocations")]))
    return found


# ---- the README's table ----

COLUMNS = (
    ("ledger", ledger),
    ("timeline, stopped", lambda w: w.late("late:idle") or w.across(("none", "off"), ("never", "off"))),
    ("bare CUPTI consumer", lambda w: w.inside(("bare", "bare:none"), ("bare", "off"))),
    ("timeline, `--api none`", timeline),
    ("timeline (`--api launch`)", lambda w: timeline(w, "launch")),
    ("timeline, `--graphs node`", lambda w: timeline(w, "node")),
    ("torch.profiler, CUDA", lambda w: w.inside(("profiler", "profiler:cuda"), ("profiler", "off"))),
    ("torch.profiler, CPU + CUDA", lambda w: w.inside(("profiler", "profiler:both"), ("profiler", "off"))),
    ("nsys `-t cuda`", lambda w: w.across(("nsys", "on"), ("never", "off"))),
)


def percent(e):
    if e is None:
        return "–"
    if e.low is None:
        return f"{(e.mid - 1) * 100:+.1f} % (no interval)"
    return f"{(e.mid - 1) * 100:+.1f} % [{(e.low - 1) * 100:+.1f}, {(e.high - 1) * 100:+.1f}]"


def markdown(head, workloads, judgements):
    shown = [w for w in workloads.values() if not w.key.startswith("allocations") and w.seconds("never", "off")]
    lines = [f"{head}. Time added to a step: median with 95 % interval.", ""]
    lines.append("| | " + " | ".join(w.title for w in shown) + " |")
    lines.append("|---" * (len(shown) + 1) + "|")
    steps = []
    for w in shown:
        each = w.seconds("never", "off") / w.units
        steps.append(f"{each * 1e3:.2f} ms" if each >= 1e-3 else f"{each * 1e6:.2f} µs")
    lines.append("| never attached, a step | " + " | ".join(steps) + " |")
    for name, figure in COLUMNS:
        cells = [figure(w) for w in shown]
        if any(cells):
            lines.append(f"| {name} | " + " | ".join(percent(c) for c in cells) + " |")
    lines += ["", "| claim | measured | |", "|---|---|---|"]
    lines += [f"| {c.text} | {c.figure} | {c.verdict} |" for c in judgements if c.verdict != "not measured"]
    return "\n".join(lines) + "\n"
