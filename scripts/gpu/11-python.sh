# Part 11: what the module for Python says: operators and modules of sampled steps, stacks, the GIL.
# shellcheck shell=bash disable=SC2154 # its variables come from gpu-test.sh and helpers.sh

# grouped BY: the operators of t.wscope as BY.json.
grouped() { "$warpscope" inspect --json --top 0 --group-by "$1" t.wscope >"$1.json"; }

cases+=("11 python_operators 120: operators, modules and regions of sampled steps: sums, paths, the backward pass, what modules keep")
case_python_operators() {
  "$warpscope" run --force -o t.wscope -- "$python" "$workloads/train_gpt.py" launch 300
  grouped op
  grouped module
  grouped region
  check op.json 'd["operators"]["sampled"] >= 1 and d["operators"]["cost_ns"] > 0'
  check op.json 'sum(r["gpu_self_ns"] for r in d["operators"]["rows"]) == d["operators"]["gpu_ns"] > 0'
  check op.json 'any(r["name"] == "aten::addmm" and r["detail"] and r["kernels"] for r in d["operators"]["rows"])'
  # Some 820 kernels a step: most of them are launched inside operators that were recorded.
  check op.json 'sum(r["kernels"] for r in d["operators"]["rows"]) >= 500 * d["operators"]["sampled"]'
  check module.json 'any(r["name"] == "blocks.3.up" and r["gpu_self_ns"] > r["gpu_backward_ns"] > 0 and r["kept_bytes"] > 0 for r in d["operators"]["rows"])'
  check module.json 'any(r["name"] == "(model)" and r["detail"].startswith("GPT int64") for r in d["operators"]["rows"])'
  check region.json 'any("Optimizer" in r["name"] for r in d["operators"]["rows"])'
  "$warpscope" inspect --group-by op --top 12 t.wscope
  "$warpscope" inspect --group-by module --top 12 t.wscope
  echo "figure a sampled step costs $(field op.json 'd["operators"]["cost_ns"] / d["operators"]["sampled"] / 1e6') ms"
}

cases+=("11 python_stacks 120: where Python was while the GPU was idle, in a launch-bound loop")
case_python_stacks() {
  "$warpscope" run --force -o t.wscope -- "$python" "$workloads/train_gpt.py" launch 300
  "$warpscope" inspect --json --idle t.wscope >idle.json
  check idle.json 'd["idle"]["rows"][0]["gil"]["samples"] >= 50'
  check idle.json 'any(f["file"].endswith("train_gpt.py") for c in d["idle"]["rows"][0]["causes"] for s in c.get("python", {"stacks": []})["stacks"] for f in s["stack"])'
  "$warpscope" inspect --idle t.wscope
}

cases+=("11 python_gil 120: a thread that keeps the GIL is the cause, and named")
case_python_gil() {
  "$warpscope" run --force -o t.wscope -- "$python" "$workloads/python_known.py" hog
  "$warpscope" inspect --json --idle t.wscope >idle.json
  check idle.json 'd["idle"]["rows"][0]["causes"][0]["id"] == "gil"'
  check idle.json 'd["idle"]["rows"][0]["causes"][0]["python"]["gil_holders"][0]["stack"][d["idle"]["rows"][0]["causes"][0]["python"]["gil_holders"][0]["guilty"]]["file"].endswith("python_known.py")'
  "$warpscope" inspect --idle t.wscope
}

cases+=("11 python_profiled 120: the program's own profiler takes precedence and sees all")
case_python_profiled() {
  "$warpscope" run --force -o t.wscope -- "$python" "$workloads/python_known.py" profiled >said.json
  check said.json 'd["recording"] and d["addmm"] == 240 and d["kernels"] > 500'
}

cases+=("11 python_forward 120: a program without steps is sampled by calls of its outermost module")
case_python_forward() {
  "$warpscope" run --force -o t.wscope -- "$python" "$workloads/python_known.py" forward
  grouped module
  check module.json 'd["operators"]["sampled"] >= 4 and any(r["name"] == "blocks.3.up" and r["gpu_self_ns"] > 0 for r in d["operators"]["rows"])'
}
