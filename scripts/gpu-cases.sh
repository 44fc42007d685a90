# gpu-cases.sh: the cases of the GPU tier, sourced by gpu-test.sh. Each is a function case_NAME that runs under
# `set -e` in a folder of its own; it fails by any command's failure and skips by `skip REASON`. A line
# "figure TEXT" in its output is kept as a measurement; no case fails by a time.
# shellcheck shell=bash

# shellcheck disable=SC2154 # bundle comes from gpu-test.sh
warpscope=$bundle/bin/warpscope
workloads=$bundle/scripts/workloads
python=${PYTHON:-python3}

# ---- helpers --------------------------------------------------------------------------------

skip() {
  echo "$*"
  exit 77
}

# inspect TRACE: everything that is compared, as TRACE.json.
inspect() {
  "$warpscope" inspect --json --kernels --copies --memory --nvtx --top 0 "$1" >"$1.json"
}

# same TRACE COUNT.json [-nodes] [-times N]: the trace against an independent count.
same() {
  local trace=$1 count=$2
  shift 2
  inspect "$trace"
  "$bundle/bin/counts" "$@" "$trace.json" "$count"
}

# field TRACE.json EXPRESSION: a value of the JSON, in Python's words (d is the document).
field() {
  "$python" -c 'import json, sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"
}

# check TRACE.json EXPRESSION: the expression must hold.
check() {
  local value
  value=$(field "$1" "$2")
  echo "check: $2: $value"
  [ "$value" = True ]
}

# status WANTED COMMAND...: the command's exit status must be the one wanted.
status() {
  local wanted=$1 got=0
  shift
  "$@" || got=$?
  echo "exit status of $1: $got, wanted $wanted"
  [ "$got" -eq "$wanted" ]
}

# launch_program: the path of the compiled CUDA C++ program, compiled at first use.
launch_program() {
  local built
  built=$(dirname "$PWD")/launch
  if [ ! -x "$built" ]; then
    command -v nvcc >/dev/null || skip "no nvcc here: the CUDA C++ program cannot be built"
    nvcc -O2 -std=c++17 -o "$built.new" "$workloads/launch.cu" -lcuda >&2 && mv "$built.new" "$built"
  fi
  echo "$built"
}

# counted NAME PROGRAM.py ARGS: torch.profiler's count of a program, in a run of its own, made once.
counted() {
  local out
  out=$(dirname "$PWD")/$1.count.json
  shift
  if [ ! -s "$out" ]; then
    "$python" "$workloads/counted.py" "$out" "$@" >&2
  fi
  echo "$out"
}

# wait_for FILE SECONDS
wait_for() {
  local i
  for ((i = 0; i < $2 * 10; i++)); do
    [ -s "$1" ] && return 0
    sleep 0.1
  done
  echo "$1 did not appear within $2 s"
  return 1
}

bytes_per_kernel() { # TRACE
  local bytes kernels
  bytes=$(stat -c %s "$1")
  kernels=$(field "$1.json" 'd["kernels"]["all"]["count"]')
  echo "figure $bytes bytes for $kernels kernels: $(awk "BEGIN {printf \"%.2f\", $bytes / $kernels}") bytes a kernel"
}

# ---- part 1: the machine, Go's own tests, CUDA C++ --------------------------------------------

cases+=("1 machine 60: what this machine is, and that the agent runs")
case_machine() {
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | sed 's/^/figure GPU /'
  "$warpscope" version
  "$python" -c 'import torch; print("figure torch", torch.__version__, "CUDA", torch.version.cuda)'
  echo "figure bundle $(cat "$bundle/VERSION")"
}

cases+=("1 cuda_package 200: package cuda's tests on the real driver")
case_cuda_package() {
  cd "$bundle/cuda" || return 1
  WARPSCOPE_REQUIRE=gpu ./cuda.test -test.v -test.timeout 180s
}

cases+=("1 cupti_package 200: package cupti's tests, in-process capture among them, on the real CUPTI")
case_cupti_package() {
  cd "$bundle/cupti" || return 1
  WARPSCOPE_REQUIRE=gpu ./cupti.test -test.v -test.timeout 180s
}

cases+=("1 launches 120: CUDA C++, kernels, copies, sets, ranges and allocations against its own count")
case_launches() {
  local launch
  launch=$(launch_program)
  "$warpscope" run -o t.wscope -- "$launch" plain 20000 count.json
  same t.wscope count.json
}

cases+=("1 launches_api_all 120: the same with --api=all: every launch has its call")
case_launches_api_all() {
  local launch
  launch=$(launch_program)
  "$warpscope" run -o t.wscope --api=all -- "$launch" plain 20000 count.json
  same t.wscope count.json
}

cases+=("1 ledger 120: --mode ledger records allocations and no kernels")
case_ledger() {
  local launch
  launch=$(launch_program)
  "$warpscope" run -o t.wscope --mode ledger -- "$launch" plain 1000 count.json
  inspect t.wscope
  check t.wscope.json 'sum(t["allocations"] for p in d["memory"]["processes"] for t in p["totals"] if t["kind"] == "device") == '"$(field count.json 'd["allocations"]')"
  check t.wscope.json '(d.get("kernels") or {"all": {"count": 0}})["all"]["count"] == 0'
}

cases+=("1 graph_level 120: CUDA graphs, launches counted")
case_graph_level() {
  local launch
  launch=$(launch_program)
  "$warpscope" run -o t.wscope -- "$launch" graph 500 count.json
  same t.wscope count.json
}

cases+=("1 graph_nodes 120: CUDA graphs, nodes counted with --graphs=node")
case_graph_nodes() {
  local launch
  launch=$(launch_program)
  "$warpscope" run -o t.wscope --graphs=node -- "$launch" graph 500 count.json
  same t.wscope count.json -nodes
}

cases+=("1 pool 120: cudaMallocAsync and cudaFreeAsync")
case_pool() {
  local launch
  launch=$(launch_program)
  "$warpscope" run -o t.wscope -- "$launch" async 500 count.json
  same t.wscope count.json
}

cases+=("1 vmm 120: cuMemCreate, map, release, unmap: nothing is left alive")
case_vmm() {
  local launch
  launch=$(launch_program)
  "$warpscope" run -o t.wscope -- "$launch" vmm 64 count.json
  same t.wscope count.json
  check t.wscope.json 'sum(t["live_bytes"] for p in d["memory"]["processes"] for t in p["totals"] if t["kind"] == "device") == 0'
}

cases+=("1 leak 120: what is alive at the end")
case_leak() {
  local launch
  launch=$(launch_program)
  "$warpscope" run -o t.wscope -- "$launch" leak 64 count.json
  same t.wscope count.json
  check t.wscope.json 'sum(t["live_bytes"] for p in d["memory"]["processes"] for t in p["totals"] if t["kind"] == "device") == 32 << 20'
}

cases+=("1 out_of_memory 120: a failing allocation is recorded with its size")
case_out_of_memory() {
  local launch
  launch=$(launch_program)
  "$warpscope" run -o t.wscope -- "$launch" oom 1 count.json
  same t.wscope count.json
  check t.wscope.json 'any(f["result"] == 2 and f["stack"] for p in d["memory"]["processes"] for f in p["failures"])'
}

cases+=("1 fork 120: parent and child of a fork, in one trace")
case_fork() {
  local launch
  launch=$(launch_program)
  "$warpscope" run -o t.wscope -- "$launch" fork 3000 count.json
  same t.wscope count.json
  check t.wscope.json 'sum(p["kernels"] > 0 for p in d["processes"]) == 2'
}

cases+=("1 exec 120: a program started by a shell started by a shell")
case_exec() {
  local launch
  launch=$(launch_program)
  "$warpscope" run -o t.wscope -- sh -c "sh -c '$launch plain 1000 count.json'; $launch plain 1000 count2.json"
  same t.wscope count.json -times 2
}

cases+=("1 program_killed 120: SIGKILL of the program: what was published is there")
case_program_killed() {
  local launch got=0
  launch=$(launch_program)
  "$warpscope" run -o t.wscope -- sh -c "echo \$\$ >pid; exec $launch hang 20000 count.json" &
  wait_for count.json 60
  sleep 3
  kill -KILL "$(cat pid)"
  wait $! || got=$?
  echo "exit status of run: $got"
  [ $got -eq 137 ]
  inspect t.wscope
  # CUPTI hands buffers over when they are full or flushed; the ledger is complete at once.
  check t.wscope.json 'sum(t["allocations"] for p in d["memory"]["processes"] for t in p["totals"] if t["kind"] == "device") == '"$(field count.json 'd["allocations"]')"
  check t.wscope.json 'd["kernels"]["all"]["count"] == '"$(field count.json 'd["kernels"]')"
}

cases+=("1 agent_killed 120: SIGKILL of the agent: the program goes on, the file is readable")
case_agent_killed() {
  local launch agent
  launch=$(launch_program)
  "$warpscope" run -o t.wscope -- sh -c "echo \$\$ >pid; exec $launch hang 20000 count.json" &
  agent=$!
  wait_for count.json 60
  sleep 3
  kill -KILL $agent
  wait $agent || :
  sleep 1
  kill -0 "$(cat pid)"
  kill -KILL "$(cat pid)"
  "$warpscope" inspect --json --kernels --memory t.wscope >t.json
  check t.json 'd["kernels"]["all"]["count"] > 0'
}

cases+=("1 preload_alone 120: LD_PRELOAD alone, then recover")
case_preload_alone() {
  local launch
  launch=$(launch_program)
  LD_PRELOAD=$("$warpscope" lib) "$launch" plain 20000 count.json
  ls -ls ./*.wscap
  "$warpscope" recover -o t.wscope ./*.wscap
  same t.wscope count.json
}

cases+=("1 injection_alone 120: CUDA_INJECTION64_PATH alone, then recover")
case_injection_alone() {
  local launch
  launch=$(launch_program)
  CUDA_INJECTION64_PATH=$("$warpscope" lib) "$launch" plain 20000 count.json
  "$warpscope" recover -o t.wscope ./*.wscap
  # Without the preload nobody sets NVTX_INJECTION64_PATH: ranges are not recorded.
  "$python" -c 'import json; d = json.load(open("count.json")); del d["nvtx_ranges"]; json.dump(d, open("count2.json", "w"))'
  same t.wscope count2.json
}

cases+=("1 killed_without_agent 120: LD_PRELOAD alone and SIGKILL, then recover")
case_killed_without_agent() {
  local launch child
  launch=$(launch_program)
  LD_PRELOAD=$("$warpscope" lib) "$launch" hang 20000 count.json &
  child=$!
  wait_for count.json 60
  sleep 3
  kill -KILL $child
  wait $child || :
  "$warpscope" recover -o t.wscope ./*.wscap
  inspect t.wscope
  check t.wscope.json 'd["kernels"]["all"]["count"] == '"$(field count.json 'd["kernels"]')"
}

cases+=("1 exit_status 60: exit status and signals pass through")
case_exit_status() {
  status 7 "$warpscope" run -o a.wscope -- sh -c 'exit 7'
  status 143 "$warpscope" run -o b.wscope -- sh -c 'kill -TERM $$'
  status 0 "$warpscope" run -o c.wscope -- true
}

cases+=("1 foreign_injection 60: another tool's injection: no capture, said so, the program runs")
case_foreign_injection() {
  local launch
  launch=$(launch_program)
  CUDA_INJECTION64_PATH=/nonexistent/other.so "$warpscope" run -o t.wscope -- "$launch" plain 100 count.json 2>said
  cat said
  grep -q CUDA_INJECTION64_PATH said
  [ -s count.json ]
}

cases+=("1 no_cuda 120: a program without CUDA: nothing written, nothing printed, what it costs")
case_no_cuda() {
  local library
  library=$("$warpscope" lib)
  [ "$(LD_PRELOAD=$library /bin/echo hello 2>&1)" = hello ]
  LD_PRELOAD=$library ls -l /proc/self/maps >/dev/null
  [ -z "$(find . -name '*.wscap')" ]
  # Interleaved, so that the machine's drift falls on both.
  "$python" - "$library" <<'PYTHON'
import os, statistics, subprocess, sys, time

def once(env):
    begin = time.perf_counter()
    subprocess.run(["/bin/true"], env=env, check=True)
    return (time.perf_counter() - begin) * 1e3

plain, preloaded = dict(os.environ), dict(os.environ, LD_PRELOAD=sys.argv[1])
a, b = [], []
for _ in range(300):
    a.append(once(plain))
    b.append(once(preloaded))
print(f"figure /bin/true, 300 interleaved pairs, median: {statistics.median(a):.3f} ms bare, {statistics.median(b):.3f} ms preloaded")
PYTHON
}

# ---- part 2: PyTorch ------------------------------------------------------------------------------

cases+=("2 train 240: PyTorch training, GPU-bound, against torch.profiler; size a kernel")
case_train() {
  local count
  count=$(counted train-gpu-30 "$workloads/train_gpt.py" gpu 30)
  "$warpscope" run -o t.wscope -- "$python" "$workloads/train_gpt.py" gpu 30
  same t.wscope "$count"
  bytes_per_kernel t.wscope
}

cases+=("2 train_launch 240: PyTorch training, launch-bound, against torch.profiler")
case_train_launch() {
  local count
  count=$(counted train-launch-30 "$workloads/train_gpt.py" launch 30)
  "$warpscope" run -o t.wscope -- "$python" "$workloads/train_gpt.py" launch 30
  same t.wscope "$count"
  bytes_per_kernel t.wscope
}

cases+=("2 train_preload 240: PyTorch training with LD_PRELOAD alone, then recover")
case_train_preload() {
  local count
  count=$(counted train-gpu-30 "$workloads/train_gpt.py" gpu 30)
  LD_PRELOAD=$("$warpscope" lib) "$python" "$workloads/train_gpt.py" gpu 30
  ls -ls ./*.wscap
  "$warpscope" recover -o t.wscope ./*.wscap
  same t.wscope "$count"
}

cases+=("2 train_nvtx 240: NVTX ranges of PyTorch: one a step and three inside each")
case_train_nvtx() {
  "$warpscope" run -o t.wscope -- "$python" "$workloads/train_gpt.py" gpu 10 --warmup 0 --nvtx
  inspect t.wscope
  check t.wscope.json 'sum(g["count"] for g in d["nvtx"]["groups"]) == 40'
}

cases+=("2 expandable_segments 240: PyTorch's VMM allocator: mapped bytes match what torch reserved")
case_expandable_segments() {
  PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True "$warpscope" run -o t.wscope -- "$python" "$workloads/reserve.py" count.json
  inspect t.wscope
  check t.wscope.json 'max(t["peak_bytes"] for p in d["memory"]["processes"] for t in p["totals"] if t["kind"] == "device") >= '"$(field count.json 'd["peak_reserved"]')"
  check t.wscope.json 'any(s["space"] == "physical" and s["allocations"] > 0 for p in d["memory"]["processes"] for t in p["totals"] for s in t["spaces"])'
}

cases+=("2 async_backend 240: PyTorch's cudaMallocAsync backend: allocations in the pool")
case_async_backend() {
  PYTORCH_CUDA_ALLOC_CONF=backend:cudaMallocAsync "$warpscope" run -o t.wscope -- "$python" "$workloads/reserve.py" count.json
  inspect t.wscope
  check t.wscope.json 'any(s["space"] == "pool" and s["allocations"] > 0 for p in d["memory"]["processes"] for t in p["totals"] for s in t["spaces"])'
}

cases+=("2 native_allocator 240: PyTorch's own allocator: every segment is a cudaMalloc")
case_native_allocator() {
  "$warpscope" run -o t.wscope -- "$python" "$workloads/reserve.py" count.json
  inspect t.wscope
  # torch counts its segments; other libraries allocate beside it, so the trace has at least as many.
  check t.wscope.json 'sum(l["allocations"] for p in d["memory"]["processes"] for t in p["totals"] for l in t["libraries"] if l["library"].startswith("libc10_cuda")) == '"$(field count.json 'd["segments_allocated"]')"
}

cases+=("2 torch_out_of_memory 240: PyTorch running out of memory: the failed call, with torch's own library")
case_torch_out_of_memory() {
  "$warpscope" run -o t.wscope -- "$python" "$workloads/reserve.py" count.json --too-much
  inspect t.wscope
  check t.wscope.json 'any(f["result"] == 2 and "c10_cuda" in f["library"] for p in d["memory"]["processes"] for f in p["failures"])'
}

cases+=("2 torch_graph 240: PyTorch replaying a CUDA graph, at graph level")
case_torch_graph() {
  "$warpscope" run -o t.wscope -- "$python" "$workloads/train_gpt.py" launch 50 --graph
  inspect t.wscope
  check t.wscope.json 'd["graph_launches"]["count"] == 50'
}

cases+=("2 torch_graph_nodes 240: the same node by node, against torch.profiler")
case_torch_graph_nodes() {
  local count
  count=$(counted train-graph-50 "$workloads/train_gpt.py" launch 50 --graph)
  "$warpscope" run -o t.wscope --graphs=node -- "$python" "$workloads/train_gpt.py" launch 50 --graph
  same t.wscope "$count"
}

# ---- part 3: generation, children, the demo -----------------------------------------------------------

cases+=("3 generate 240: transformers, token by token, against torch.profiler; size a kernel")
case_generate() {
  local count
  "$python" -c 'import transformers' || skip "no transformers here"
  count=$(counted generate-200 "$workloads/generate.py" 200)
  "$warpscope" run -o t.wscope -- "$python" "$workloads/generate.py" 200
  same t.wscope "$count"
  bytes_per_kernel t.wscope
}

cases+=("3 generate_preload 240: transformers with LD_PRELOAD alone, then recover")
case_generate_preload() {
  local count
  "$python" -c 'import transformers' || skip "no transformers here"
  count=$(counted generate-200 "$workloads/generate.py" 200)
  LD_PRELOAD=$("$warpscope" lib) "$python" "$workloads/generate.py" 200
  "$warpscope" recover -o t.wscope ./*.wscap
  same t.wscope "$count"
}

cases+=("3 children 240: Python children by spawn, each on the GPU, leaving by os._exit")
case_children() {
  "$warpscope" run -o t.wscope -- "$python" "$workloads/children.py" 3
  inspect t.wscope
  check t.wscope.json 'sum(p["kernels"] > 0 for p in d["processes"]) == 3'
  check t.wscope.json 'len({p["kernels"] for p in d["processes"] if p["kernels"] > 0}) == 1'
}

cases+=("3 demo 120: warpscope demo on the GPU, against its own counts")
case_demo() {
  "$warpscope" run -o t.wscope -- "$warpscope" demo --counts count.json
  same t.wscope count.json
  check t.wscope.json 'not d["simulated"]'
}

cases+=("3 demo_in_process 120: the same, captured by the agent itself")
case_demo_in_process() {
  "$warpscope" demo --capture in-process -o t.wscope --counts count.json
  same t.wscope count.json
}

cases+=("3 stacks 120: allocations have stacks that reach the program's main")
case_stacks() {
  local launch
  launch=$(launch_program)
  "$warpscope" run -o t.wscope -- "$launch" leak 64 count.json
  inspect t.wscope
  check t.wscope.json 'any("main" in frame for p in d["memory"]["processes"] for l in p["largest_live"] for frame in l["stack"])'
}

cases+=("3 samples 120: NVML's readings are in the trace")
case_samples() {
  "$warpscope" run -o t.wscope -- "$python" "$workloads/train_gpt.py" gpu 60
  "$warpscope" inspect --json t.wscope >t.json
  check t.json 'any(g.get("nvml") for g in d["gpus"])'
}

# ---- part 4: figures ------------------------------------------------------------------------------------

cases+=("4 cost 420: what capture costs, interleaved process by process")
case_cost() {
  local round mode how
  for round in 1 2 3 4; do
    for mode in gpu launch; do
      "$python" "$workloads/train_gpt.py" $mode 60 | sed "s/^/bare $mode $round /" | tee -a times
      for how in ledger timeline; do
        "$warpscope" run --force -o t.wscope --mode $how -- "$python" "$workloads/train_gpt.py" $mode 60 2>/dev/null |
          sed "s/^/$how $mode $round /" | tee -a times
      done
    done
  done
  "$python" - <<'PYTHON'
import collections, json, statistics
rows = collections.defaultdict(list)
for line in open("times"):
    how, mode, _, text = line.split(" ", 3)
    rows[mode, how].append(json.loads(text)["median_ms"])
for (mode, how), values in sorted(rows.items()):
    bare = statistics.median(rows[mode, "bare"])
    now = statistics.median(values)
    print(f"figure train_gpt {mode}, {how}: {now:.2f} ms a step, median of {len(values)} runs ({(now / bare - 1) * 100:+.1f} % of bare)")
PYTHON
}

cases+=("4 launch_cost 200: what a launch costs, interleaved")
case_launch_cost() {
  local launch round
  launch=$(launch_program)
  for round in 1 2 3; do
    "$launch" time 100000 | sed 's/^/bare /' | tee -a times
    "$warpscope" run --force -o t.wscope --mode ledger -- "$launch" time 100000 2>/dev/null | sed 's/^/ledger /' | tee -a times
    "$warpscope" run --force -o t.wscope --api none -- "$launch" time 100000 2>/dev/null | sed 's/^/timeline,--api=none /' | tee -a times
    "$warpscope" run --force -o t.wscope -- "$launch" time 100000 2>/dev/null | sed 's/^/timeline /' | tee -a times
  done
  awk '{n[$1]++; v[$1, n[$1]] = $2}
    END {for (how in n) {m = v[how, 1]; for (i = 2; i <= n[how]; i++) if (v[how, i] < m) m = v[how, i]
      printf "figure empty kernel, %s: %.0f ns a launch (best of %d x 100000, completion included)\n", how, m, n[how]}}' times
}
