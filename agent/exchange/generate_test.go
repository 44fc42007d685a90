package exchange_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// generate writes a trace of some training steps as PyTorch does: the operators of a step with their
// shapes, each with its launch, kernel and arrows, now and then a copy. About 160 KB a step.
func generate(steps int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	var b strings.Builder
	b.WriteString("\n{\n  \"schemaVersion\": 1,\n  \"deviceProperties\": [\n    {\n      \"id\": 0, \"name\": \"NVIDIA H100 80GB HBM3\", \"totalGlobalMem\": 84929347584,\n" +
		"      \"computeMajor\": 9, \"computeMinor\": 0, \"numSms\": 132\n    }\n  ],\n" +
		"  \"distributedInfo\": {\"backend\": \"nccl\", \"rank\": 1, \"world_size\": 2},\n  \"displayTimeUnit\": \"ms\",\n  \"baseTimeNanoseconds\": 1759276800000000000,\n  \"traceEvents\": [")
	names := make([]string, 40)
	for i := range names {
		names[i] = fmt.Sprintf("void at::native::vectorized_elementwise_kernel<4, at::native::functor_%d<float>, std::array<char*, %dul>>(int, "+
			"at::native::functor_%d<float>, std::array<char*, %dul>)", i, 1+i%3, i, 1+i%3)
	}
	ts := func(ns int64) string { return fmt.Sprintf("%d.%03d", ns/1000, ns%1000) }
	now, gpu, correlation := int64(5_000_000_000_000), int64(5_000_000_050_000), 100
	for step := range steps {
		begin := now
		for op := range 100 {
			correlation++
			fmt.Fprintf(&b, "\n  {\n    \"ph\": \"X\", \"cat\": \"cpu_op\", \"name\": \"aten::op%d\", \"pid\": 4711, \"tid\": 4711,\n    \"ts\": %s, \"dur\": %s,\n    \"args\": {\n      \"External id\": %d,"+
				"\"Record function id\": 0, \"Concrete Inputs\": [\"\", \"\", \"1\"], \"Input type\": [\"float\", \"float\", \"Scalar\"], \"Input Strides\": [[1024, 1], [1024, 1], []], "+
				"\"Input Dims\": [[%d, 1024], [1024, 1024], []], \"Ev Idx\": %d\n    }\n  },", op%17, ts(now), ts(9000), correlation, 8<<(op%5), correlation)
			call := int64(2000 + r.IntN(4000))
			kernel := int64(1000 + r.IntN(60000))
			if op%20 == 19 {
				fmt.Fprintf(&b, "\n  {\n    \"ph\": \"X\", \"cat\": \"cuda_runtime\", \"name\": \"cudaMemcpyAsync\", \"pid\": 4711, \"tid\": 4711,\n    \"ts\": %s, \"dur\": %s,\n    \"args\": {\n      \"External id\": %d,\"cbid\": 41, \"correlation\": %d\n    }\n  },", ts(now+1000), ts(call), correlation, correlation)
				fmt.Fprintf(&b, "\n  {\n    \"ph\": \"X\", \"cat\": \"gpu_memcpy\", \"name\": \"Memcpy HtoD (Pageable -> Device)\", \"pid\": 0, \"tid\": 7,\n    \"ts\": %s, \"dur\": %s,\n    \"args\": {\n      \"External id\": %d,\"device\": 0, \"context\": 1, \"stream\": 7, \"correlation\": %d, \"bytes\": %d, \"memory bandwidth (GB/s)\": 11.25\n    }\n  },",
					ts(gpu), ts(kernel), correlation, correlation, 1024+r.IntN(1<<20))
			} else {
				fmt.Fprintf(&b, "\n  {\n    \"ph\": \"X\", \"cat\": \"cuda_runtime\", \"name\": \"cudaLaunchKernel\", \"pid\": 4711, \"tid\": 4711,\n    \"ts\": %s, \"dur\": %s,\n    \"args\": {\n      \"External id\": %d,\"cbid\": 211, \"correlation\": %d\n    }\n  },", ts(now+1000), ts(call), correlation, correlation)
				fmt.Fprintf(&b, "\n  {\n    \"ph\": \"X\", \"cat\": \"kernel\", \"name\": %q, \"pid\": 0, \"tid\": 7,\n    \"ts\": %s, \"dur\": %s,\n    \"args\": {\n      \"External id\": %d,\"queued\": 0, \"device\": 0, \"context\": 1, \"stream\": 7, \"correlation\": %d, "+
					"\"registers per thread\": %d, \"shared memory\": %d, \"blocks per SM\": 7.757576, \"warps per SM\": 31.030304, \"grid\": [%d, 1, 1], \"block\": [128, 1, 1], \"est. achieved occupancy %%\": 48\n    }\n  },",
					names[r.IntN(len(names))], ts(gpu), ts(kernel), correlation, correlation, 32+op%64, 1024*(op%4), 1024<<(op%3))
			}
			fmt.Fprintf(&b, "\n  {\n    \"ph\": \"s\", \"id\": %d, \"pid\": 4711, \"tid\": 4711, \"ts\": %s,\n    \"cat\": \"ac2g\", \"name\": \"ac2g\"\n  },", correlation, ts(now+1000))
			fmt.Fprintf(&b, "\n  {\n    \"ph\": \"f\", \"id\": %d, \"pid\": 0, \"tid\": 7, \"ts\": %s,\n    \"cat\": \"ac2g\", \"name\": \"ac2g\", \"bp\": \"e\"\n  },", correlation, ts(gpu))
			now += 10_000
			gpu += kernel + int64(r.IntN(500))
		}
		fmt.Fprintf(&b, "\n  {\n    \"ph\": \"X\", \"cat\": \"user_annotation\", \"name\": \"ProfilerStep#%d\", \"pid\": 4711, \"tid\": 4711,\n    \"ts\": %s, \"dur\": %s,\n    \"args\": {\n      \"External id\": 1,\"Ev Idx\": 3\n    }\n  },", step, ts(begin), ts(now-begin))
	}
	fmt.Fprintf(&b, "\n  {\n    \"name\": \"Record Window End\", \"ph\": \"i\", \"s\": \"g\",\n    \"pid\": \"\", \"tid\": \"\", \"ts\": %s\n  }\n  ],\n  \"traceName\": \"generated.json\"\n}\n", ts(gpu))
	return []byte(b.String())
}
