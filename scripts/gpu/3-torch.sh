# Part 3: PyTorch.
# shellcheck shell=bash disable=SC2154 # its variables come from gpu-test.sh and helpers.sh

cases+=("3 train 240: PyTorch training, GPU-bound, against torch.profiler; size a kernel")
case_train() {
  local count
  count=$(counted train-gpu-30 "$workloads/train_gpt.py" gpu 30)
  "$warpscope" run -o t.wscope -- "$python" "$workloads/train_gpt.py" gpu 30
  same t.wscope "$count"
  bytes_per_kernel t.wscope
}

cases+=("3 train_launch 240: PyTorch training, launch-bound, against torch.profiler")
case_train_launch() {
  local count
  count=$(counted train-launch-30 "$workloads/train_gpt.py" launch 30)
  "$warpscope" run -o t.wscope -- "$python" "$workloads/train_gpt.py" launch 30
  same t.wscope "$count"
  bytes_per_kernel t.wscope
}

cases+=("3 train_preload 240: PyTorch training with LD_PRELOAD alone, then recover")
case_train_preload() {
  local count
  count=$(counted train-gpu-30 "$workloads/train_gpt.py" gpu 30)
  LD_PRELOAD=$("$warpscope" lib) "$python" "$workloads/train_gpt.py" gpu 30
  ls -ls ./*.wscap
  "$warpscope" recover -o t.wscope ./*.wscap
  same t.wscope "$count"
}

cases+=("3 train_nvtx 240: NVTX ranges of PyTorch: one a step and three inside each")
case_train_nvtx() {
  "$warpscope" run -o t.wscope -- "$python" "$workloads/train_gpt.py" gpu 10 --warmup 0 --nvtx
  inspect t.wscope
  check t.wscope.json 'sum(r["count"] for r in d["nvtx"]["ranges"] if not r.get("domain")) == 40'
}

cases+=("3 expandable_segments 240: PyTorch's VMM allocator: mapped bytes match what torch reserved")
case_expandable_segments() {
  PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True "$warpscope" run -o t.wscope -- "$python" "$workloads/reserve.py" count.json
  inspect t.wscope
  check t.wscope.json 'max(t["peak_bytes"] for p in d["memory"]["processes"] for t in p["totals"] if t["kind"] == "device") >= '"$(field count.json 'd["peak_reserved"]')"
  check t.wscope.json 'any(s["space"] == "physical" and s["allocations"] > 0 for p in d["memory"]["processes"] for t in p["totals"] for s in t["spaces"])'
}

cases+=("3 async_backend 240: PyTorch's cudaMallocAsync backend: allocations in the pool")
case_async_backend() {
  PYTORCH_CUDA_ALLOC_CONF=backend:cudaMallocAsync "$warpscope" run -o t.wscope -- "$python" "$workloads/reserve.py" count.json
  inspect t.wscope
  check t.wscope.json 'any(s["space"] == "pool" and s["allocations"] > 0 for p in d["memory"]["processes"] for t in p["totals"] for s in t["spaces"])'
}

cases+=("3 native_allocator 240: PyTorch's own allocator: every segment is a cudaMalloc")
case_native_allocator() {
  "$warpscope" run -o t.wscope -- "$python" "$workloads/reserve.py" count.json
  inspect t.wscope
  # torch counts its segments; other libraries allocate beside it, so the trace has at least as many.
  check t.wscope.json 'sum(l["allocations"] for p in d["memory"]["processes"] for t in p["totals"] for l in t["libraries"] if l["library"].startswith("libc10_cuda")) == '"$(field count.json 'd["segments_allocated"]')"
}

cases+=("3 torch_out_of_memory 240: PyTorch running out of memory: the failed call, with torch's own library")
case_torch_out_of_memory() {
  "$warpscope" run -o t.wscope -- "$python" "$workloads/reserve.py" count.json --too-much
  inspect t.wscope
  check t.wscope.json 'any(f["result"] == 2 and "c10_cuda" in f["library"] for p in d["memory"]["processes"] for f in p["failures"])'
}

cases+=("3 torch_graph 240: PyTorch replaying a CUDA graph, at graph level")
case_torch_graph() {
  "$warpscope" run -o t.wscope -- "$python" "$workloads/train_gpt.py" launch 50 --graph
  inspect t.wscope
  check t.wscope.json 'd["graph_launches"]["count"] == 50'
}

cases+=("3 torch_graph_nodes 240: the same node by node, against torch.profiler")
case_torch_graph_nodes() {
  local count
  count=$(counted train-graph-50 "$workloads/train_gpt.py" launch 50 --graph)
  "$warpscope" run -o t.wscope --graphs=node -- "$python" "$workloads/train_gpt.py" launch 50 --graph
  same t.wscope "$count"
}
