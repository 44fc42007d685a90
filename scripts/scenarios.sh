#!/usr/bin/env bash
# Programs with a known truth, run under warpscope, and its first finding held against that truth.
#
#   scenarios.sh --suite oom|slow [--only NAME]… [--variant 1|2|3]… [--changes 1|2|3]… [--results DIR] [--jobs N] [--again]
#                                                            --changes: the variants with which changes are tried, too
#   scenarios.sh --suite oom|slow --table [--results DIR]    the verdicts so far
#   scenarios.sh --suite oom|slow --list                     the programs, and what each is
#   scenarios.sh --trim DIR --into FOLDER                    small copies of a run's snapshots and traces, with provenance
#   scenarios.sh --self-test                                 the harness itself, on invented runs; needs no GPU
#
# Runs from an unpacked bundle (`make gpu-bundle`) or from the repository, on a machine with an NVIDIA GPU and a
# python3 with PyTorch; needs no Go and no network. Finished runs are kept in DIR/SUITE.jsonl and not made again. The
# last line is "N passed, N failed". docs/scenarios.md explains the programs and how they are judged.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
if [ $# -eq 0 ]; then
  sed -n '2,15s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
exec "${PYTHON:-python3}" "$root/scripts/scenarios/main.py" "$@"
