# helpers.sh: sourced by gpu-test.sh before the cases. A case is a function case_NAME that runs under
# `set -e` in a folder of its own; it fails by any command's failure and skips by `skip REASON`. A line
# "figure TEXT" in its output is kept as a measurement; no case fails by a time.
# shellcheck shell=bash disable=SC2154,SC2034 # bundle comes from gpu-test.sh; the cases use the rest

warpscope=$bundle/bin/warpscope
workloads=$bundle/scripts/workloads
python=${PYTHON:-python3}

skip() {
  echo "$*" >&2 # standard output may be somebody's $(…)
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
    # The driver's own library where the toolkit brings no stub of it to link with.
    nvcc -O2 -std=c++17 -o "$built.new" "$workloads/launch.cu" -lcuda >&2 ||
      nvcc -O2 -std=c++17 -o "$built.new" "$workloads/launch.cu" \
        "$(ldconfig -p | awk '/libcuda\.so\.1 / {print $NF; exit}')" >&2
    mv "$built.new" "$built"
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
