# Part 1: the machine, Go's own tests, a CUDA C++ program.
# shellcheck shell=bash disable=SC2154 # its variables come from gpu-test.sh and helpers.sh

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
  WARPSCOPE_REQUIRE=gpu ./cuda.test -test.v -test.skip '^TestSimulated' -test.timeout 180s
}

cases+=("1 cupti_package 200: package cupti's tests, in-process capture among them, on the real CUPTI")
case_cupti_package() {
  cd "$bundle/cupti" || return 1
  WARPSCOPE_REQUIRE=gpu ./cupti.test -test.v -test.timeout 180s
}

cases+=("1 kernels_package 120: kernels compute what they say: the demo's from machine code and from PTX, products of all types, attention, memory; the launch loop")
case_kernels_package() {
  cd "$bundle/kernels" || return 1
  WARPSCOPE_REQUIRE=gpu ./kernels.test -test.v -test.run '^(TestKernelsComputeWhatTheySay|TestProducts|TestAttention|TestStreams|TestLoopLaunchesAsOftenAsItSays)$' -test.timeout 100s
}

cases+=("1 kernels_sanitized 300: compute-sanitizer finds nothing in the kernels: bounds, races, barriers, memory read before it is written")
case_kernels_sanitized() {
  command -v compute-sanitizer >/dev/null || skip "no compute-sanitizer here"
  cd "$bundle/kernels" || return 1
  local tool failed=0 dir
  dir=$(mktemp -d)
  local -A running=()
  for tool in memcheck racecheck synccheck initcheck; do
    WARPSCOPE_REQUIRE=gpu compute-sanitizer --tool "$tool" --error-exitcode 9 ./kernels.test -test.short -test.v \
      -test.run '^(TestStreams|TestAttention|TestProducts)$' >"$dir/$tool" 2>&1 &
    running[$tool]=$!
  done
  for tool in "${!running[@]}"; do
    if ! wait "${running[$tool]}"; then
      failed=1
      grep -v '^=== RUN\|Host Frame' "$dir/$tool" | head -40
    fi
    echo "figure $tool: $(grep SUMMARY "$dir/$tool" | tail -1 | tr -d '=')"
    [ "$(grep -c '^--- PASS' "$dir/$tool")" = 3 ] || failed=1
  done
  rm -r "$dir"
  return $failed
}

cases+=("1 bench_rows 200: bench: every row of every suite is right, at small sizes; CUPTI sees the same runs; what is saved is what inspect judges by")
case_bench_rows() {
  export XDG_CONFIG_HOME=$PWD/config
  local suite size
  while read -r suite size; do
    # shellcheck disable=SC2086 # a suite may have no size
    "$warpscope" bench "$suite" ${size:+--size $size} --duration 0 -o "$suite.json" --json >/dev/null
    check "$suite.json" 'len(d["rows"]) > 4 and all(not r.get("failure") for r in d["rows"])'
    check "$suite.json" 'all(r.get("skipped") or r["verified"]["method"] and r["seconds"]["n"] > 4 for r in d["rows"])'
    echo "figure $suite: $(field "$suite.json" '"%d rows, %d skipped, %.1f s" % (len(d["rows"]), sum("skipped" in r for r in d["rows"]), d["took_seconds"])')"
  done <<<"memory 64M
transfer 4M
matmul 1040x784x2064
attention 2048
latency 16M"
  "$warpscope" bench memory --size 256M --duration 0 --save --trace bench.wscope -o traced.json >/dev/null
  check traced.json 'sum("traced_over_events" in r for r in d["rows"]) == len(d["rows"])'
  echo "figure CUPTI over events: $(field traced.json '" ".join("%.4f" % r["traced_over_events"]["median"] for r in d["rows"])')"
  inspect bench.wscope
  check bench.wscope.json 'd["kernels"]["all"]["count"] > 1000'
  [ -n "$(ls config/warpscope/ceilings/GPU-*.json)" ]
}

cases+=("1 bench_sanitized 240: compute-sanitizer finds nothing in what bench runs: walks, chains, transposes and launches, too")
case_bench_sanitized() {
  command -v compute-sanitizer >/dev/null || skip "no compute-sanitizer here"
  local tool failed=0 suite
  for tool in memcheck racecheck synccheck initcheck; do
    for suite in "memory --size 1M" "matmul --size 256 --dtype bf16,fp32" "attention --size 128" "latency --size 1M"; do
      # shellcheck disable=SC2086 # a suite and its flags
      compute-sanitizer --tool "$tool" --error-exitcode 9 "$warpscope" bench $suite --duration 0 >"$tool-${suite%% *}" 2>&1 &
    done
    wait
  done
  for tool in *-*; do
    echo "figure $tool: $(grep SUMMARY "$tool" | tail -1 | tr -d '=')"
    if ! grep -q 'SUMMARY: 0 \(errors\|hazards\)' "$tool" || ! grep -q 'all results right' "$tool"; then
      failed=1
      grep -v 'Host Frame' "$tool" | grep '=========\|FAILED' | head -20
    fi
  done
  return $failed
}

cases+=("1 demo_package 120: the demo's training loop learns on the real GPU")
case_demo_package() {
  cd "$bundle/agent/demo" || return 1
  WARPSCOPE_REQUIRE=gpu ./demo.test -test.v -test.run '^TestTrainingLearns$' -test.timeout 100s
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
