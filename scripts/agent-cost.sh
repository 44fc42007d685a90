#!/usr/bin/env bash
# agent-cost.sh [KERNELS-A-SECOND [SECONDS [BINARY]]]: what the agent itself takes while it records a program
# on the simulated device that launches so many kernels a second, with a record of each launch call: share
# of a processor and resident memory, of the agent's process alone. Needs make build.
set -eu
cd "$(dirname "$0")/.."
rate=${1:-30000}
seconds=${2:-60}
agent=${3:-bin/warpscope}
sim=$PWD/cupti/sim/lib
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
${CC:-cc} -O2 -o "$dir/paced" internal/e2e/testdata/paced.c "$sim/libcuda.so.1" -lpthread
TALLY=$dir/tally LD_LIBRARY_PATH=$sim "$agent" run -o "$dir/t.wscope" -- "$dir/paced" paced 0 "$rate" "$seconds" >"$dir/log" 2>&1 &
pid=$!

ticks() { awk '{print $14 + $15}' "/proc/$pid/stat"; } # of the agent, not of its children
now() { date +%s%N; }

sleep 2 # for the start
first=$(ticks) from=$(now)
sleep $((seconds - 4))
last=$(ticks) to=$(now)
memory=$(grep -E '^(VmHWM|RssAnon|RssFile|RssShmem)' "/proc/$pid/status" | tr -s '\t ' ' ' | paste -sd';')
wait "$pid" || { cat "$dir/log" >&2; exit 1; }
awk -v t=$((last - first)) -v ns=$((to - from)) -v hz="$(getconf CLK_TCK)" -v rate="$rate" \
  'BEGIN { printf "%d kernels/s: the agent takes %.2f %% of a core\n", rate, 100 * t / hz / (ns / 1e9) }'
echo "$memory"
grep -E 'recorded|lost' "$dir/log"
