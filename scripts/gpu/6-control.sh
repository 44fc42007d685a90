# Part 6: what of a program is recorded, and when: triggers, calls, signals, the newest part.
# shellcheck shell=bash disable=SC2154 # its variables come from gpu-test.sh and helpers.sh

# window HOW TRIGGER [--no-sync]: the trace has the kernels that were to be recorded and no other.
window() {
  local how=$1 trigger=$2
  shift 2
  "$warpscope" run --force -o t.wscope --capture "$trigger" -- "$python" "$workloads/control.py" "$how" count.json "$@"
  inspect t.wscope
  check t.wscope.json "d['kernels']['all']['count'] == $(field count.json 'd["inside"]')"
  check t.wscope.json 'd["losses"]["lost"] == 0'
  check t.wscope.json 'd["processes"][0]["paused_times"] >= 1 and d["processes"][0]["windows"] >= 1'
}

cases+=("6 control_profiler 120: --capture cuda-profiler-api: the kernels between torch.cuda.profiler.start and stop, exactly")
case_control_profiler() { window profiler cuda-profiler-api; }

cases+=("6 control_profiler_async 120: the same, without waiting for the GPU before stop")
case_control_profiler_async() { window profiler cuda-profiler-api --no-sync; }

cases+=("6 control_nvtx 120: --capture nvtx:NAME: pushed, nested, started and ended ranges of torch.cuda.nvtx")
case_control_nvtx() { window nvtx nvtx:wanted; }

cases+=("6 control_steps 120: --capture steps:4-6, counted through ctypes")
case_control_steps() { window steps steps:4-6; }

cases+=("6 control_call 120: --capture call: warpscope_start and warpscope_stop through ctypes")
case_control_call() { window call call; }

cases+=("6 control_call_async 120: the same, without waiting for the GPU before stop")
case_control_call_async() { window call call --no-sync; }

cases+=("6 control_signal 120: --capture signal: SIGUSR1 and SIGUSR2 to warpscope, which does not pass them on")
case_control_signal() { window signal signal; }

cases+=("6 control_preload 120: WARPSCOPE_CAPTURE with LD_PRELOAD alone, then recover")
case_control_preload() {
  WARPSCOPE_CAPTURE=nvtx:wanted LD_PRELOAD=$("$warpscope" lib) "$python" "$workloads/control.py" nvtx count.json
  "$warpscope" recover -o t.wscope ./*.wscap
  inspect t.wscope
  check t.wscope.json "d['kernels']['all']['count'] == $(field count.json 'd["inside"]')"
}

cases+=("6 control_never 120: a range that never comes is said to have not")
case_control_never() {
  "$warpscope" run -o t.wscope --capture nvtx:absent -- "$python" "$workloads/control.py" nvtx count.json 2>&1 | tee said
  grep "the range absent never began: no timeline was recorded" said
}

cases+=("6 control_keep 150: --keep 5s of 30: the rest is dropped and counted, what is held is known")
case_control_keep() {
  PYTORCH_NO_CUDA_MEMORY_CACHING=1 "$warpscope" run -o t.wscope --keep 5s -- \
    "$python" "$workloads/control.py" keep count.json --seconds 30
  inspect t.wscope
  check t.wscope.json "d['kernels']['all']['count'] + sum(r['count'] for r in d['losses']['rows'] if r['kind'] == 'kernels' and '--keep' in r['cause']) == $(field count.json 'd["launched"]')"
  check t.wscope.json 'd["losses"]["lost"] == 0 and not d["damage"]'
  check t.wscope.json "sum(s['live_bytes'] for p in d['memory']['processes'] for t in p['totals'] for s in t['spaces'] if s['space'] == 'device') >= $(field count.json 'd["held_bytes"]')"
  echo "figure --keep 5s of 30: $(stat -c %s t.wscope) bytes, $(field t.wscope.json 'd["kernels"]["all"]["count"]') kernels of $(field count.json 'd["launched"]')"
}

cases+=("6 control_idle 300: what a launch costs while the trigger has not come, interleaved")
case_control_idle() {
  local round
  for round in 1 2 3 4 5; do
    "$python" "$workloads/control.py" idle count.json | sed "s/^/bare $round /" | tee -a times
    "$warpscope" run --force -o t.wscope --mode ledger -- "$python" "$workloads/control.py" idle count.json 2>/dev/null | sed "s/^/ledger $round /" | tee -a times
    "$warpscope" run --force -o t.wscope --capture call -- "$python" "$workloads/control.py" idle count.json 2>/dev/null | sed "s/^/paused $round /" | tee -a times
  done
  "$python" - <<'PYTHON'
import collections, json, statistics
rows = collections.defaultdict(list)
for line in open("times"):
    how, _, text = line.split(" ", 2)
    rows[how].append(json.loads(text)["us_a_launch"])
for how, values in rows.items():
    print(f"figure torch add_, {how}: {statistics.median(values):.3f} us a launch, median of {len(values)} runs ({(statistics.median(values) / statistics.median(rows['bare']) - 1) * 100:+.1f} % of bare)")
PYTHON
}

cases+=("6 control_graphs 90: graphs made and replayed while the timeline is switched off and on: no crash, whole or node by node")
case_control_graphs() {
  "$warpscope" run -o whole.wscope -- "$python" "$workloads/graphs_switched.py" count.json
  "$warpscope" inspect --json whole.wscope >whole.json
  check whole.json 'sum(r["recorded"] for r in d["records"] if r["kind"] == "graph launches") == '"$(field count.json 'd["replays"]')"
  "$warpscope" run --capture call -o nodes.wscope -- "$python" "$workloads/graphs_switched.py" count.json
  "$warpscope" inspect --json nodes.wscope >nodes.json
  check nodes.json 'sum(r["recorded"] for r in d["records"] if r["kind"] == "graph launches") == 0'
  check nodes.json 'd["kernels"]["all"]["count"] >= '"$(field count.json 'd["replays"] * d["nodes"]')"
}

cases+=("6 control_keep_budget 150: --keep 6s with --budget: totals estimated for the part that is kept")
case_control_keep_budget() {
  "$warpscope" run -o t.wscope --keep 6s --budget 30% -- "$python" "$workloads/train_gpt.py" launch 900
  inspect t.wscope
  check t.wscope.json 'd["losses"]["lost"] == 0 and not d["damage"]'
  check t.wscope.json 'd["sampling"]["estimated"] and d["sampling"]["from_ns"] > 0'
  check t.wscope.json 'any("--keep" in r["cause"] for r in d["losses"]["rows"])'
  echo "figure --keep 6s with --budget 30%: $(field t.wscope.json 'd["sampling"]["windows"]') windows kept, estimated from $(field t.wscope.json 'd["sampling"]["from_ns"] / 1e9') s on"
}
