# Part 9: chaos: mixed programs, random kills. CHAOS_SECONDS (default 600) is shared by two cases, so that a part
# stays short and a run that was cut off goes on with the second.
# shellcheck shell=bash disable=SC2154 # its variables come from gpu-test.sh and helpers.sh

chaos() {
  local endless=
  if command -v nvcc >/dev/null; then
    endless=$(cuda_program endless) # of part 8
  fi
  "$python" "$workloads/chaos.py" "$warpscope" "$workloads" $((${CHAOS_SECONDS:-600} / 2)) "$endless"
}

cases+=("9 chaos_1 $((${CHAOS_SECONDS:-600} / 2 + 150)): mixed programs, programs and agents killed at random moments, first half")
case_chaos_1() { chaos; }

cases+=("9 chaos_2 $((${CHAOS_SECONDS:-600} / 2 + 150)): the same, second half")
case_chaos_2() { chaos; }
