# Part 2: processes: children, kills, attaching without the agent, programs without CUDA.
# shellcheck shell=bash disable=SC2154 # its variables come from gpu-test.sh and helpers.sh

cases+=("2 fork 120: parent and child of a fork, in one trace")
case_fork() {
  local launch
  launch=$(launch_program)
  "$warpscope" run -o t.wscope -- "$launch" fork 3000 count.json
  same t.wscope count.json
  check t.wscope.json 'sum(p["kernels"] > 0 for p in d["processes"]) == 2'
}

cases+=("2 exec 120: a program started by a shell started by a shell")
case_exec() {
  local launch
  launch=$(launch_program)
  "$warpscope" run -o t.wscope -- sh -c "sh -c '$launch plain 1000 count.json'; $launch plain 1000 count2.json"
  same t.wscope count.json -times 2
}

cases+=("2 program_killed 120: SIGKILL of the program: what was published is there")
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

cases+=("2 agent_killed 120: SIGKILL of the agent: the program goes on, the file is readable")
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

cases+=("2 preload_alone 120: LD_PRELOAD alone, then recover")
case_preload_alone() {
  local launch
  launch=$(launch_program)
  LD_PRELOAD=$("$warpscope" lib) "$launch" plain 20000 count.json
  ls -ls ./*.wscap
  "$warpscope" recover -o t.wscope ./*.wscap
  same t.wscope count.json
}

cases+=("2 injection_alone 120: CUDA_INJECTION64_PATH alone, then recover")
case_injection_alone() {
  local launch
  launch=$(launch_program)
  CUDA_INJECTION64_PATH=$("$warpscope" lib) "$launch" plain 20000 count.json
  "$warpscope" recover -o t.wscope ./*.wscap
  # Without the preload nobody sets NVTX_INJECTION64_PATH: ranges are not recorded.
  "$python" -c 'import json; d = json.load(open("count.json")); del d["nvtx_ranges"]; json.dump(d, open("count2.json", "w"))'
  same t.wscope count2.json
}

cases+=("2 killed_without_agent 120: LD_PRELOAD alone and SIGKILL, then recover")
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

cases+=("2 exit_status 60: exit status and signals pass through")
case_exit_status() {
  status 7 "$warpscope" run -o a.wscope -- sh -c 'exit 7'
  status 143 "$warpscope" run -o b.wscope -- sh -c 'kill -TERM $$'
  status 0 "$warpscope" run -o c.wscope -- true
}

cases+=("2 foreign_injection 60: another tool's injection: no capture, said so, the program runs")
case_foreign_injection() {
  local launch
  launch=$(launch_program)
  CUDA_INJECTION64_PATH=/nonexistent/other.so "$warpscope" run -o t.wscope -- "$launch" plain 100 count.json 2>said
  cat said
  grep -q CUDA_INJECTION64_PATH said
  [ -s count.json ]
}

cases+=("2 no_cuda 120: a program without CUDA: nothing written, nothing printed, what it costs")
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
