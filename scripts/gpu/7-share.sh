# Part 7: torch.profiler inside a traced program.
# shellcheck shell=bash disable=SC2154 # its variables come from gpu-test.sh and helpers.sh

# profiled MODE: torch.profiler's view without a tracer, made once.
profiled() {
  local out
  out=$(dirname "$PWD")/profiled.$1.json
  if [ ! -s "$out" ]; then
    "$python" "$workloads/profiled.py" run "$1" "$out.new" >&2
    mv "$out.new" "$out"
  fi
  echo "$out"
}

# unprofiled: what the trace holds of the same program without the profiler, made once.
unprofiled() {
  local out
  out=$(dirname "$PWD")/unprofiled.wscope
  if [ ! -s "$out.json" ]; then
    "$warpscope" run -o "$out" -- "$python" "$workloads/profiled.py" run none /dev/null >&2
    inspect "$out"
  fi
  echo "$out.json"
}

# shared MODE: torch.profiler sees what it sees alone, and the trace holds what it holds alone.
shared() {
  local mode=$1 plain alone got=0
  plain=$(profiled "$mode")
  alone=$(unprofiled)
  WARPSCOPE_DEBUG=$PWD/calls.txt "$warpscope" run -o t.wscope -- "$python" "$workloads/profiled.py" run "$mode" shared.json
  echo "--- calls by name and result"
  sed 's/^[0-9.]* [0-9/]* //' calls.txt | sed 's/: [0-9]* records//; s/0x[0-9a-f]*/P/' | sort | uniq -c | sort -rn | head -n 60
  echo "--- the first calls and the flushes"
  head -n 40 calls.txt
  grep FlushAll calls.txt | tail -n 12
  "$python" "$workloads/profiled.py" compare "$plain" shared.json || got=1
  inspect t.wscope
  "$python" - t.wscope.json "$alone" "$mode" <<'END' || got=1
import json, sys

shared, alone = (json.load(open(p)) for p in sys.argv[1:3])
names = [{k["name"]: k["count"] for k in d["kernels"]["groups"]} for d in (shared, alone)]
counts = [d["kernels"]["all"]["count"] for d in (shared, alone)]
if sys.argv[3] == "graph":  # other work than the run without the profiler
    print(f"figure trace: {counts[0]} kernels, the graphs' nodes among them; {shared['losses']['lost']} records lost")
    sys.exit(not shared["losses"]["known"] or shared["losses"]["lost"] != 0)
print(f"figure trace: {counts[0]} kernels with torch.profiler, {counts[1]} without")
calls = [sum(r["recorded"] for r in d["records"] if r["kind"] == "calls") for d in (shared, alone)]
print(f"figure trace: {calls[0]} calls with torch.profiler, {calls[1]} without")
print("losses:", json.dumps(shared.get("losses")))
for name in sorted(set(names[0]) | set(names[1])):
    if names[0].get(name) != names[1].get(name):
        print("differs:", names[0].get(name), names[1].get(name), name[:100])
# The profiler waits for the GPU at its own ends, which is a call or two.
sys.exit(counts[0] != counts[1] or abs(calls[0] - calls[1]) > 20)
END
  return $got
}

cases+=("7 share_idle 60: a program that idles, and one kernel of two seconds: nobody has taken anything")
case_share_idle() {
  "$warpscope" run -o t.wscope -- "$python" "$workloads/robbed.py" 2>&1 | tee said.txt
  if grep -q "took CUPTI's records" said.txt; then return 1; fi
  inspect t.wscope
  check t.wscope.json 'd["losses"]["known"] and d["losses"]["lost"] == 0'
}

cases+=("7 share_tsc 100: torch.profiler with CUPTI's clock a TSC from the start (WARPSCOPE_SHARE_CLOCK=tsc)")
case_share_tsc() { WARPSCOPE_SHARE_CLOCK=tsc shared twice; }

cases+=("7 share_ledger 100: torch.profiler beside the ledger alone")
case_share_ledger() {
  local plain
  plain=$(profiled twice)
  WARPSCOPE_DEBUG=$PWD/calls.txt "$warpscope" run --mode ledger -o t.wscope -- "$python" "$workloads/profiled.py" run twice shared.json
  head -n 40 calls.txt
  "$python" "$workloads/profiled.py" compare "$plain" shared.json
}

cases+=("7 share_proton 90: Triton's profiler, which finds CUPTI by dlsym: it counts what it counts alone, the trace lacks nothing")
case_share_proton() {
  cat >proton.py <<'END'
import json, sys
import torch, triton.profiler as proton
x = torch.randn(256, 256, device="cuda")
y = torch.relu(x @ x)  # cuBLAS chooses before
torch.cuda.synchronize()
for round in range(2):
    proton.start(f"{sys.argv[1]}{round}")
    for _ in range(100):
        y = torch.relu(x @ x)
    torch.cuda.synchronize()
    proton.finalize()
def count(node):
    return node.get("metrics", {}).get("count", 0) + sum(count(c) for c in node.get("children", []))
for round in range(2):
    with open(f"{sys.argv[1]}{round}.hatchet") as file:
        print("proton counted", sum(count(n) for n in json.load(file)))
END
  "$python" proton.py alone >alone.txt 2>&1 || skip "Proton does not work here without warpscope: $(tail -n 1 alone.txt)"
  WARPSCOPE_DEBUG=$PWD/calls.txt "$warpscope" run -o t.wscope -- "$python" proton.py traced >traced.txt 2>&1 || { cat traced.txt; return 1; }
  cat traced.txt
  echo "figure Proton alone: $(grep counted alone.txt | tr '\n' ' '), traced: $(grep counted traced.txt | tr '\n' ' ')"
  head -n 60 calls.txt
  inspect t.wscope
  check t.wscope.json 'd["kernels"]["all"]["count"] >= 400 and d["losses"]["known"] and d["losses"]["lost"] == 0'
  diff <(grep counted alone.txt) <(grep counted traced.txt)
}

cases+=("7 share_jax 90: JAX's profiler, which finds CUPTI by dlsym: it runs, and the trace lacks nothing")
case_share_jax() {
  needs_python jax
  cat >profile_jax.py <<'END'
import glob, gzip, json, sys
import jax, jax.numpy as jnp
f = jax.jit(lambda x: jnp.cos(x @ x))
x = f(jnp.ones((256, 256))).block_until_ready()
with jax.profiler.trace(sys.argv[1], create_perfetto_trace=True):
    for _ in range(100):
        x = f(x)
    x.block_until_ready()
path = glob.glob(f"{sys.argv[1]}/**/perfetto_trace.json.gz", recursive=True)[0]
with gzip.open(path, "rt") as file:
    events = json.load(file)["traceEvents"]
streams = {(e["pid"], e.get("tid")) for e in events if e.get("name") == "thread_name" and "Stream" in e["args"]["name"]}
print("jax counted", sum(1 for e in events if e.get("ph") == "X" and (e["pid"], e.get("tid")) in streams))
END
  "$python" profile_jax.py alone >alone.txt 2>&1 || skip "JAX's profiler does not work here without warpscope: $(tail -n 1 alone.txt)"
  "$warpscope" run -o t.wscope -- "$python" profile_jax.py traced >traced.txt 2>&1 || { cat traced.txt; return 1; }
  cat traced.txt
  echo "figure JAX alone: $(grep counted alone.txt), traced: $(grep counted traced.txt)"
  inspect t.wscope
  check t.wscope.json 'd["kernels"]["all"]["count"] >= 200 and d["losses"]["known"] and d["losses"]["lost"] == 0'
  diff <(grep counted alone.txt) <(grep counted traced.txt)
}

cases+=("7 share_ctypes 60: a profiler written in Python with ctypes: it counts what it counts alone, the trace lacks nothing")
case_share_ctypes() {
  cat >monitor.py <<'END'
import ctypes as c
import torch

x = torch.randn(256, 256, device="cuda")
torch.cuda.synchronize()
cupti = c.CDLL("libcupti.so.13")  # the one that PyTorch has loaded
buffers, kernels, others = [], 0, 0
REQUEST = c.CFUNCTYPE(None, c.POINTER(c.c_void_p), c.POINTER(c.c_size_t), c.POINTER(c.c_size_t))
COMPLETE = c.CFUNCTYPE(None, c.c_void_p, c.c_uint32, c.c_void_p, c.c_size_t, c.c_size_t)

def requested(data, size, most):
    buffers.append(c.create_string_buffer(1 << 20))
    data[0], size[0], most[0] = (c.addressof(buffers[-1]) + 63) & ~63, (1 << 20) - 64, 0

def completed(context, stream, data, size, valid):
    global kernels, others
    record = c.c_void_p()
    while cupti.cuptiActivityGetNextRecord(c.c_void_p(data), c.c_size_t(valid), c.byref(record)) == 0:
        if c.c_uint32.from_address(record.value).value == 10:
            kernels += 1
        else:
            others += 1

keep = REQUEST(requested), COMPLETE(completed)
assert cupti.cuptiActivityRegisterCallbacks(*keep) == 0
for round in range(2):
    kernels = 0
    assert cupti.cuptiActivityEnable(10) == 0
    for _ in range(500):
        torch.relu(x)
    torch.cuda.synchronize()
    assert cupti.cuptiActivityFlushAll(1) == 0
    assert cupti.cuptiActivityDisable(10) == 0
    print("counted", kernels, others)
END
  "$python" monitor.py >alone.txt 2>&1 || skip "it does not work here without warpscope: $(tail -n 1 alone.txt)"
  "$warpscope" run -o t.wscope -- "$python" monitor.py >traced.txt 2>&1 || { cat traced.txt; return 1; }
  cat traced.txt
  echo "figure by ctypes, alone: $(grep counted alone.txt | tr '\n' ' '), traced: $(grep counted traced.txt | tr '\n' ' ')"
  inspect t.wscope
  check t.wscope.json 'd["kernels"]["all"]["count"] >= 1000 and d["losses"]["known"] and d["losses"]["lost"] == 0'
  diff <(grep counted alone.txt) <(grep counted traced.txt)
}

cases+=("7 share_twice 100: torch.profiler twice in a row, CUDA only: both see everything")
case_share_twice() { shared twice; }

cases+=("7 share_first 100: torch.profiler on before CUDA is")
case_share_first() { shared first; }

cases+=("7 share_graph 100: torch.profiler and a CUDA graph: it sees the nodes")
case_share_graph() { shared graph; }

cases+=("7 share_teardown 100: torch.profiler twice with TEARDOWN_CUPTI=1: cuptiFinalize is swallowed")
case_share_teardown() { TEARDOWN_CUPTI=1 shared twice; }

cases+=("7 share_robbed 60: a tool that finds CUPTI by dlsym takes its buffers: the trace says so")
case_share_robbed() {
  command -v gcc >/dev/null || skip "no C compiler here"
  gcc -O1 -shared -fPIC -o thief.so "$workloads/thief.c" -ldl
  "$warpscope" run -o t.wscope -- "$python" "$workloads/robbed.py" "$PWD/thief.so" 2>&1 | tee said.txt
  grep -q "took CUPTI's records for itself" said.txt
  grep "^take_over 0" said.txt | sed 's/^/figure /'
  inspect t.wscope
  check t.wscope.json 'd["kernels"]["all"]["count"] > 0 and d["losses"]["rows"] != []'
}

cases+=("7 share_both 100: torch.profiler, CPU and CUDA")
case_share_both() { shared both; }

cases+=("7 share_schedule 100: torch.profiler with a schedule, three times round")
case_share_schedule() { shared schedule; }

cases+=("7 share_cuda 100: torch.profiler once, CUDA only")
case_share_cuda() { shared cuda; }
