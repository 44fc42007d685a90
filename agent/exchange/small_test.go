package exchange_test

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/exchange"
)

// small is a trace with one of everything, as PyTorch 2.10 writes it. The figures that tests expect
// of it can be read off.
const small = ` {
  "schemaVersion": 1,
  "deviceProperties": [{"id": 0, "name": "NVIDIA H100 80GB HBM3", "totalGlobalMem": 84929347584, "computeMajor": 9, "computeMinor": 0, "numSms": 132},
    {"id": 1, "name": "NVIDIA H100 80GB HBM3", "totalGlobalMem": 84929347584, "computeMajor": 9, "computeMinor": 0, "numSms": 132}],
  "cupti_version": 130000, "cuda_driver_version": 13000,
  "distributedInfo": {"backend": "nccl", "rank": 3, "world_size": 8, "pg_config": [{"ranks": [0, 1]}]},
  "WARNING": ["WARNING:2026-01-31 12:00:00 1074:1074 Cupti.cpp:47] a buffer was \"full\""],
  "displayTimeUnit": "ms",
  "baseTimeNanoseconds": 1759276800000000000,
  "traceEvents": [
  {
    "ph": "X", "cat": "user_annotation", "name": "ProfilerStep#7", "pid": 1074, "tid": 1074, "ts": 2413669096090.100, "dur": 500.000, "args": {"External id": 5}
  },
  {
    "ph": "X", "cat": "cpu_op", "name": "aten::mm", "pid": 1074, "tid": 1074,
    "ts": 2413669096100.149, "dur": 35.591, "args": {"External id": 1, "Input Dims": [[8, 16], [16, 4]], "Input type": ["float", "float"]}
  },
  {
    "ph": "X", "cat": "python_function", "name": "train.py(12): step", "pid": 1074, "tid": 1074, "ts": 2413669096099.000, "dur": 40.0,
    "args": {"Python id": 3, "Python parent id": null}
  },
  {
    "ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": 1074, "tid": 1074,
    "ts": 2413669096110.001, "dur": 5.250, "args": {"External id": 1, "cbid": 211, "correlation": 35}
  },
  {"ph": "s", "id": 35, "pid": 1074, "tid": 1074, "ts": 2413669096110.001, "cat": "ac2g", "name": "ac2g"},
  {
    "ph": "X", "cat": "kernel", "name": "void at::native::(anonymous namespace)::sum<float, \"4\">(float*)", "pid": 0, "tid": 7,
    "ts": 2413669096150.592, "dur": 1.760,
    "args": {
      "External id": 1,"queued": 0, "device": 0, "context": 1, "stream": 7, "correlation": 35, "registers per thread": 16,
      "shared memory": 1024, "blocks per SM": 0.009259, "warps per SM": inf, "grid": [4, 2, 1], "block": [128, 1, 1],
      "est. achieved occupancy %": 0, "occupancy": {"limitingFactors": "none", "blockLimitRegs": 32}, "graph id": 2, "graph node id": 8589934593
    }
  },
  {"ph": "f", "id": 35, "pid": 0, "tid": 7, "ts": 2413669096150.592, "cat": "ac2g", "name": "ac2g", "bp": "e"},
  {
    "ph": "X", "cat": "cuda_driver", "name": "cuLaunchKernelEx", "pid": 1074, "tid": 1075, "ts": 2413669096120.0, "dur": 2.0,
    "args": {"cbid": 652, "correlation": 36}
  },
  {
    "ph": "X", "cat": "cuda_runtime", "name": "cudaMemcpyAsync", "pid": 1074, "tid": 1074, "ts": 2413669096130.0, "dur": 7.0,
    "args": {"cbid": 41, "correlation": 37}
  },
  {
    "ph": "X", "cat": "gpu_memcpy", "name": "Memcpy HtoD (Pinned -> Device)", "pid": 0, "tid": 7, "ts": 2413669096160.0, "dur": 2.048,
    "args": {"device": 0, "context": 1, "stream": 7, "correlation": 37, "bytes": 65536, "memory bandwidth (GB/s)": 32.0}
  },
  {
    "ph": "X", "cat": "gpu_memcpy", "name": "Memcpy PtoP (Device -> Device)", "pid": 0, "tid": 13, "ts": 2413669096161.0, "dur": 1.0,
    "args": {"fromDevice": 0, "inDevice": 0, "toDevice": 1, "fromContext": 1, "inContext": 1, "toContext": 2, "stream": 13, "correlation": 38, "bytes": 4096}
  },
  {
    "ph": "X", "cat": "gpu_memset", "name": "Memset (Device)", "pid": 0, "tid": 7, "ts": 2413669096163.0, "dur": 0.5,
    "args": {"device": 0, "context": 1, "stream": 7, "correlation": 39, "bytes": 512}
  },
  {
    "ph": "X", "cat": "cuda_sync", "name": "Stream Sync", "pid": 0, "tid": 1000007, "ts": 2413669096170.0, "dur": 9.0,
    "args": {"cuda_sync_kind": "Stream Sync", "stream": 7, "correlation": 40, "device": 0, "context": 1}
  },
  {
    "ph": "X", "cat": "cuda_sync", "name": "Event Sync", "pid": 0, "tid": -1, "ts": 2413669096180.0, "dur": 4.0,
    "args": {"cuda_sync_kind": "Event Sync", "wait_on_stream": -1, "wait_on_cuda_event_record_corr_id": -1, "wait_on_cuda_event_id": 9, "stream": -1,
      "correlation": 41, "device": 0, "context": 1}
  },
  {"ph": "X", "cat": "overhead", "name": "Buffer Flush", "pid": -1, "tid": 1080, "ts": 2413669096200.0, "dur": 12.0},
  {"ph": "X", "cat": "gpu_user_annotation", "name": "ProfilerStep#7", "pid": 0, "tid": 7, "ts": 2413669096150.591, "dur": 13.0},
  {"ph": "i", "cat": "cpu_instant_event", "s": "t", "name": "[memory]", "pid": 1074, "tid": 1074, "ts": 2413669096101.0,
    "args": {"Total Reserved": 2097152, "Total Allocated": 1024, "Bytes": 512, "Addr": 139, "Device Id": 0, "Device Type": 1}},
  {"name": "process_name", "ph": "M", "ts": 2413669096089.0, "pid": 1074, "tid": 0, "args": {"name": "python3.12"}},
  {"name": "process_name", "ph": "M", "ts": 2413669096089.0, "pid": 0, "tid": 0, "args": {"name": "python3.12"}},
  {"ph": "X", "cat": "Trace", "ts": 2413669096080.0, "dur": 600.0, "pid": "Spans", "tid": "PyTorch Profiler", "name": "PyTorch Profiler (0)", "args": {"Op count": 0}},
  {"name": "Record Window End", "ph": "i", "s": "g", "pid": "", "tid": "", "ts": 2413669096700.0}
  ],
  "traceName": "rank3.pt.trace.json"
}
`

// taken is a sink that keeps everything.
type taken struct {
	event.Tables
	batches []event.Batch
	defined bool
	failing error
}

func (s *taken) Define(d *event.Definitions) error {
	s.defined = true
	s.Apply(d)
	return s.failing
}

func (s *taken) Batch(b *event.Batch) error {
	s.batches = append(s.batches, clone(b))
	return nil
}

func (s *taken) Live(*event.LiveSet) error {
	return errors.New("there is no live set in a foreign trace")
}

// clone copies a batch with its columns.
func clone(b *event.Batch) event.Batch {
	c := *b
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		kind := v.Field(i)
		for j := 0; kind.Kind() == reflect.Struct && j < kind.NumField(); j++ {
			column := kind.Field(j)
			column.Set(reflect.AppendSlice(reflect.MakeSlice(column.Type(), 0, column.Len()), column))
		}
	}
	return c
}

// all puts the batches of all processes together.
func (s *taken) all() (b event.Batch) {
	v := reflect.ValueOf(&b).Elem()
	for _, batch := range s.batches {
		from := reflect.ValueOf(batch)
		for i := range v.NumField() {
			kind := v.Field(i)
			for j := 0; kind.Kind() == reflect.Struct && j < kind.NumField(); j++ {
				kind.Field(j).Set(reflect.AppendSlice(kind.Field(j), from.Field(i).Field(j)))
			}
		}
	}
	return b
}

// result is what reading gave.
type result struct {
	taken
	provenance event.Provenance
	summary    event.Summary
	report     exchange.Report
	err        error
}

func readWith(text []byte, o exchange.Options) *result {
	r := &result{}
	r.provenance, r.summary, r.report, r.err = exchange.ReadKineto(context.Background(), bytes.NewReader(text), &r.taken, o)
	return r
}

func read(t *testing.T, text string) *result {
	t.Helper()
	r := readWith([]byte(text), exchange.Options{})
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// at returns where in the result a moment of the small trace is.
func at(ns int64) event.Time { return event.Time(1e9 + 2413669096000000 + ns) }
