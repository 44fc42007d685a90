#!/usr/bin/env bash
# test-c.sh BUILD-DIR [RESULTS]: runs the C tests built in BUILD-DIR/ctest. Each is a program that
# prints "ok" last and exits 0; whatever else one does is a failure, and its output is shown.
set -u
build=$1
results=${2:-}
if [ -z "$results" ]; then
  results=$build/ctest.results
  rm -f "$results"
fi
sim=bin/sim
[ "$build" = build/plain ] || sim=$build/sim

# Sanitizers: a finding ends the program with a status of its own, not with a warning.
export ASAN_OPTIONS=${ASAN_OPTIONS:-abort_on_error=0:exitcode=98:detect_leaks=1:detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:exitcode=98:second_deadlock_stack=1}

status=0
ran=0
for test in "$build"/ctest/*; do
  if [ ! -x "$test" ] || [ -d "$test" ]; then
    continue # the compiler's dependency files
  fi
  name=$(basename "$test")
  # A binary left over from a source that is gone is no test of this tree.
  if [ ! -f "cupti/ctest/$name.c" ] && [ ! -f "cupti/sim/ctest/$name.c" ]; then
    rm -f "$test"
    continue
  fi
  ran=$((ran + 1))
  output=$(LD_LIBRARY_PATH=$sim timeout 120 "$test" 2>&1)
  rc=$?
  if [ $rc -eq 0 ] && [ "$(tail -n 1 <<<"$output")" = ok ]; then
    echo "pass C:$(basename "$build") $name" >>"$results"
  else
    echo "fail C:$(basename "$build") $name (exit status $rc)" >>"$results"
    printf '%s\n' "--- C test $name: exit status $rc" "$output"
    status=1
  fi
done
if [ $ran -eq 0 ]; then
  echo "fail C:$(basename "$build"): no C test was built" >>"$results"
  echo "no C test was built in $build/ctest" >&2
  status=1
fi
echo "C tests ($(basename "$build")): $ran run"
exit $status
