# Part 4: generation, Python children, the demo, what a trace tells.
# shellcheck shell=bash disable=SC2154 # its variables come from gpu-test.sh and helpers.sh

cases+=("4 generate 240: transformers, token by token, against torch.profiler; size a kernel")
case_generate() {
  local count
  "$python" -c 'import transformers' || skip "no transformers here"
  count=$(counted generate-200 "$workloads/generate.py" 200)
  "$warpscope" run -o t.wscope -- "$python" "$workloads/generate.py" 200
  same t.wscope "$count"
  bytes_per_kernel t.wscope
}

cases+=("4 generate_preload 240: transformers with LD_PRELOAD alone, then recover")
case_generate_preload() {
  local count
  "$python" -c 'import transformers' || skip "no transformers here"
  count=$(counted generate-200 "$workloads/generate.py" 200)
  LD_PRELOAD=$("$warpscope" lib) "$python" "$workloads/generate.py" 200
  "$warpscope" recover -o t.wscope ./*.wscap
  same t.wscope "$count"
}

cases+=("4 children 240: Python children by spawn, each on the GPU, leaving by os._exit")
case_children() {
  "$warpscope" run -o t.wscope -- "$python" "$workloads/children.py" 3
  inspect t.wscope
  check t.wscope.json 'sum(p["kernels"] > 0 for p in d["processes"]) == 3'
  check t.wscope.json 'len({p["kernels"] for p in d["processes"] if p["kernels"] > 0}) == 1'
}

cases+=("4 demo 120: warpscope demo on the GPU, against its own counts")
case_demo() {
  "$warpscope" run -o t.wscope -- "$warpscope" demo --counts count.json
  same t.wscope count.json
  check t.wscope.json 'not d["simulated"]'
}

cases+=("4 demo_in_process 120: the same, captured by the agent itself")
case_demo_in_process() {
  "$warpscope" demo --capture in-process -o t.wscope --counts count.json
  same t.wscope count.json
}

cases+=("4 stacks 120: allocations have stacks that reach the program's main")
case_stacks() {
  local launch
  launch=$(launch_program)
  "$warpscope" run -o t.wscope -- "$launch" leak 64 count.json
  inspect t.wscope
  check t.wscope.json 'any(frame.get("symbol") == "main" for p in d["memory"]["processes"] for l in p["largest_live"] for frame in l["stack"])'
}

cases+=("4 samples 120: NVML's readings are in the trace")
case_samples() {
  "$warpscope" run -o t.wscope -- "$python" "$workloads/train_gpt.py" gpu 60
  "$warpscope" inspect --json t.wscope >t.json
  check t.json 'any(g.get("nvml") for g in d["gpus"])'
}
