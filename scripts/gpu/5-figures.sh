# Part 5: figures. Nothing here passes or fails by a time.
# shellcheck shell=bash disable=SC2154 # its variables come from gpu-test.sh and helpers.sh

cases+=("5 cost 420: what capture costs, interleaved process by process")
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

cases+=("5 launch_cost 200: what a launch costs, interleaved")
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
