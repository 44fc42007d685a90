package exchange_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/exchange"
)

const (
	mib = int64(1) << 20
	gib = int64(1) << 30
)

// none is a failure of which nothing is known.
func none(framework string) event.Failure {
	return event.Failure{
		Framework: framework, Device: -1, Asked: -1, Capacity: -1, Free: -1, Allowed: -1, Allocated: -1, Private: -1, Reserved: -1, Idle: -1,
		Needed: -1, Available: -1, Limit: -1, Fits: -1,
	}
}

func gibs(v float64) int64 { return int64(v * float64(gib)) }

const tail = " If reserved but unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  See documentation for Memory Management  (https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)"

// messages are sentences with invented figures, in each form.
var messages = []struct {
	name, text string
	want       func(f *event.Failure)
}{
	{"2.x", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 1 has a total capacity of 79.10 GiB of which 1.25 GiB is free. " +
		"Process 4711 has 10.50 GiB memory in use. Including non-PyTorch memory, this process has 67.00 GiB memory in use. Of the allocated memory 60.00 GiB is allocated by PyTorch, " +
		"and 5.50 GiB is reserved by PyTorch but unallocated." + tail, func(f *event.Failure) {
		f.Class, f.Style, f.Device, f.Asked, f.Capacity, f.Free = "torch.OutOfMemoryError", "2.x", 1, 2*gib, gibs(79.10), gibs(1.25)
		f.Allocated, f.Idle, f.Reserved = 60*gib, gibs(5.5), gibs(65.5)
		f.Processes = []event.FailureProcess{{PID: 4711, Bytes: gibs(10.5)}, {Bytes: 67 * gib, Self: true}}
		f.Hint = "expandable_segments:True"
	}},
	{"2.x with a limit and pools", "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.10 GiB of which 70.00 GiB is free. " +
		"Process 12 has 600.50 MiB memory in use. 600.00 MiB allowed; Of the allocated memory 500.00 MiB is allocated by PyTorch, with 32.00 MiB allocated in private pools (e.g., CUDA Graphs), " +
		"and 92.50 MiB is reserved by PyTorch but unallocated." + tail, func(f *event.Failure) {
		f.Class, f.Style, f.Device, f.Asked, f.Capacity, f.Free = "torch.cuda.OutOfMemoryError", "2.x", 0, 20*mib, gibs(79.10), 70*gib
		f.Allowed, f.Allocated, f.Private, f.Idle, f.Reserved = 600*mib, 500*mib, 32*mib, 92*mib+mib/2, 592*mib+mib/2
		f.Processes = []event.FailureProcess{{PID: 12, Bytes: 600*mib + mib/2}}
		f.Hint = "expandable_segments:True"
	}},
	{"2.1", "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.00 GiB. GPU 0 has a total capacty of 23.50 GiB of which 512.00 MiB is free. " +
		"Of the allocated memory 20.00 GiB is allocated by PyTorch, and 1.50 GiB is reserved by PyTorch but unallocated. If reserved but unallocated memory is large try setting max_split_size_mb to avoid fragmentation.", func(f *event.Failure) {
		f.Class, f.Style, f.Device, f.Asked, f.Capacity, f.Free = "torch.cuda.OutOfMemoryError", "2.x", 0, gib, gibs(23.5), 512*mib
		f.Allocated, f.Idle, f.Reserved, f.Hint = 20*gib, gibs(1.5), gibs(21.5), "max_split_size_mb"
	}},
	{"1.13", "RuntimeError: CUDA out of memory. Tried to allocate 256.00 MiB (GPU 2; 7.92 GiB total capacity; 6.50 GiB already allocated; 100.00 MiB free; 7.00 GiB reserved in total by PyTorch) " +
		"If reserved memory is >> allocated memory try setting max_split_size_mb to avoid fragmentation.  See documentation for Memory Management and PYTORCH_CUDA_ALLOC_CONF", func(f *event.Failure) {
		f.Class, f.Style, f.Device, f.Asked, f.Capacity, f.Free = "RuntimeError", "1.x", 2, 256*mib, gibs(7.92), 100*mib
		f.Allocated, f.Reserved, f.Idle, f.Hint = gibs(6.5), 7*gib, gib/2, "max_split_size_mb"
	}},
	{"1.1", "RuntimeError: CUDA out of memory. Tried to allocate 2.00 MiB (GPU 0; 10.91 GiB total capacity; 10.00 GiB already allocated; 1.00 MiB free; 300.00 MiB cached)", func(f *event.Failure) {
		f.Class, f.Style, f.Device, f.Asked, f.Capacity, f.Free = "RuntimeError", "1.x", 0, 2*mib, gibs(10.91), mib
		f.Allocated, f.Reserved = 10*gib, 300*mib
	}},
	{"JAX", "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 7516192768 bytes.\nBufferAssignment OOM Debugging.\nBufferAssignment stats:\n   total allocation: 14GiB", func(f *event.Failure) {
		f.Framework, f.Class, f.Asked = "JAX", "jaxlib.xla_extension.XlaRuntimeError", 7*gib
	}},
	{"CuPy", "cupy.cuda.memory.OutOfMemoryError: Out of memory allocating 805,306,368 bytes (allocated so far: 536,870,912 bytes, limit set to: 1,073,741,824 bytes).", func(f *event.Failure) {
		f.Framework, f.Class, f.Asked, f.Allocated, f.Allowed = "CuPy", "cupy.cuda.memory.OutOfMemoryError", 768*mib, 512*mib, gib
	}},
	{"CUDA", "terminate called: cudaErrorMemoryAllocation: out of memory", func(f *event.Failure) { f.Framework = "CUDA" }},
	{"vLLM", "ValueError: To serve at least one request with the models's max seq len (262144), (24.0 GiB KV cache is needed, which is larger than the available KV cache memory (3.18 GiB). " +
		"Based on the available memory, the estimated maximum model length is 34736. Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine.", func(f *event.Failure) {
		f.Framework, f.Limit, f.Needed, f.Available, f.Fits = "vLLM", 262144, 24*gib, gibs(3.18), 34736
	}},
	{"vLLM, old", "ValueError: The model's max seq len (32768) is larger than the maximum number of tokens that can be stored in KV cache (7344). Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine.", func(f *event.Failure) {
		f.Framework, f.Limit, f.Fits = "vLLM", 32768, 7344
	}},
	{"vLLM, no blocks", "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine.", func(f *event.Failure) { f.Framework = "vLLM" }},
	{"vLLM, start", "ValueError: Free memory on device (7.25/139.50 GiB) on startup is less than desired GPU memory utilization (0.9, 125.75 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.", func(f *event.Failure) {
		f.Framework, f.Free, f.Capacity, f.Asked = "vLLM", gibs(7.25), gibs(139.5), gibs(125.75)
	}},
	{"SGLang", "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.", func(f *event.Failure) { f.Framework = "SGLang" }},
}

func sameFailure(got, want event.Failure) bool {
	if len(got.Processes) != len(want.Processes) {
		return false
	}
	for i := range got.Processes {
		if got.Processes[i] != want.Processes[i] {
			return false
		}
	}
	got.Processes, want.Processes, got.Text, want.Text, got.Frames, want.Frames = nil, nil, "", "", nil, nil
	return got.Framework == want.Framework && got.Class == want.Class && got.Device == want.Device && got.Asked == want.Asked && got.Capacity == want.Capacity &&
		got.Free == want.Free && got.Allowed == want.Allowed && got.Allocated == want.Allocated && got.Private == want.Private && got.Reserved == want.Reserved &&
		got.Idle == want.Idle && got.Needed == want.Needed && got.Available == want.Available && got.Limit == want.Limit && got.Fits == want.Fits &&
		got.Style == want.Style && got.Hint == want.Hint
}

func TestMessages(t *testing.T) {
	for _, c := range messages {
		want := none("PyTorch")
		c.want(&want)
		for name, text := range map[string]string{
			"alone":    c.text,
			"in a log": "INFO something\n[rank3]: Traceback (most recent call last):\n[rank3]:   File \"/home/x/train.py\", line 12, in <module>\n[rank3]:     main()\n[rank3]:   File \"/home/x/model.py\", line 34, in forward\n[rank3]:     y = f(x)\n[rank3]: " + c.text + "\n",
			"colored":  "\x1b[31m" + c.text + "\x1b[0m\r\n",
		} {
			got, err := exchange.ReadMessages(text)
			if err != nil || len(got) != 1 {
				t.Errorf("%s, %s: %d messages, %v", c.name, name, len(got), err)
				continue
			}
			if !sameFailure(got[0], want) {
				t.Errorf("%s, %s:\n got %+v\nwant %+v", c.name, name, got[0], want)
			}
			if name == "in a log" && (len(got[0].Frames) != 2 || got[0].Frames[0] != (event.SourceLine{Function: "forward", File: "/home/x/model.py", Line: 34})) {
				t.Errorf("%s: frames %+v", c.name, got[0].Frames)
			}
		}
	}
	// What a terminal broke into lines is one sentence.
	broken := strings.ReplaceAll(messages[0].text, "of which 1.25", "of which\n1.25")
	want := none("PyTorch")
	messages[0].want(&want)
	if got, err := exchange.ReadMessages(broken); err != nil || len(got) != 1 || !sameFailure(got[0], want) {
		t.Errorf("broken: %+v, %v", got, err)
	}
	if got, err := exchange.ReadMessages(messages[0].text + "\n\n" + messages[3].text + "\n\n" + messages[0].text); err != nil || len(got) != 2 {
		t.Errorf("several: %d, %v", len(got), err)
	}
	for _, text := range []string{"", "all is well", "RuntimeError: CUDA error: an illegal memory access was encountered"} {
		if got, err := exchange.ReadMessages(text); !errors.Is(err, exchange.ErrNotMessage) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

// FuzzMessages reads anything: no panic, no figure but what can be one.
func FuzzMessages(f *testing.F) {
	for _, c := range messages {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := exchange.ReadMessages(text)
		if (err == nil) != (len(got) > 0) {
			t.Fatalf("%d messages, %v", len(got), err)
		}
		for _, m := range got {
			for _, n := range []int64{m.Asked, m.Capacity, m.Free, m.Allowed, m.Allocated, m.Private, m.Reserved, m.Idle, m.Needed, m.Available} {
				if n < -1 || n > 2e18 {
					t.Fatalf("%+v", m)
				}
			}
		}
	})
}
