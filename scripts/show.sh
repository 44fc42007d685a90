#!/usr/bin/env bash
# What `make run` shows once everything is built: the main job on a real trace, a live capture, and what
# to type next.
set -eu
cd "$(dirname "$0")/.."

bold() { if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then printf '\n\033[1m%s\033[0m\n\n' "$*"; else printf '\n%s\n\n' "$*"; fi; }

real=testdata/real/gpt-train.wscope
bold "1. A real PyTorch run on a real GPU, recorded by warpscope and bundled with it: warpscope inspect $real"
bin/warpscope inspect $real
bold "   The same program, counted by another tool in a run of its own:"
go build -o build/counts ./internal/counts/cmd/counts
bin/warpscope inspect --json --kernels --copies --memory --nvtx --top 0 $real >build/inspection.json
sed -n 's/^ "source": "\(.*\)",$/   \1/p; s/^ "date": "\(.*\)",$/   \1/p' ${real%.wscope}.count.json
build/counts build/inspection.json ${real%.wscope}.count.json | sed 's/^/   /'

bold "2. A real program that ran out of GPU memory, recorded likewise: warpscope doctor --example optimizer-first-step"
bin/warpscope doctor --example optimizer-first-step

slow=testdata/scenarios/slow/item-1.wscope fixed=testdata/scenarios/slow/item-1.fixed.wscope
bold "3. A real training step that is slow, and why: warpscope doctor --example sync"
bin/warpscope doctor --example sync
if [ -f $fixed ]; then
    bold "   The same program with that change made, in a run of its own: warpscope inspect --diff $slow $fixed"
    bin/warpscope inspect --diff $slow $fixed
else
    bold "   Where the time of that step goes: warpscope inspect --account $slow"
    bin/warpscope inspect --account $slow
fi

trace=build/demo.wscope
rm -f $trace
if bin/warpscope demo --probe >/dev/null 2>&1; then where="this machine's GPU"; else where="the simulated device: this machine has no GPU"; fi
bold "4. A live capture of a small training loop, on $where: warpscope run -o $trace -- warpscope demo"
bin/warpscope run -o $trace -- bin/warpscope demo
echo
bin/warpscope inspect $trace

bold "5. What to type next"
cat <<'NEXT'
   bin/warpscope inspect --kernels testdata/real/gpt-train.wscope     # every kernel: count, time, launch configuration
   bin/warpscope inspect --memory testdata/real/gpt-train.wscope      # where all of a GPU's memory is
   bin/warpscope inspect --account testdata/real/gpt-train.wscope     # where the time of a step goes
   bin/warpscope doctor --example '?'                                 # more real failures and slow steps
   bin/warpscope run -o mine.wscope -- python3 train.py               # your own program
NEXT
