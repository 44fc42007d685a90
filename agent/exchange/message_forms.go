package exchange

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/warpscope/warpscope/agent/event"
)

// torchPatterns are the parts of PyTorch's sentence. They came and went: versions before 2.1 put them in
// parentheses, and "capacty" was once spelt so.
type torchPatterns struct {
	class, asked, device, capacity, free, allowed, allocated, private, idle, process, own *regexp.Regexp
	oldDevice, oldCapacity, oldAllocated, oldFree, oldReserved, oldAllowed                *regexp.Regexp
}

func compileTorch() *torchPatterns {
	p := func(text string) *regexp.Regexp { return regexp.MustCompile(strings.ReplaceAll(text, "Q", quantity)) }
	return &torchPatterns{
		class: p(`((?:torch\.(?:cuda\.)?)?OutOfMemoryError|RuntimeError): *CUDA`), asked: p(`Tried to allocate Q`), device: p(`GPU ([0-9]+) has a total`),
		capacity: p(`total capaci?ty of Q`), free: p(`of which Q is free`), allowed: p(`Q allowed;`), allocated: p(`Of the allocated memory Q is allocated by PyTorch`),
		private: p(`with Q allocated in private pools`), idle: p(`and Q is reserved by PyTorch but unallocated`),
		process: p(`Process ([0-9]+) has Q memory in use`), own: p(`this process has Q memory in use`),
		oldDevice: p(`\(GPU ([0-9]+);`), oldCapacity: p(`Q total capacity`), oldAllocated: p(`Q already allocated`), oldFree: p(`Q free;`),
		oldReserved: p(`Q (?:reserved in total by PyTorch|cached)`), oldAllowed: p(`Q allowed`),
	}
}

// spaced puts the lines of a sentence that was broken into lines together again.
func spaced(text string) string { return strings.Join(strings.Fields(text), " ") }

func readTorch(text string, f *event.Failure) {
	p := compileTorch()
	text = spaced(text)
	f.Framework, f.Text = "PyTorch", text
	if m := p.class.FindStringSubmatch(text); m != nil {
		f.Class = m[1]
	}
	f.Asked = amountOf(text, p.asked)
	if p.capacity.MatchString(text) {
		f.Style = "2.x"
		f.Device = int32(integerOf(text, p.device))
		f.Capacity, f.Free, f.Allowed = amountOf(text, p.capacity), amountOf(text, p.free), amountOf(text, p.allowed)
		f.Allocated, f.Private, f.Idle = amountOf(text, p.allocated), amountOf(text, p.private), amountOf(text, p.idle)
		if f.Allocated >= 0 && f.Idle >= 0 {
			f.Reserved = f.Allocated + f.Idle
		}
	} else {
		f.Style = "1.x"
		f.Device = int32(integerOf(text, p.oldDevice))
		f.Capacity, f.Allocated, f.Free = amountOf(text, p.oldCapacity), amountOf(text, p.oldAllocated), amountOf(text, p.oldFree)
		f.Reserved, f.Allowed = amountOf(text, p.oldReserved), amountOf(text, p.oldAllowed)
		if f.Reserved >= f.Allocated && f.Allocated >= 0 {
			f.Idle = f.Reserved - f.Allocated
		}
	}
	for _, m := range p.process.FindAllStringSubmatch(text, 64) {
		pid, err := strconv.ParseInt(m[1], 10, 64)
		if n := toBytes(m[2], m[3]); err == nil && n >= 0 {
			f.Processes = append(f.Processes, event.FailureProcess{PID: pid, Bytes: n})
		}
	}
	if n := amountOf(text, p.own); n >= 0 {
		f.Processes = append(f.Processes, event.FailureProcess{Bytes: n, Self: true})
	}
	if strings.Contains(text, "expandable_segments:True to avoid") {
		f.Hint = "expandable_segments:True"
	} else if strings.Contains(text, "max_split_size_mb to avoid") {
		f.Hint = "max_split_size_mb"
	}
	f.Text = strings.TrimSpace(regexp.MustCompile(` (If reserved|See documentation).*$`).ReplaceAllString(text, ""))
}

func readXLA(text string, f *event.Failure) {
	text = spaced(text)
	f.Framework, f.Text = "JAX", text
	if strings.Contains(text, "_bfc) ran out") && !strings.Contains(text, "RESOURCE_EXHAUSTED") {
		f.Framework = "XLA"
	}
	if m := regexp.MustCompile(`([A-Za-z_.]*(?:XlaRuntimeError|JaxRuntimeError|ResourceExhaustedError))`).FindStringSubmatch(text); m != nil {
		f.Class = m[1]
	}
	f.Asked = amountOf(text, regexp.MustCompile(`(?:trying to allocate|allocating|allocate) `+quantity))
	if n := integerOf(text, regexp.MustCompile(`GPU_([0-9]+)_bfc`)); n >= 0 {
		f.Device = int32(n)
	}
	f.Capacity = amountOf(text, regexp.MustCompile(`Limit:? +`+quantity))
	if n := amountOf(text, regexp.MustCompile(`InUse:? +`+quantity)); n >= 0 {
		f.Allocated = n
	}
}

func readCuPy(text string, f *event.Failure) {
	text = spaced(text)
	f.Framework, f.Text, f.Class = "CuPy", text, "cupy.cuda.memory.OutOfMemoryError"
	f.Asked = amountOf(text, regexp.MustCompile(`allocating `+quantity))
	f.Allocated = amountOf(text, regexp.MustCompile(`allocated so far: `+quantity))
	f.Allowed = amountOf(text, regexp.MustCompile(`limit set to: `+quantity))
}

func readCUDA(text string, f *event.Failure) {
	line, _, _ := strings.Cut(text, "\n")
	f.Framework, f.Text = "CUDA", spaced(line)
}

func readVLLM(text string, f *event.Failure) {
	text = spaced(text)
	f.Framework, f.Text = "vLLM", text
	if strings.Contains(text, "--mem-fraction-static") {
		f.Framework = "SGLang"
	}
	f.Limit = integerOf(text, regexp.MustCompile(`max seq(?:uence)? len(?:gth)? \(([0-9]+)\)`))
	f.Needed = amountOf(text, regexp.MustCompile(`\(?`+quantity+` KV cache is needed`))
	f.Available = amountOf(text, regexp.MustCompile(`available KV cache memory \(`+quantity))
	f.Fits = integerOf(text, regexp.MustCompile(`(?:estimated maximum model length is |tokens that can be stored in KV cache \()([0-9]+)`))
	if strings.Contains(text, "less than desired GPU memory utilization") {
		f.Free = amountOf(text, regexp.MustCompile(`Free memory on device[^(]*\(`+quantity))
		f.Capacity = amountOf(text, regexp.MustCompile(`\(`+quantity+`/([0-9][0-9.]*) *([KMGT]iB)\)`))
		if m := regexp.MustCompile(`\(([0-9.]+)/([0-9.]+) (GiB|MiB)\)`).FindStringSubmatch(text); m != nil {
			f.Free, f.Capacity = toBytes(m[1], m[3]), toBytes(m[2], m[3])
		}
		f.Asked = amountOf(text, regexp.MustCompile(`utilization \([0-9.]+, `+quantity))
	}
}
