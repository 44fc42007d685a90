#!/usr/bin/env bash
# What capture costs, against CUPTI itself and against other profilers. docs/overhead.md explains it.
#
#   overhead.sh --part N [--quick] [--seconds S] [--results DIR] [--work DIR]
#   overhead.sh --table [--results DIR]     the table, and overhead.json and overhead.md beside the results
#   overhead.sh --list                      what the parts are
#   overhead.sh --ladder inside|residue [--seconds S]   what each part of CUPTI costs, and leaves behind
#   overhead.sh --simulate                  checks the statistics on invented times of known effect
#   overhead.sh --dry-run                   runs everything once on the simulated device (make build)
#   overhead.sh --build                     compiles libbare.so and libcalls.so into bin/overhead (gcc)
#
# Runs from an unpacked bundle (`make gpu-bundle`) or from the repository, on a machine with an NVIDIA
# GPU and a python3 with PyTorch; needs no Go and no network. A part takes at most 8 minutes, --quick
# about 2; finished sessions are kept in DIR/overhead.jsonl, and a rerun makes those that are missing.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
here=$root/scripts/overhead
python=${PYTHON:-python3}
results=$PWD/overhead-results
work=${TMPDIR:-/tmp}/warpscope-overhead
mode=
pass=()

while [ $# -gt 0 ]; do
  case $1 in
    --part) mode=part && pass+=(--part "$2") && shift ;;
    --seconds) pass+=(--seconds "$2") && shift ;;
    --quick) pass+=(--quick) ;;
    --results) results=$2 && shift ;;
    --work) work=$2 && shift ;;
    --table) mode=table ;;
    --list) mode=list ;;
    --simulate) mode=simulate ;;
    --ladder) mode=ladder && ladder=$2 && shift ;;
    --dry-run) mode=dry ;;
    --build) mode=build ;;
    *) mode= && break ;;
  esac
  shift
done

build() {
  local out=$root/bin/overhead
  local flags=(-std=c11 -D_GNU_SOURCE= -O2 -g -fPIC -shared -fvisibility=hidden -Wall -Wextra -Wconversion -Wshadow
    "-I$root/cupti" "-I$root/cupti/include")
  mkdir -p "$out"
  "${CC:-gcc}" "${flags[@]}" -o "$out/libbare.so" "$here/bare.c" "$root/cupti/ws_load.c" "$root/cupti/ws_calls.c" -ldl
  "${CC:-gcc}" "${flags[@]}" -o "$out/libcalls.so" "$here/calls.c" -ldl -lpthread
}

case $mode in
  part)
    if [ ! -f "$root/bin/overhead/libbare.so" ]; then
      build
    fi
    exec "$python" "$here/conduct.py" "${pass[@]}" --results "$results" --work "$work" --bin "$root/bin"
    ;;
  ladder)
    if [ ! -f "$root/bin/overhead/libbare.so" ]; then
      build
    fi
    seconds=20
    for i in "${!pass[@]}"; do [ "${pass[$i]}" = --seconds ] && seconds=${pass[$((i + 1))]}; done
    exec "$python" "$here/ladder.py" "$ladder" "$root/bin/overhead" "$seconds"
    ;;
  table) exec "$python" "$here/table.py" "$results" ;;
  list) exec "$python" "$here/plan.py" ;;
  simulate) exec "$python" "$here/simulate.py" ;;
  dry) build && exec "$python" "$here/dryrun.py" "$root/bin" ;;
  build) build ;;
  *)
    sed -n '2,15s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
