"""Writes a trace as PyTorch's profiler does, of any length: operators with shapes, calls, kernels, copies, arrows, steps.

    python3 kineto_big.py FILE MEGABYTES        # a FILE of *.gz is compressed

Prints how many kernels there are and how long they ran in all, to hold `warpscope inspect --kernels` against.
"""

import gzip
import random
import sys

HEAD = """{
  "schemaVersion": 1,
  "deviceProperties": [
    {"id": 0, "name": "NVIDIA H100 80GB HBM3", "totalGlobalMem": 84929347584, "computeMajor": 9, "computeMinor": 0, "numSms": 132}
  ],
  "displayTimeUnit": "ms",
  "baseTimeNanoseconds": 1759276800000000000,
  "traceEvents": ["""
OPERATOR = """
  {
    "ph": "X", "cat": "cpu_op", "name": "aten::op%d", "pid": 4711, "tid": 4711,
    "ts": %s, "dur": 9.000,
    "args": {
      "External id": %d,"Record function id": 0, "Concrete Inputs": ["", "", "1"], "Input type": ["float", "float", "Scalar"], "Input Strides": [[1024, 1], [1024, 1], []], "Input Dims": [[64, 1024], [1024, 1024], []], "Ev Idx": %d
    }
  },"""
CALL = """
  {
    "ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": 4711, "tid": 4711,
    "ts": %s, "dur": %s,
    "args": {
      "External id": %d,"cbid": 211, "correlation": %d
    }
  },"""
KERNEL = """
  {
    "ph": "X", "cat": "kernel", "name": "void at::native::vectorized_elementwise_kernel<4, at::native::functor_%d<float>, std::array<char*, 2ul>>(int, std::array<char*, 2ul>)", "pid": 0, "tid": 7,
    "ts": %s, "dur": %s,
    "args": {
      "External id": %d,"queued": 0, "device": 0, "context": 1, "stream": 7, "correlation": %d, "registers per thread": 32, "shared memory": 0, "blocks per SM": 7.757576, "warps per SM": 31.030304, "grid": [1024, 1, 1], "block": [128, 1, 1], "est. achieved occupancy %%": 48
    }
  },
  {
    "ph": "s", "id": %d, "pid": 4711, "tid": 4711, "ts": %s,
    "cat": "ac2g", "name": "ac2g"
  },
  {
    "ph": "f", "id": %d, "pid": 0, "tid": 7, "ts": %s,
    "cat": "ac2g", "name": "ac2g", "bp": "e"
  },"""
STEP = """
  {
    "ph": "X", "cat": "user_annotation", "name": "ProfilerStep#%d", "pid": 4711, "tid": 4711,
    "ts": %s, "dur": %s,
    "args": {
      "External id": 1,"Ev Idx": 3
    }
  },"""
TAIL = """
  {
    "name": "Record Window End", "ph": "i", "s": "g",
    "pid": "", "tid": "", "ts": %s
  }
  ],
  "traceName": "big.json"
}
"""


def micros(ns):
    return "%d.%03d" % divmod(ns, 1000)


def main():
    path, megabytes = sys.argv[1], float(sys.argv[2])
    draw = random.Random(1)
    cpu, gpu, number, step, written = 5_000_000_000_000, 5_000_000_050_000, 0, 0, 0
    kernels = total = 0
    with gzip.open(path, "wt", compresslevel=1) if path.endswith(".gz") else open(path, "w") as out:
        written += out.write(HEAD)
        while written < megabytes * 1e6:
            began, text = cpu, []
            for op in range(100):
                number += 1
                at, call, ran = micros(cpu), micros(draw.randrange(2000, 6000)), draw.randrange(1000, 20_000)
                text.append(OPERATOR % (op % 17, at, number, number))
                text.append(CALL % (micros(cpu + 1000), call, number, number))
                gpu = max(gpu, cpu + 5000)
                text.append(KERNEL % (op % 40, micros(gpu), micros(ran), number, number, number, micros(cpu + 1000), number, micros(gpu)))
                kernels, total = kernels + 1, total + ran
                gpu += ran + draw.randrange(500, 1000)
                cpu += 10_000
            text.append(STEP % (step, micros(began), micros(cpu - began)))
            written += out.write("".join(text))
            cpu = max(cpu, gpu - 200_000)
            step += 1
        out.write(TAIL % micros(gpu))
    print(f"{path}: {kernels} kernels, {total} ns")


if __name__ == "__main__":
    main()
