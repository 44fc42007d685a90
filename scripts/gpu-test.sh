#!/usr/bin/env bash
# The GPU tier: warpscope against a real driver, CUPTI, PyTorch, transformers and CUDA C++.
#
#   gpu-test.sh [--part N] [--case NAME]... [--results DIR] [--work DIR] [--again]
#   gpu-test.sh --list | --summary [--results DIR]
#
# Runs from an unpacked bundle (`make gpu-bundle`) on a machine with an NVIDIA GPU and a python3 that
# has PyTorch; needs no Go and no network. Cases that passed, by DIR/results.txt, are not run again, so
# that a run cut short goes on where it was; a part takes at most 8 minutes. Traces stay in the work
# folder. The last line is "N passed, N failed[, N skipped]".
set -u
bundle=$(cd "$(dirname "$0")/.." && pwd)
results=$PWD/gpu-results
work=${TMPDIR:-/tmp}/warpscope-gpu-test
part=all
only=()
again=false
mode=run

while [ $# -gt 0 ]; do
  case $1 in
    --part) part=$2 && shift ;;
    --case) only+=("$2") && shift ;;
    --results) results=$2 && shift ;;
    --work) work=$2 && shift ;;
    --again) again=true ;;
    --list) mode=list ;;
    --summary) mode=summary ;;
    --inner) mode=inner && only=("$2") && shift ;; # one case, in this shell
    *)
      sed -n '2,13s/^# \{0,1\}//p' "$0" >&2
      exit 2
      ;;
  esac
  shift
done

cases=() # "PART NAME SECONDS: what it shows"
for file in "$bundle"/scripts/gpu/helpers.sh "$bundle"/scripts/gpu/[1-9]*.sh; do
  # shellcheck source=scripts/gpu/helpers.sh
  . "$file"
done

summary() {
  local passed failed skipped
  passed=$(grep -c '^pass ' "$results/results.txt")
  failed=$(grep -c '^fail ' "$results/results.txt")
  skipped=$(grep -c '^skip ' "$results/results.txt")
  grep '^skip ' "$results/results.txt" | sed 's/^skip /skipped: /'
  grep '^fail ' "$results/results.txt" | sed 's/^fail /FAILED: /'
  if [ "$skipped" -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
  else
    echo "$passed passed, $failed failed"
  fi
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

case $mode in
  list)
    printf '%s\n' "${cases[@]}"
    exit 0
    ;;
  inner)
    mkdir -p "$work/${only[0]}" && cd "$work/${only[0]}" || exit 1
    set -e
    "case_${only[0]}"
    exit 0
    ;;
esac

mkdir -p "$results" "$work"
results=$(cd "$results" && pwd)
work=$(cd "$work" && pwd)
touch "$results/results.txt"
if [ $mode = summary ]; then
  summary
  exit
fi

wanted() { # PART NAME
  local name
  if [ ${#only[@]} -gt 0 ]; then
    for name in "${only[@]}"; do
      [ "$name" = "$2" ] && return 0
    done
    return 1
  fi
  [ "$part" = all ] || [ "$part" = "$1" ]
}

record() { # VERDICT NAME TEXT: the newest verdict of a case replaces its older ones
  grep -v -E "^(pass|fail|skip) $2(:|\$)" "$results/results.txt" >"$results/results.new"
  echo "$1 $2${3:+: $3}" >>"$results/results.new"
  mv "$results/results.new" "$results/results.txt"
}

for line in "${cases[@]}"; do
  read -r number name limit rest <<<"$line"
  limit=${limit%:}
  wanted "$number" "$name" || continue
  if ! $again && grep -q -E "^pass $name(:|\$)" "$results/results.txt"; then
    echo "== $name: passed before"
    continue
  fi
  echo "== $name: $rest"
  rm -rf "${work:?}/$name"
  mkdir -p "$work/$name"
  log=$work/$name/log
  begin=$SECONDS
  # timeout makes a process group: whatever a case leaves behind ends with it.
  timeout -k 5 "$limit" "$bundle/scripts/gpu-test.sh" --inner "$name" --work "$work" --results "$results" >"$log" 2>&1 </dev/null
  rc=$?
  took=$((SECONDS - begin))
  { echo "== $name (exit status $rc, $took s)" && tail -n 40 "$log"; } >>"$results/log.txt"
  grep '^figure ' "$log" | sed "s/^figure /$name: /" | tee -a "$results/figures.txt" | sed 's/^/   /'
  case $rc in
    0) record pass "$name" && echo "   ok, $took s" ;;
    77) record skip "$name" "$(tail -n 1 "$log")" && echo "   skipped: $(tail -n 1 "$log")" ;;
    *)
      record fail "$name" "exit status $rc after $took s"
      echo "   FAILED (exit status $rc):"
      tail -n 25 "$log" | sed 's/^/   | /'
      ;;
  esac
done
summary
