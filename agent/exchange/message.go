package exchange

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/warpscope/warpscope/agent/event"
)

// ErrNotMessage is returned for a text without a message about memory that is known.
var ErrNotMessage = errors.New("no message about GPU memory that is known: PyTorch's \"CUDA out of memory\", JAX's RESOURCE_EXHAUSTED, CuPy's, CUDA's and vLLM's are")

// MaxMessage is how much of a text is looked at, in bytes: a log's end has the message.
const MaxMessage = 4 << 20

// quantity is a number of bytes as programs write it.
const quantity = `([0-9][0-9.,]*)\s*(bytes|[KMGTP]i?B|[KMGTP]|B)\b`

// messageForm is a sentence that says that memory ran out, and what reads it.
type messageForm struct {
	start *regexp.Regexp
	read  func(text string, f *event.Failure)
}

func messageForms() []messageForm {
	return []messageForm{
		{regexp.MustCompile(`CUDA out of memory\.? *Tried to allocate`), readTorch},
		{regexp.MustCompile(`No available memory for the cache blocks|KV cache is needed|max seq len \([0-9]+\) is larger than the maximum number of tokens|` +
			`less than desired GPU memory utilization|Not enough memory\. Please try to increase --mem-fraction-static`), readVLLM},
		{regexp.MustCompile(`RESOURCE_EXHAUSTED|Resource exhausted: |Out of memory while trying to allocate [0-9]|Allocator \(GPU_[0-9]+_bfc\) ran out of memory`), readXLA},
		{regexp.MustCompile(`cupy[A-Za-z0-9_.]*\.OutOfMemoryError|Out of memory allocating [0-9,]+ bytes \(allocated so far`), readCuPy},
		{regexp.MustCompile(`CUDA out of memory|CUDA error: out of memory|cudaErrorMemoryAllocation|CUDA_ERROR_OUT_OF_MEMORY|cudaError_t?\(2\)`), readCUDA},
	}
}

// ReadMessages finds the messages about memory in a text: an exception's own, or a log with tracebacks.
// Those that say the same are told once, the latest last.
func ReadMessages(text string) ([]event.Failure, error) {
	if len(text) > MaxMessage {
		text = text[len(text)-MaxMessage:]
	}
	// Logs prefix and color lines; the sentences are looked for without either.
	flat := flatten(text)
	var out []event.Failure
	seen := map[string]bool{}
	taken := make([]bool, len(flat)+1)
	for _, form := range messageForms() {
		for _, at := range form.start.FindAllStringIndex(flat, -1) {
			if taken[at[0]] {
				continue
			}
			begin, end := extent(flat, at[0])
			for i := at[0]; i < end; i++ {
				taken[i] = true
			}
			f := newFailure()
			f.Text = strings.TrimSpace(flat[begin:end])
			form.read(f.Text, &f)
			if key := f.Framework + f.Text; !seen[key] {
				seen[key] = true
				traceback(flat[:begin], &f)
				out = append(out, f)
			}
		}
	}
	if len(out) == 0 {
		return nil, ErrNotMessage
	}
	return out, nil
}

func newFailure() event.Failure {
	return event.Failure{
		Device: -1, Asked: -1, Capacity: -1, Free: -1, Allowed: -1, Allocated: -1, Private: -1, Reserved: -1, Idle: -1, Needed: -1, Available: -1, Limit: -1, Fits: -1,
	}
}

var (
	escapes = regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`)
	rank    = regexp.MustCompile(`(?m)^(\[?rank ?[0-9]+\]?:|\([A-Za-z]+(_[A-Z0-9]+)* pid=[0-9]+\)|\[[a-z0-9]+\]:)[ \t]*`)
)

// flatten removes colors and the prefixes of ranks.
func flatten(text string) string {
	text = escapes.ReplaceAllString(strings.ReplaceAll(text, "\r", ""), "")
	text = rank.ReplaceAllString(text, "")
	return text
}

// extent returns where the line or paragraph begins and ends that holds a place.
func extent(text string, at int) (begin, end int) {
	begin = strings.LastIndexByte(text[:at], '\n') + 1
	end = len(text)
	// A message broken into lines ends at an empty one, or where the next traceback begins.
	for _, stop := range []string{"\n\n", "\nTraceback", "\n  File \"", "\nDuring handling", "\nThe above exception"} {
		if i := strings.Index(text[at:], stop); i >= 0 {
			end = min(end, at+i)
		}
	}
	return begin, min(end, at+8<<10)
}

// amountOf returns the bytes of a pattern with a quantity in its last two groups; -1: it does not match.
func amountOf(text string, pattern *regexp.Regexp) int64 {
	m := pattern.FindStringSubmatch(text)
	if m == nil {
		return -1
	}
	return toBytes(m[len(m)-2], m[len(m)-1])
}

// toBytes makes a number of bytes of what stands before and in a unit. PyTorch and XLA mean binary units.
func toBytes(number, unit string) int64 {
	v, err := strconv.ParseFloat(strings.ReplaceAll(strings.TrimRight(number, "."), ",", ""), 64)
	if err != nil || v < 0 || v > 1e18 {
		return -1
	}
	shift := strings.IndexByte("KMGTP", unit[0]) + 1
	if unit == "B" || unit == "bytes" {
		shift = 0
	}
	for range shift {
		v *= 1024
	}
	if v > 1e18 {
		return -1
	}
	return int64(v)
}

func integerOf(text string, pattern *regexp.Regexp) int64 {
	m := pattern.FindStringSubmatch(text)
	if m == nil {
		return -1
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(m[1], ",", ""), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

var frameLine = regexp.MustCompile(`File "([^"\n]+)", line ([0-9]+), in ([^\n]+)`)

// traceback reads the lines of the traceback that ends right before a message, the innermost first.
func traceback(before string, f *event.Failure) {
	at := strings.LastIndex(before, "Traceback (most recent call last)")
	if at < 0 {
		return
	}
	part := before[at:]
	if strings.Contains(part, "\n\n\n") || len(part) > 256<<10 {
		return // something else lies between
	}
	for _, m := range frameLine.FindAllStringSubmatch(part, 512) {
		n, _ := strconv.ParseInt(m[2], 10, 32)
		f.Frames = append([]event.SourceLine{{Function: strings.TrimSpace(m[3]), File: m[1], Line: int32(n)}}, f.Frames...)
	}
}
