# Part 10: a budget. Kernel totals against an independent count, the slowdown against the program's own clock.
# shellcheck shell=bash disable=SC2154 # its variables come from gpu-test.sh and helpers.sh

# per_step MODE: kernels a step by name, from two of torch.profiler's counts that differ by 20 steps.
per_step() {
  local few many
  few=$(counted "budget_$1_10" "$workloads/train_gpt.py" "$1" 10)
  many=$(counted "budget_$1_30" "$workloads/train_gpt.py" "$1" 30)
  "$python" - "$few" "$many" <<'PYTHON'
import json, sys
few, many = (json.load(open(path))["kernels_by_name"] for path in sys.argv[1:])
json.dump({name: (n - few.get(name, 0)) / 20 for name, n in many.items() if n != few.get(name, 0)}, open("per_step.json", "w"))
PYTHON
}

# budget_run MODE STEPS PERCENT
budget_run() {
  per_step "$1"
  "$python" "$workloads/train_gpt.py" "$1" 100 >bare.json
  "$warpscope" run --force -o t.wscope --budget "$3%" -- "$python" "$workloads/train_gpt.py" "$1" "$2" --stamps stamps.json 2>notes
  cat notes
  grep 'budget ' notes | sed 's/^warpscope: /figure /'
  inspect t.wscope
  "$warpscope" inspect --events --top 0 --format jsonl t.wscope | grep '"kind":"window"' >windows.jsonl || true
  "$python" - "$1" "$3" <<'PYTHON'
import json, random, statistics, sys
mode, percent = sys.argv[1], float(sys.argv[2])
d = json.load(open("t.wscope.json"))
s, k = d.get("sampling"), d["kernels"]
assert s and s["estimated"], "nothing was estimated"
start = d["range"]["start_unix_ns"]
stamps = json.load(open("stamps.json"))
first = start + s["from_ns"]
steps = [(t, took) for t, took in stamps if t + took > first]
# The part of the step that was under way when the first span began counts for its part.
n = sum(min(1, (t + took - first) / took) for t, took in steps)
per_step = json.load(open("per_step.json"))
print(f"figure {mode}: {s['windows']} windows, {s['recorded_ns'] / 1e9:.2f} s of {s['span_ns'] / 1e9:.0f} s, {100 * s['work_share']:.2f} % of the work; {n:.0f} steps in it")
held = missed = unmatched = 0
worst = ""
for g in k["groups"]:
    truth = per_step.get(g["name"], per_step.get(g.get("symbol", "")))
    if truth is None:
        unmatched += g["count"]
        continue
    e = g["estimated"]["count"]
    high = float("inf") if e["high"] is None else e["high"]
    if e["low"] <= truth * n <= high:
        held += 1
    else:
        missed += 1
        worst += f" {g['name'][:40]}: {e['value']:.0f} [{e['low']:.0f}, {high:.0f}] for {truth * n:.0f};"
e, truth = k["estimated"]["count"], sum(per_step.values()) * n
print(f"figure {mode}: kernels estimated {e['value']:.0f} [{e['low']:.0f}, {e['high'] or 0:.0f}] for {truth:.0f} ({100 * (e['value'] / truth - 1):+.2f} %); by name {held} of {held + missed} intervals hold it;{worst[:400]}")
assert unmatched < 0.05 * k["all"]["count"], f"{unmatched} kernels have names that the count has not"
assert e["low"] <= truth <= (e["high"] or float("inf")), "the total lies outside its interval"
assert held >= 0.85 * (held + missed), "too many intervals miss"
# The program's own clock: steps that windows fell into, against those around them. A bootstrap by window.
windows = [json.loads(line) for line in open("windows.jsonl")]
excess = []
for row in windows:
    length, begin = row.get("length_ns"), row.get("begin_unix_ns")
    if not length:
        continue
    on = [took for t, took in stamps if t < begin + length + 50e6 and t + took > begin]
    near = [took for t, took in stamps if begin - 2e9 < t < begin - 100e6 or begin + length + 200e6 < t < begin + length + 2e9]
    if on and near:
        excess.append(sum(on) - len(on) * statistics.mean(near))
span = sum(took for _, took in steps)
if excess:
    random.seed(1)
    sums = sorted(sum(random.choices(excess, k=len(excess))) / span * 100 for _ in range(4000))
    print(f"figure {mode}: by the program's own clock {sum(excess) / span * 100:.2f} % slower, 95 % bound {sums[int(0.95 * len(sums))]:.2f} % (budget {percent:g} %)")
PYTHON
}

cases+=("10 budget_launch 300: --budget 1% on a launch-bound program")
case_budget_launch() { budget_run launch 3500 1; }

cases+=("10 budget_gpu 300: --budget 1% on a GPU-bound program")
case_budget_gpu() { budget_run gpu 2400 1; }

cases+=("10 budget_graph 240: --budget 1% on replayed graphs")
case_budget_graph() {
  "$warpscope" run --force -o t.wscope --budget 1% -- "$python" "$workloads/train_gpt.py" launch 8000 --graph 2>notes
  cat notes
  grep 'budget ' notes | sed 's/^warpscope: /figure /'
}

cases+=("10 budget_short 90: a program too short for a budget, and one without a regular call")
case_budget_short() {
  "$warpscope" run --force -o t.wscope --budget 1% -- "$python" "$workloads/train_gpt.py" launch 20 2>notes
  cat notes
  grep -q 'nothing certain\|no regular calls' notes
  "$warpscope" inspect t.wscope >/dev/null
}
