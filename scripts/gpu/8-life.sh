# Part 8: process life: late start, other frameworks, ranks, workers, every end, what SIGKILL loses.
# shellcheck shell=bash disable=SC2154 # its variables come from gpu-test.sh and helpers.sh

# cuda_program NAME: the path of workloads/NAME.cu, compiled at first use.
cuda_program() {
  local built source=$workloads/$1.cu
  built=$(dirname "$PWD")/program-$1 # not the folder of a case of that name
  if [ ! -x "$built" ] || [ "$source" -nt "$built" ]; then
    command -v nvcc >/dev/null || skip "no nvcc here: the CUDA C++ program cannot be built"
    nvcc -O2 -std=c++17 -o "$built.new" "$source" -lcuda >&2 ||
      nvcc -O2 -std=c++17 -o "$built.new" "$source" "$(ldconfig -p | awk '/libcuda\.so\.1 / {print $NF; exit}')" >&2
    mv "$built.new" "$built"
  fi
  echo "$built"
}

# needs_python MODULE: skips where it cannot be imported.
needs_python() {
  "$python" -c "import $1" || skip "no $1 here"
}

# launched NAME COUNT TRACE.json: kernels whose name contains NAME.
launched() {
  check "$3" "sum(g['count'] for g in d['kernels']['groups'] if '$1' in g['name']) == $2"
}

cases+=("8 late_start 60: the library loaded into a running PyTorch program: when recording began, and all after it")
case_late_start() {
  "$python" "$workloads/late.py" "$("$warpscope" lib)" count.json
  "$warpscope" recover -o t.wscope ./*.wscap
  inspect t.wscope
  "$warpscope" inspect --events --format jsonl t.wscope >events.jsonl
  "$python" "$workloads/late_check.py" events.jsonl t.wscope.json count.json
}

cases+=("8 torchrun 60: two ranks of torchrun on one GPU, in one trace")
case_torchrun() {
  "$warpscope" run -o t.wscope -- "$python" -m torch.distributed.run --nproc-per-node 2 \
    --master-addr 127.0.0.1 --master-port 29517 "$workloads/ranks.py" . 1000
  inspect t.wscope
  launched cos_kernel 2001 t.wscope.json
  check t.wscope.json 'sorted(p["kernels"] for p in d["processes"] if p["kernels"])[-2:] != [] and sum(p["kernels"] > 0 for p in d["processes"]) == 2'
  check t.wscope.json 'd["losses"]["known"] and d["losses"]["lost"] == 0'
}

cases+=("8 loader_workers 60: DataLoader workers forked without exec, and subprocesses, against torch.profiler")
case_loader_workers() {
  local count
  count=$(counted loaders-40 "$workloads/loaders.py" 40)
  "$warpscope" run -o t.wscope -- "$python" "$workloads/loaders.py" 40
  same t.wscope "$count"
  check t.wscope.json 'sum(p["kernels"] > 0 for p in d["processes"]) == 1'
}

cases+=("8 torch_compile 120: a model under torch.compile, its compile workers included, against torch.profiler")
case_torch_compile() {
  local count
  "$python" "$workloads/compiled.py" 3 # compiles; the later runs find it compiled
  count=$(counted compiled-30 "$workloads/compiled.py" 30)
  "$warpscope" run -o t.wscope -- "$python" "$workloads/compiled.py" 30
  same t.wscope "$count"
}

cases+=("8 triton 60: a Triton kernel, against its own loop")
case_triton() {
  needs_python triton
  "$warpscope" run -o t.wscope -- "$python" "$workloads/triton_known.py" count.json 517
  inspect t.wscope
  launched known_kernel 517 t.wscope.json
  check t.wscope.json 'd["losses"]["known"] and d["losses"]["lost"] == 0'
}

cases+=("8 jax 90: a JAX program, against its own loop and what JAX says of its memory")
case_jax() {
  needs_python jax
  "$warpscope" run -o t.wscope -- "$python" "$workloads/jax_known.py" count.json 517
  [ "$(field count.json 'd["platform"]')" = gpu ] || skip "JAX finds no GPU here"
  inspect t.wscope
  check t.wscope.json 'any(g["count"] == 517 for g in d["kernels"]["groups"])'
  check t.wscope.json 'd["kernels"]["all"]["count"] >= 517 + 19'
  check t.wscope.json 'd["losses"]["known"] and d["losses"]["lost"] == 0'
  # The pool that JAX takes is one or more allocations of the driver's.
  check t.wscope.json 'max(t["peak_bytes"] for p in d["memory"]["processes"] for t in p["totals"] if t["kind"] == "device") >= '"$(field count.json 'max(d["pool_bytes"], d["peak_bytes_in_use"])')"
}

cases+=("8 cupy 60: a CuPy program, against its own loop and its memory pool")
case_cupy() {
  needs_python cupy
  "$warpscope" run -o t.wscope -- "$python" "$workloads/cupy_known.py" count.json 517
  inspect t.wscope
  launched known_kernel 517 t.wscope.json
  check t.wscope.json 'sum(g["bytes"] for g in d["copies"]["groups"] if g["kind"] == "host to device") >= '"$(field count.json 'd["copy_bytes"]')"
  check t.wscope.json 'sum(t["allocated_bytes"] for p in d["memory"]["processes"] for t in p["totals"] if t["kind"] == "device") >= '"$(field count.json 'd["pool_bytes"]')"
  check t.wscope.json 'd["losses"]["known"] and d["losses"]["lost"] == 0'
}

cases+=("8 torch_ends 120: PyTorch ending by exit, os._exit, SIGTERM, SIGSEGV, SIGABRT and SIGKILL: status, and what is there")
case_torch_ends() {
  local how wanted
  for how in exit _exit term segv abort kill; do
    case $how in
      exit | _exit) wanted=7 ;;
      term) wanted=143 ;;
      segv) wanted=139 ;;
      abort) wanted=134 ;;
      kill) wanted=137 ;;
    esac
    status $wanted "$warpscope" run -o "$how.wscope" -- "$python" "$workloads/ends.py" $how count.json
    inspect "$how.wscope"
    if [ $wanted -eq 7 ]; then
      launched cos_kernel 1500 "$how.wscope.json"
      check "$how.wscope.json" 'd["losses"]["known"] and d["losses"]["lost"] == 0'
    else
      check "$how.wscope.json" 'any(r.get("unknown") for r in d["losses"]["rows"])'
      echo "figure after $how at once: $(field "$how.wscope.json" "sum(g['count'] for g in d['kernels']['groups'] if 'cos_kernel' in g['name'])") of 1500 kernels"
    fi
  done
}

# life MODE STATUS: runs life.cu and compares launches and allocations of all its processes.
life() {
  local program
  program=$(cuda_program life)
  status "$2" "$warpscope" run -o "$1.wscope" -- "$program" "$1" "$1.json"
  inspect "$1.wscope"
}

whole_life() { # MODE FILES…
  local mode=$1
  life "$mode" 0
  "$python" - "$mode.wscope.json" "$mode.json" "$mode.json.child" <<'PYTHON'
import json, os, sys

trace = json.load(open(sys.argv[1]))
counts = [json.load(open(path)) for path in sys.argv[2:] if os.path.exists(path)]
bad = 0
kernels = sum(g["count"] for g in trace["kernels"]["groups"] if "life_kernel" in g["name"])
spaces = [s for p in trace["memory"]["processes"] for t in p["totals"] for s in t["spaces"] if s["space"] == "device"]
for what, traced, counted in (
    ("kernels", kernels, sum(c["launches"] for c in counts)),
    # The runtime takes memory of its own now and then: at least what the program asked for.
    ("allocations", min(sum(s["allocations"] for s in spaces), sum(c["allocations"] for c in counts)), sum(c["allocations"] for c in counts)),
    ("lost", trace["losses"]["lost"] if trace["losses"]["known"] else -1, 0),
):
    print("same   " if traced == counted else "DIFFERS", what, traced, counted)
    bad += traced != counted
sys.exit(bad)
PYTHON
}

cases+=("8 life 120: resets, contexts, dying threads, clone, fork, vfork, posix_spawn, late and no CUDA, against their own counts")
case_life() {
  local mode
  for mode in reset contexts threads clone vfork spawn late; do
    echo "-- $mode"
    whole_life $mode
  done
  check vfork.wscope.json 'sum(p["kernels"] > 0 for p in d["processes"]) == 2'
  check spawn.wscope.json 'sum(p["kernels"] > 0 for p in d["processes"]) == 2'
  check clone.wscope.json 'sum(p["kernels"] > 0 for p in d["processes"]) == 1'
  echo "-- never"
  status 0 "$warpscope" run -o never.wscope -- "$(cuda_program life)" never never.json
  "$warpscope" inspect --json never.wscope >never.wscope.json
  check never.wscope.json 'not d["processes"]'
  echo "-- execute: the first program cannot flush, the second is whole"
  life execute 0
  check execute.wscope.json 'len(d["processes"]) == 2 and d["processes"][-1]["kernels"] == 100'
}

cases+=("8 exit_during_launch 60: exit while three threads launch: the status, and nothing silently missing")
case_exit_during_launch() {
  local program bare=0 got traced=0
  program=$(cuda_program life)
  for _ in $(seq 12); do
    got=0
    "$program" launching count.json || got=$?
    [ $got -eq 7 ] || bare=$((bare + 1))
  done
  for _ in $(seq 12); do
    got=0
    "$warpscope" run --force -q -o t.wscope -- "$program" launching count.json || got=$?
    [ $got -eq 7 ] || traced=$((traced + 1))
    inspect t.wscope
    check t.wscope.json 'd["kernels"]["all"]["count"] + d["losses"]["lost"] >= 20000 or any(r.get("unknown") for r in d["losses"]["rows"])'
  done
  # The driver itself may crash when it is taken down under threads that launch.
  echo "figure exit while three threads launch, 12 times each: $bare crashed without capture, $traced with"
  [ $traced -le $bare ]
}

cases+=("8 full_memory 60: a GPU without free memory: the program's status, kernels recorded or counted as lost")
case_full_memory() {
  local program
  program=$(cuda_program life)
  "$program" full bare.json
  life full 0
  check full.wscope.json 'sum(g["count"] for g in d["kernels"]["groups"] if "life_kernel" in g["name"]) + d["losses"]["lost"] >= '"$(field full.json 'd["launches"]')"
  echo "figure full GPU: $(field full.wscope.json 'd["kernels"]["all"]["count"]') of $(field full.json 'd["launches"]') kernels recorded, $(field bare.json 'd["launches"]') launched without capture"
}

cases+=("8 cupti_memory 90: what the capture takes of the GPU's memory, by the driver's own account")
case_cupti_memory() {
  cat >used.py <<'PYTHON'
import torch
x = torch.ones(1 << 20, device="cuda")
for _ in range(50000):
    x.cos_()
torch.cuda.synchronize()
free, total = torch.cuda.mem_get_info()
open("used", "w").write(f"{(total - free) >> 10}")
PYTHON
  local bare ledger timeline
  "$python" used.py && bare=$(cat used)
  "$warpscope" run --mode ledger -o l.wscope -- "$python" used.py && ledger=$(cat used)
  "$warpscope" run -o t.wscope -- "$python" used.py && timeline=$(cat used)
  echo "figure memory of the GPU in use, 50,000 kernels: $bare KiB bare, $((ledger - bare)) KiB more with ledger, $((timeline - bare)) KiB more with timeline"
}

cases+=("8 kill_loss 240: SIGKILL at random moments of GPU-bound, launch-bound and slow programs: what of the timeline is lost")
case_kill_loss() {
  local program mode
  program=$(cuda_program endless)
  for mode in gpu launch slow; do
    "$python" "$workloads/kills.py" "$warpscope" 8 $mode "$program" $mode "$PWD/tally-$mode"
  done
}

cases+=("8 agent_replaced 60: SIGKILL of the agent, and another one takes the program over")
case_agent_replaced() {
  local program agent pid
  program=$(cuda_program endless)
  "$warpscope" run -o first.wscope -- sh -c "echo \$\$ >pid; exec $program launch tally" &
  agent=$!
  wait_for tally 60
  sleep 2
  kill -KILL $agent
  wait $agent || :
  pid=$(cat pid)
  "$warpscope" attach -o rest.wscope "$pid" &
  agent=$!
  wait_for rest.wscope 30
  sleep 2
  kill -KILL "$pid"
  status 0 wait $agent
  inspect first.wscope
  inspect rest.wscope
  check first.wscope.json 'd["kernels"]["all"]["count"] > 0'
  check rest.wscope.json 'd["kernels"]["all"]["count"] > 0 and all(g["name"] for g in d["gpus"])'
  check rest.wscope.json 'any(t["live_count"] > 0 for p in d["memory"]["processes"] for t in p["totals"])'
}

cases+=("8 many_kernels 120: six million kernels with CUPTI's buffers on the GPU bounded: every one, with its times")
case_many_kernels() {
  local launch
  launch=$(launch_program)
  "$warpscope" run --api none -o t.wscope -- "$launch" plain 3000000 count.json
  same t.wscope count.json
  check t.wscope.json 'd["losses"]["incomplete"] == 0'
}

cases+=("8 late_exit 60: a program that leaves while the library, just loaded, begins: its status, and a readable file")
case_late_exit() {
  local program ms file
  program=$(cuda_program life)
  for ms in 0 1 5 10 15 20 30 40 50 60 80 100 150 300; do
    status 0 "$program" load "$ms.json" "$("$warpscope" lib)" $ms
  done
  for file in ./*.wscap; do
    "$warpscope" recover "$file" || grep -q -E 'recorded anything|nothing can be recovered' <<<"$("$warpscope" recover "$file" 2>&1)"
  done
}

cases+=("8 pid_namespace 60: a program in another PID namespace, as in a container")
case_pid_namespace() {
  local launch how=(unshare --pid --fork)
  launch=$(launch_program)
  "${how[@]}" true 2>/dev/null || how=(unshare --user --map-root-user --pid --fork)
  "${how[@]}" true 2>/dev/null || skip "no PID namespace can be made here"
  # A shell between them: the first process of a namespace gets no signal that it does not handle.
  status 0 "$warpscope" run -o t.wscope -- "${how[@]}" sh -c '"$@"; exit $?' sh "$launch" plain 5000 count.json
  same t.wscope count.json
  check t.wscope.json 'len(d["processes"]) == 1 and 0 < d["processes"][0]["inner_pid"] < 10 and d["processes"][0]["pid"] > d["processes"][0]["inner_pid"]'
}

cases+=("8 privileges 60: a setuid program and a static one: they run, and nothing of warpscope is in them")
case_privileges() {
  local launch dir
  launch=$(launch_program)
  printf '#include <stdio.h>\nint main(void) { puts("static"); return 7; }\n' >static.c
  gcc -static -o static static.c || skip "no static C library here"
  status 7 "$warpscope" run -o static.wscope -- ./static
  "$warpscope" inspect --json static.wscope >static.json
  check static.json 'not d["processes"]'
  [ "$(id -u)" = 0 ] || skip "needs root, to make a program that belongs to another user"
  dir=$(mktemp -d)
  chmod 777 "$dir"
  cp "$launch" "$dir/own"
  chown 65534:65534 "$dir/own"
  chmod 4755 "$dir/own"
  (cd "$dir" && status 0 "$warpscope" run -o t.wscope -- ./own plain 1000 count.json) >said 2>&1 || { cat said && return 1; }
  cat said
  [ "$(stat -c %u "$dir/count.json")" = 65534 ] || skip "setuid programs do not change the user here"
  inspect "$dir/t.wscope"
  check "$dir/t.wscope.json" '(d.get("kernels") or {"all": {"count": 0}})["all"]["count"] == 0'
  check "$dir/t.wscope.json" 'any("used CUDA" in n or "not recorded" in n for n in d["provenance"]["notes"])'
  echo "figure setuid: the program's status is 0 and it says: $(grep -m 1 -i -E 'used CUDA|not recorded' said)"
  rm -r "$dir"
}

cases+=("8 short_memory 120: a program that is short of memory on the host and on the GPU at once: it ends as without capture")
case_short_memory() {
  cat >short.py <<'PYTHON'
import resource, sys
import torch
x = torch.ones(1 << 20, device="cuda")
torch.cuda.synchronize()
with open("/proc/self/statm") as f:  # as much more as it has, and no more
    now = int(f.read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (now + (48 << 20), resource.RLIM_INFINITY))
held, size = [], 1 << 30
while size >= 2 << 20:
    try:
        held.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
    except torch.OutOfMemoryError:
        size //= 2
free, _ = torch.cuda.mem_get_info()
for _ in range(20000):
    x.cos_()
torch.cuda.synchronize()
open(sys.argv[1], "w").write(f"{free >> 10} {len(held)}")
PYTHON
  PYTORCH_NO_CUDA_MEMORY_CACHING=1 "$python" short.py bare || skip "it does not work without capture either"
  PYTORCH_NO_CUDA_MEMORY_CACHING=1 status 0 "$warpscope" run --no-python -o t.wscope -- "$python" short.py traced
  inspect t.wscope
  check t.wscope.json 'sum(g["count"] for g in d["kernels"]["groups"] if "cos" in g["name"]) + d["losses"]["lost"] >= 20000'
  echo "figure 48 MiB of address space and the GPU full: free KiB and blocks $(cat bare) bare, $(cat traced) traced; $(field t.wscope.json 'd["kernels"]["all"]["count"]') kernels recorded, $(field t.wscope.json 'd["losses"]["lost"]') counted as lost"
}
