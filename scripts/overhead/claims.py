"""What is claimed, held against what was measured; and the table for the README."""

from dataclasses import dataclass

import budget

# 97.5 % for each of two figures: 95 % for what is made of both, whatever they have to do with each other.
EACH_OF_TWO = 0.975
# An interval that is wider than this says nothing by including 1.
LEDGER_WIDTH = 0.02
# What the issue of a claim is about.
WITHOUT_STACK, WITH_STACK = 1000, 3000  # ns an allocation
RATE = 30000  # kernels a second


@dataclass
class Claim:
    """One claim. verdict: met, not met, undecided, or "not measured"."""

    text: str
    figure: str
    verdict: str


def judged(text, estimate, limit, beside=""):
    if estimate is None:
        return Claim(text, "", "not measured")
    return Claim(text, estimate.text(4) + beside, estimate.verdict(limit))


def share(mine, peer):
    """The time that mine adds as a share of what the peer adds: (mid, low, high), None where that says nothing."""
    if not mine or not peer or mine.low is None or peer.low is None or peer.low <= 1:
        return None
    low = (mine.low - 1) / (peer.high - 1 if mine.low >= 1 else peer.low - 1)
    return (mine.mid - 1) / (peer.mid - 1), low, (mine.high - 1) / (peer.low - 1)


def verdict_of(s, limit):
    return "met" if s[2] <= limit else "not met" if s[1] > limit else "undecided"


def shares(w):
    """Against peers at equal content: they record the CPU side of calls, and every node of a graph, as --api=launch does
    here. Twice: against never attached, where CUPTI's own price, and what it leaves behind, is in both; and while on,
    against the same process with everything off."""
    for name, state, limit in (
        ("torch.profiler CPU + CUDA", "profiler:both", 1 / 8),
        ("torch.profiler CUDA", "profiler:cuda", 1 / 2),
    ):
        peer = w.change("profiler", state, level=EACH_OF_TWO)
        mine, bare = (w.change("ours", s, level=EACH_OF_TWO) for s in ("launch", "bare"))
        yield compared(f"{w.title}: time that --api=launch adds ≤ {limit:.3g} of what {name} adds", mine, peer, limit, bare)
        peer = w.inside("profiler", state, "off", EACH_OF_TWO)
        mine, bare = (w.inside("ours", s, "off", EACH_OF_TWO) for s in ("launch", "bare"))
        yield compared(f"{w.title}: the same, on against off in one process", mine, peer, limit, bare)
    mine, bare = (w.change("ours", s, level=EACH_OF_TWO) for s in ("launch", "bare"))
    peer = w.across("nsys", "never", EACH_OF_TWO)
    yield compared(f"{w.title}: time that --api=launch adds ≤ 0.5 of what nsys -t cuda adds", mine, peer, 1 / 2, bare)


def compared(text, mine, peer, limit, bare):
    if mine is None or peer is None:
        return Claim(text, "", "not measured")
    s, of_bare = share(mine, peer), share(bare, peer)
    if s is None:
        return Claim(text, f"{mine.text(4)} against {peer.text(4)}", "undecided")
    beside = f"; bare consumer {of_bare[0]:.3f} [{of_bare[1]:.3f}, {of_bare[2]:.3f}]" if of_bare else ""
    return Claim(text, f"{s[0]:.3f} [{s[1]:.3f}, {s[2]:.3f}]{beside}", verdict_of(s, limit))


def ledger(w):
    return w.change("ours", "ledger", "ledger")


def of_ledger(w):
    text = f"{w.title}: ledger ≤ 1.003 of nothing attached, or 1.000 within"
    e = ledger(w)
    if e is None:
        return Claim(text, "", "not measured")
    callbacks = w.inside("ours", "ledger", "mute")
    figure = e.text(4) + (f"; its callbacks alone {callbacks.text(4)}" if callbacks else "")
    if e.low is not None and e.low <= 1 <= e.high:
        return Claim(text, figure, "met" if e.high - e.low <= LEDGER_WIDTH else "undecided")
    return Claim(text, figure, e.verdict(1.003))


def ledger_ns(w):
    """Estimate of the ns that the ledger adds to an allocation and its release."""
    e, before = ledger(w), w.seconds()
    return e and before and e.map(lambda ratio: (ratio - 1) * before / w.units * 1e9)


def of_allocations(workloads):
    """With stacks as measured; without as the line through the depths meets none, as there is no ledger without."""
    for ordered in ("false", "true"):
        points = []
        for w in workloads:
            ns = ledger_ns(w)
            if f'"ordered": {ordered}' in w.key and ns:
                points.append((int(w.key.partition('"depth": ')[2].partition(",")[0]), ns))
                yield Claim(f"{w.title}: ledger adds ≤ {WITH_STACK} ns", ns.text(0) + " ns", ns.verdict(WITH_STACK))
        if len(points) < 2:
            continue
        line = [at_no_frames([(depth, getattr(ns, edge)) for depth, ns in points]) for edge in ("mid", "low", "high")]
        call = "cuMemAllocAsync" if ordered == "true" else "cuMemAlloc"
        text = f"{call} and its release, no stack (extrapolated): ledger adds ≤ {WITHOUT_STACK} ns"
        if line[1] is None:
            yield Claim(text, f"{line[0]:.0f} ns", "undecided")
        else:
            yield Claim(text, f"{line[0]:.0f} [{line[1]:.0f}, {line[2]:.0f}] ns", verdict_of(line, WITHOUT_STACK))


def at_no_frames(points):
    """Where the least-squares line through (depth, ns) meets depth 0; None if a point is unknown."""
    if any(y is None for _, y in points):
        return None
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return mean_y - slope * mean_x


def budgets(w, workloads):
    """The windows by the program's own clock, and on top of it what an attached, stopped timeline costs."""
    same = workloads.get("launch")
    for end in w.ends:
        if "budget_span" not in end:
            continue
        s = budget.share(end["budget_excess"], end["budget_span"])
        text = f"{w.title}: upper bound of the windows' price ≤ 1 %"
        what = f"{end['budget_windows']} windows in {end['budget_span']:.0f} s of steps"
        if s is None:
            yield Claim(text, f"{what}, nothing to compare", "undecided")
        else:
            figure = f"{s[0] * 100:+.2f} %, 95 % bound {s[1] * 100:+.2f} %, {what}"
            yield Claim(text, figure, "met" if s[1] <= 0.01 else "not met" if s[0] > 0.01 else "undecided")
        residue = same and same.change("ours", "off")
        if residue and end["budget_windows"]:
            text = f"{w.title}: the same with what a stopped timeline leaves behind (part 'launch')"
            worst = (s[1] if s else 0) + (residue.high or 9) - 1
            least = residue.low and residue.low - 1 > 0.01
            yield Claim(text, residue.text(4), "met" if worst <= 0.01 else "not met" if least else "undecided")
        yield from totals(w, end, same)


def totals(w, end, same):
    """Kernels and their time as estimated from the windows, against what the program did in the same time."""
    estimated = end.get("budget_estimated")
    if not estimated or not same or not same.kernels_per_step():
        return
    ran = end["budget_steps"] * same.kernels_per_step()
    each = [e["trace_kernel_ns"] / e["trace_kernels"] for e in same.ends if e.get("trace_kernels")]
    for name, truth, unit in (("count", ran, ""), ("total_ns", each and ran * sum(each) / len(each), " ns")):
        if not truth:
            continue
        total = estimated[name]
        high = total["high"] if total["high"] is not None else float("inf")
        holds = total["low"] <= truth <= high
        figure = f"{total['value']:.4g} [{total['low']:.4g}, {high:.4g}]{unit}, really {truth:.4g}"
        text = f"{w.title}: kernels' {'count' if name == 'count' else 'time'} within its stated error"
        yield Claim(text, figure, "met" if holds else "not met")


def of_traces(w):
    limit = 8 if w.key == "generate" else 6
    for end in w.ends:
        if end["kind"] != "ours" or not end.get("trace_kernels"):
            continue
        each = end["trace_bytes"] / end["trace_kernels"]
        text = f"{w.title}: trace ≤ {limit} bytes a kernel (windows of both levels, {end['process']})"
        yield Claim(text, f"{each:.2f} of {end['trace_kernels']} kernels", "met" if each <= limit else "not met")


def of_agent(w):
    """At 30,000 kernels a second, in proportion: some of what it does does not grow with them."""
    for line in w.agents:
        rate = line["steps"] / line["seconds"] * w.kernels_per_step()
        cpu = line["cpu"] / line["seconds"]
        most = cpu * max(1, RATE / rate)
        figure = f"{cpu * 100:.1f} % of a core at {rate:.0f} kernels/s, {most * 100:.1f} % at {RATE} in proportion"
        figure += f"; {line['rss'] / 2**20:.0f} MiB (most {line['most'] / 2**20:.0f})"
        good = line["most"] <= 64 << 20
        verdict = "met" if good and most <= 0.05 else "not met" if not good or cpu > 0.05 else "undecided"
        yield Claim(f"{w.title}: agent of --api=launch ≤ 5 % of a core at {RATE} kernels/s, ≤ 64 MiB", figure, verdict)


def judge(workloads):
    """All claims about the workloads that were measured."""
    found = []
    for w in workloads.values():
        if w.key.startswith(("allocations", "callbacks")):
            continue
        if w.key == "budget":
            found += list(budgets(w, workloads))
            continue
        text = f"{w.title}: timeline --api=none ≤ 1.02 of the bare consumer"
        found.append(judged(text, w.inside("ours", "none", "bare"), 1.02, by_mean(w)))
        if w.has("whole"):
            text = f"{w.title}: timeline of whole graphs ≤ 1.02 of the bare consumer"
            found.append(judged(text, w.across("whole", "barewhole"), 1.02))
        found.append(of_ledger(w))
        if w.has("profiler"):
            found += list(shares(w))
        if w.key in ("launch", "gpu", "generate"):
            found += list(of_traces(w))
        found += list(of_agent(w))
    return found + list(of_allocations([w for w in workloads.values() if w.key.startswith("allocations")]))


def by_mean(w):
    """What is rare shows in means alone."""
    e = w.means and w.means.inside("ours", "none", "bare")
    return f"; by means {e.text(4)}" if e else ""


# ---- the README's table ----

COLUMNS = (
    ("ledger", ledger),
    ("attached, timeline stopped", lambda w: w.change("ours", "off")),
    ("bare CUPTI consumer", lambda w: w.change("ours", "bare")),
    ("timeline, `--api none`", lambda w: w.change("ours", "none")),
    ("timeline (`--api launch`)", lambda w: w.change("ours", "launch")),
    ("bare consumer, whole graphs", lambda w: w.across("barewhole", "never")),
    ("timeline, whole graphs", lambda w: w.across("whole", "never")),
    ("torch.profiler, stopped", lambda w: w.change("profiler", "off")),
    ("torch.profiler, CUDA", lambda w: w.change("profiler", "profiler:cuda")),
    ("torch.profiler, CPU + CUDA", lambda w: w.change("profiler", "profiler:both")),
    ("nsys `-t cuda`", lambda w: w.across("nsys", "never")),
)
RATIOS = (
    ("timeline `--api none` / bare consumer", lambda w: w.inside("ours", "none", "bare")),
    ("timeline, whole graphs / bare consumer", lambda w: w.across("whole", "barewhole")),
)


def percent(e):
    if e is None:
        return "–"
    if e.low is None:
        return f"{(e.mid - 1) * 100:+.1f} % (no interval)"
    return f"{(e.mid - 1) * 100:+.1f} % [{(e.low - 1) * 100:+.1f}, {(e.high - 1) * 100:+.1f}]"


def ratio(e):
    return e.text().partition(" n ")[0] if e else "–"


def markdown(head, workloads, judgements):
    shown = [w for w in workloads.values() if not w.key.startswith("allocations") and w.seconds()]
    lines = [f"{head}. Time added to a step of a program that nothing was ever attached to, with 95 % intervals.", ""]
    lines.append("| | " + " | ".join(w.title for w in shown) + " |")
    lines.append("|---" * (len(shown) + 1) + "|")
    steps = []
    for w in shown:
        each = w.seconds() / w.units
        steps.append(f"{each * 1e3:.2f} ms" if each >= 1e-3 else f"{each * 1e6:.2f} µs")
    lines.append("| never attached, a step | " + " | ".join(steps) + " |")
    for rows, text in ((COLUMNS, percent), (RATIOS, ratio)):
        for name, figure in rows:
            cells = [figure(w) for w in shown]
            if any(cells):
                lines.append(f"| {name} | " + " | ".join(text(c) for c in cells) + " |")
    lines += ["", "| claim | measured | |", "|---|---|---|"]
    lines += [f"| {c.text} | {c.figure} | {c.verdict} |" for c in judgements if c.verdict != "not measured"]
    return "\n".join(lines) + "\n"
