# Part 5: figures. Nothing here passes or fails by a time. What capture costs is scripts/overhead.sh's matter.
# shellcheck shell=bash disable=SC2154 # its variables come from gpu-test.sh and helpers.sh

cases+=("5 launch_cost 200: what a launch costs, interleaved")
case_launch_cost() {
  local launch
  launch=$(launch_program)
  for _ in 1 2 3; do
    "$launch" time 100000 | sed 's/^/bare /' | tee -a times
    "$warpscope" run --force -o t.wscope --mode ledger -- "$launch" time 100000 2>/dev/null | sed 's/^/ledger /' | tee -a times
    "$warpscope" run --force -o t.wscope --api none -- "$launch" time 100000 2>/dev/null | sed 's/^/timeline,--api=none /' | tee -a times
    "$warpscope" run --force -o t.wscope -- "$launch" time 100000 2>/dev/null | sed 's/^/timeline /' | tee -a times
  done
  awk '{n[$1]++; v[$1, n[$1]] = $2}
    END {for (how in n) {m = v[how, 1]; for (i = 2; i <= n[how]; i++) if (v[how, i] < m) m = v[how, i]
      printf "figure empty kernel, %s: %.0f ns a launch (best of %d x 100000, completion included)\n", how, m, n[how]}}' times
}
