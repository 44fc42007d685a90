# Part 12: every version of CUPTI that this machine has, on a CUDA C++ program and on those of the end-to-end tests.
# CUPTI_COPIES names folders with more copies. Versions are tried at the same time: nothing here is timed.
# shellcheck shell=bash disable=SC2154 # its variables come from gpu-test.sh and helpers.sh

# cupti_copies: "VERSION PATH" of one copy of each version.
cupti_copies() {
  local site path
  site=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  # shellcheck disable=SC2086 # several folders
  find /usr/local /opt /usr/lib "$site" ${CUPTI_COPIES:-} -name 'libcupti.so.*' -type f -size +1M 2>/dev/null |
    while read -r path; do
      "$python" -c 'import ctypes, sys
v = ctypes.c_uint32()
ctypes.CDLL(sys.argv[1]).cuptiGetVersion(ctypes.byref(v))
print(v.value, sys.argv[1])' "$path" 2>/dev/null
    done | sort -n -u -k 1,1
}

# test_program NAME FLAGS: a program of the end-to-end tests, compiled.
test_program() {
  local name=$1 cuda
  shift
  cuda=$(ldconfig -p | awk '/libcuda\.so\.1 / {print $NF; exit}')
  gcc -O1 -o "$PWD/$name" "$@" -I"$bundle/scripts/programs" "$bundle/scripts/programs/$name.c" "$cuda" -ldl -lpthread
}

# tallied FILE FIELD: a figure of the first process in a count of program.h (launches is 1, extra 6).
tallied() {
  "$python" -c 'import struct, sys; print(struct.unpack_from("<8Q", open(sys.argv[1], "rb").read())[int(sys.argv[2])])' "$1" "$2"
}

nothing_lost() { check "$1" 'd["losses"]["known"] and d["losses"]["lost"] == 0'; }

# one_cupti VERSION PATH LAUNCH: everything with one version, in the folder of that name.
one_cupti() {
  local launch=$3 what
  mkdir "$1" && cd "$1" || return 1
  export WARPSCOPE_CUPTI=$2 TRACER=$2

  echo "-- kernels, copies, allocations, ranges"
  "$warpscope" run -o plain.wscope -- "$launch" plain 5000 plain.json || return 1
  same plain.wscope plain.json || return 1
  check plain.wscope.json "d['processes'][0]['cupti_path'] == '$2'" || return 1
  "$warpscope" run --api=all -o all.wscope -- "$launch" plain 5000 all.json || return 1
  same all.wscope all.json || return 1

  echo "-- graphs, whole and node by node"
  "$warpscope" run -o graph.wscope -- "$launch" graph 200 graph.json || return 1
  same graph.wscope graph.json || return 1
  "$warpscope" run --graphs=node -o nodes.wscope -- "$launch" graph 200 nodes.json || return 1
  same nodes.wscope nodes.json -nodes || return 1

  echo "-- graphs that are queued while the timeline is switched"
  TALLY=queued.tally "$warpscope" run -o queued.wscope -- ../graphs queued 0 || return 1
  inspect queued.wscope
  what=$(tallied queued.tally 6)
  check queued.wscope.json "sum(r['recorded'] for r in d['records'] if r['kind'] == 'graph launches') == $what" || return 1
  nothing_lost queued.wscope.json || return 1

  echo "-- a profiler in the program that finds CUPTI by dlsym"
  TALLY=alone.tally ../share profile 0 3 3 0 | sed 's/[0-9]* calls//' | tee alone.txt
  TALLY=shared.tally "$warpscope" run -o shared.wscope -- ../share profile 0 3 3 0 | sed 's/[0-9]* calls//' | tee shared.txt
  diff alone.txt shared.txt || return 1
  grep -q " kernels" shared.txt || return 1
  inspect shared.wscope
  check shared.wscope.json "d['kernels']['all']['count'] == $(tallied shared.tally 1)" || return 1
  nothing_lost shared.wscope.json || return 1

  echo "-- idle, and one kernel of seconds"
  TALLY=idle.tally "$warpscope" run -o idle.wscope -- ../share idle 0 2500 2>idle.said || return 1
  cat idle.said
  inspect idle.wscope
  check idle.wscope.json "d['kernels']['all']['count'] == $(tallied idle.tally 1)" || return 1
  nothing_lost idle.wscope.json || return 1

  echo "-- a tool that takes the buffers"
  TALLY=thief.tally "$warpscope" run -o thief.wscope -- ../share thief 0 2500 2>thief.said || return 1
  cat thief.said
  inspect thief.wscope
  echo "the trace has $(field thief.wscope.json 'd["kernels"]["all"]["count"]') of $(tallied thief.tally 1) kernels, $(tallied thief.tally 5) before it"
  grep -q "took CUPTI's records for itself" thief.said || return 1
}

cases+=("12 versions 150: the whole capture, torch-like and dlsym-like sharing, and theft, with every version of CUPTI here")
case_versions() {
  local launch version path failed=0
  command -v gcc >/dev/null || skip "no C compiler here"
  launch=$(launch_program)
  test_program graphs
  test_program share -DBY_LOADER
  cupti_copies >copies
  [ -s copies ] || skip "no CUPTI here"
  local -A running=()
  while read -r version path; do
    (one_cupti "$version" "$path" "$launch") >"log.$version" 2>&1 &
    running[$version]=$!
  done <copies
  while read -r version path; do
    if wait "${running[$version]}"; then
      echo "figure CUPTI $version: all well; $(grep '^the trace has' "log.$version"); $path"
    else
      failed=1
      echo "figure CUPTI $version: FAILED at $(grep '^--' "log.$version" | tail -n 1); $path"
      tail -n 30 "log.$version" | sed "s/^/$version | /"
    fi
  done <copies
  return $failed
}

# torch_with VERSION PATH: torch.profiler with that CUPTI in the place of PyTorch's own, alone and traced.
torch_with() {
  mkdir "$1" && cd "$1" || return 1
  cat >with.py <<'END'
import ctypes, runpy, sys
ctypes.CDLL(sys.argv[1])  # its name is what PyTorch's libraries ask for: the loader takes this one
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
END
  "$python" with.py "$2" "$workloads/profiled.py" run twice alone.json || return 3
  "$warpscope" run -o t.wscope -- "$python" with.py "$2" "$workloads/profiled.py" run twice shared.json || return 1
  "$python" "$workloads/profiled.py" compare alone.json shared.json || return 1
  inspect t.wscope
  check t.wscope.json "d['processes'][0]['cupti_path'] == '$2'" || return 1
  nothing_lost t.wscope.json
}

cases+=("12 torch_versions 150: torch.profiler twice with every CUPTI 13 here in the place of PyTorch's own")
case_torch_versions() {
  local version path own got failed=0 tried=0
  own=$("$python" -c 'import torch; print(torch.version.cuda.split(".")[0])')
  cupti_copies >copies
  local -A running=()
  while read -r version path; do
    [ $((version / 10000)) = "$own" ] || continue
    (torch_with "$version" "$path") >"log.$version" 2>&1 &
    running[$version]=$!
    tried=$((tried + 1))
  done <copies
  [ $tried -gt 0 ] || skip "no CUPTI of PyTorch's major version here"
  while read -r version path; do
    [ -n "${running[$version]:-}" ] || continue
    got=0
    wait "${running[$version]}" || got=$?
    if [ $got = 3 ]; then
      echo "figure torch.profiler with CUPTI $version: it does not work without warpscope either; $path"
    elif [ $got = 0 ]; then
      echo "figure torch.profiler with CUPTI $version: $(grep -m 1 '^figure session 0' "log.$version" | sed 's/^figure //')"
    else
      failed=1
      echo "figure torch.profiler with CUPTI $version: FAILED; $path"
      tail -n 25 "log.$version" | sed "s/^/$version | /"
    fi
  done <copies
  return $failed
}
