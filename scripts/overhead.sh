#!/usr/bin/env bash
# What capture costs, against CUPTI itself and against other profilers. docs/overhead.md explains it.
#
#   overhead.sh --run [--limit SECONDS] [--only KEY,...] [--again] [--results DIR] [--work DIR]
#   overhead.sh --table [--results DIR]     the table, and overhead.json and overhead.md beside the results
#   overhead.sh --list                      what is measured
#   overhead.sh --ladder inside|residue [--seconds S]   what each part of CUPTI costs, and leaves behind
#   overhead.sh --simulate                  checks the statistics on invented times of known effect
#   overhead.sh --dry-run                   runs everything once on the simulated device (make build)
#   overhead.sh --build                     compiles its libraries into bin/overhead (gcc)
#
# Runs from an unpacked bundle (`make gpu-bundle`) or from the repository, on a machine with an NVIDIA
# GPU and a python3 with PyTorch; needs no Go and no network. A run takes at most SECONDS (8 minutes);
# finished workloads are kept in DIR/overhead.jsonl, and the same command again runs those that are missing.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
here=$root/scripts/overhead
python=${PYTHON:-python3}
results=$PWD/overhead-results
work=${TMPDIR:-/tmp}/warpscope-overhead
mode=
seconds=20
pass=()

while [ $# -gt 0 ]; do
  case $1 in
    --run) mode=run ;;
    --limit) pass+=(--limit "$2") && shift ;;
    --only) pass+=(--only "$2") && shift ;;
    --again) pass+=(--again) ;;
    --seconds) seconds=$2 && shift ;;
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
  "${CC:-gcc}" "${flags[@]}" -o "$out/libbare.so" "$here/bare.c" "$here/pool.c" "$root/cupti/ws_load.c" "$root/cupti/ws_calls.c" -ldl
  "${CC:-gcc}" "${flags[@]}" -o "$out/libcalls.so" "$here/calls.c" -ldl -lpthread
  # Linked to CUPTI by name; the machine that builds it need not have one.
  mkdir -p "$out/stub"
  "${CC:-gcc}" -shared -Wl,-soname,libcupti.so.13 -o "$out/stub/libcupti.so.13" -x c /dev/null
  "${CC:-gcc}" "${flags[@]}" -o "$out/libbetween.so" "$here/between.c" "$here/pool.c" "$root/cupti/ws_calls.c" -Wl,--no-as-needed "$out/stub/libcupti.so.13" -ldl
  rm -r "$out/stub"
}

case $mode in
  run)
    if [ ! -f "$root/bin/overhead/libbetween.so" ]; then
      build
    fi
    exec "$python" "$here/conduct.py" "${pass[@]}" --results "$results" --work "$work" --bin "$root/bin"
    ;;
  ladder)
    if [ ! -f "$root/bin/overhead/libbare.so" ]; then
      build
    fi
    exec "$python" "$here/ladder.py" "$ladder" "$root/bin/overhead" "$seconds"
    ;;
  table) exec "$python" "$here/table.py" "$results" ;;
  list) exec "$python" "$here/plan.py" ;;
  simulate) exec "$python" "$here/simulate.py" ;;
  dry) build && exec "$python" "$here/dryrun.py" "$root/bin" ;;
  build) build ;;
  *)
    sed -n '2,16s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
