package exchange_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/exchange"
)

func TestSmall(t *testing.T) {
	r := read(t, small)
	b := r.all()
	k := b.Kernels
	equal(t, "kernel start", k.Start, []event.Time{at(150592)})
	equal(t, "kernel duration", k.Duration, []int64{1760})
	equal(t, "kernel place", [][]uint32{k.Correlation, k.Device, k.Context, k.Stream, k.Graph}, [][]uint32{{35}, {0}, {1}, {7}, {2}})
	equal(t, "kernel node", k.GraphNode, []uint64{8589934593})
	l := r.Launch(k.Launch[0])
	equal(t, "kernel name", r.String(l.Name), `void at::native::(anonymous namespace)::sum<float, "4">(float*)`)
	l.Name = 0
	equal(t, "launch", l, event.Launch{Grid: [3]uint32{4, 2, 1}, Block: [3]uint32{128, 1, 1}, Registers: 16, DynamicShared: 1024})

	c := b.Copies
	equal(t, "copy start", c.Start, []event.Time{at(160000), at(161000)})
	equal(t, "copy bytes", c.Bytes, []uint64{65536, 4096})
	equal(t, "copy kind", c.Kind, []event.CopyKind{event.CopyHostToDevice, event.CopyPeerToPeer})
	equal(t, "copy source", c.Source, []event.MemoryKind{event.MemoryPinned, event.MemoryDevice})
	equal(t, "copy target", c.Target, []event.MemoryKind{event.MemoryDevice, event.MemoryDevice})
	equal(t, "copy async", c.Async, []bool{true, false})
	equal(t, "copy ends", [][]uint32{c.Device, c.Peer, c.Context, c.Stream}, [][]uint32{{0, 0}, {0, 1}, {1, 1}, {7, 13}})

	equal(t, "fill", []any{b.Sets.Start, b.Sets.Bytes, b.Sets.Memory, b.Sets.Duration},
		[]any{[]event.Time{at(163000)}, []uint64{512}, []event.MemoryKind{event.MemoryDevice}, []int64{500}})
	y := b.Syncs
	equal(t, "waits", []any{y.Type, y.Stream, y.Event, y.Duration, y.Context, y.Correlation}, []any{
		[]event.SyncType{event.SyncStream, event.SyncEvent}, []uint32{7, event.NoStream}, []uint32{0, 9}, []int64{9000, 4000}, []uint32{1, 1}, []uint32{40, 41}})
	a := b.Calls
	var names []string
	for _, id := range a.Name {
		names = append(names, r.String(id))
	}
	equal(t, "calls", names, []string{"cudaLaunchKernel", "cuLaunchKernelEx", "cudaMemcpyAsync"})
	equal(t, "call domains", a.Domain, []event.Domain{event.DomainRuntime, event.DomainDriver, event.DomainRuntime})
	equal(t, "call times", []any{a.Enter, a.Duration, a.Thread, a.Correlation}, []any{
		[]event.Time{at(110001), at(120000), at(130000)}, []int64{5250, 2000, 7000}, []uint32{1074, 1075, 1074}, []uint32{35, 36, 37}})
	m := b.Markers
	equal(t, "markers", []any{m.Kind, m.Time, m.Thread, m.ID}, []any{
		[]event.MarkerKind{event.MarkerStart, event.MarkerEnd}, []event.Time{at(90100), at(590100)}, []uint32{1074, 1074}, []uint32{1, 1}})
	equal(t, "marker", []string{r.String(m.Text[0]), r.String(m.Domain[0]), r.String(m.Text[1])}, []string{"ProfilerStep#7", "", ""})
	equal(t, "overheads", b.Overheads, event.Overheads{Start: []event.Time{at(200000)}, Duration: []int64{12000}, Kind: []event.OverheadKind{1 << 16},
		Thread: []uint32{1080}, Correlation: []uint32{0}})

	equal(t, "processes", r.Processes(), []event.Process{{PID: 1074, StartTime: at(80000), Executable: "python3.12", Mode: "timeline", API: "all",
		Graphs: "node", CUPTIVersion: 130000, DriverVersion: 13000, Devices: []event.GPUID{1}, Rank: 3}})
	equal(t, "GPUs", r.GPUs(), []event.GPU{{Name: "NVIDIA H100 80GB HBM3", Memory: 84929347584, Multiprocessors: 132, Capability: [2]uint32{9, 0}, Index: -1}})
	equal(t, "skipped", r.report.Skipped, map[string]uint64{"cpu_op": 1, "python_function": 1, "gpu_user_annotation": 1, "memory": 1})
	equal(t, "damage", r.report.Notes(), []string(nil))
	equal(t, "recorded", r.summary.Recorded, map[event.Kind]uint64{event.KindKernel: 1, event.KindCopy: 2, event.KindSet: 1, event.KindSync: 2,
		event.KindCall: 3, event.KindMarker: 2, event.KindOverhead: 1})
	equal(t, "end", []any{r.summary.End, r.summary.ExitCode, r.summary.LossesUnknown}, []any{at(700000), int32(-1), true})
	if p := r.provenance; p.WallTime-int64(p.MonoTime) != 1759276800000000000-1e9 || !strings.HasPrefix(p.Tool, "PyTorch profiler (Kineto schema 1), imported by warpscope") {
		t.Errorf("provenance: %+v", p)
	}
	for _, want := range []string{"rank3.pt.trace.json: rank 3 of 8", "GIL", "1 cpu_op", "at most 1024 bytes allocated, 2097152 reserved", `a buffer was "full"`, "1 copies have no call"} {
		if notes := strings.Join(slices.Concat(r.provenance.Notes, r.summary.Notes), "\n"); !strings.Contains(notes, want) {
			t.Errorf("no word of %q in the notes:\n%s", want, notes)
		}
	}
}

func TestOptions(t *testing.T) {
	called := 0
	r := readWith([]byte(small), exchange.Options{Operators: true, Python: true, Provenance: func(p *event.Provenance) {
		called++
		if p.WallTime == 0 || len(p.Notes) == 0 {
			t.Errorf("early provenance: %+v", p)
		}
	}})
	if r.err != nil {
		t.Fatal(r.err)
	}
	equal(t, "calls of Provenance", called, 1)
	m := r.all().Markers
	var got []string
	for i, kind := range m.Kind {
		if kind == event.MarkerStart {
			got = append(got, r.String(m.Domain[i])+":"+r.String(m.Text[i]))
		}
	}
	equal(t, "ranges", got, []string{":ProfilerStep#7", "python_function:train.py(12): step", "cpu_op:aten::mm"})
	equal(t, "skipped", r.report.Skipped, map[string]uint64{"gpu_user_annotation": 1, "memory": 1})
}

// members splits the small trace's outermost object.
func members(t *testing.T) (keys []string, values map[string]json.RawMessage) {
	t.Helper()
	text := strings.Replace(small, "inf,", "1,", 1)
	if err := json.Unmarshal([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	for key := range values {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys, values
}

// same checks that a variant of the small trace gives what the small trace gives.
func same(t *testing.T, variant string) {
	t.Helper()
	want, got := read(t, small), read(t, variant)
	equal(t, "definitions", got.Tables, want.Tables)
	equal(t, "events", got.all(), want.all())
	equal(t, "provenance", got.provenance, want.provenance)
	got.summary.Notes, want.summary.Notes = nil, nil
	equal(t, "summary", got.summary, want.summary)
	equal(t, "damage", got.report.Notes(), []string(nil))
}

func TestVariants(t *testing.T) {
	keys, values := members(t)
	object := func(keys []string) string {
		var parts []string
		for _, key := range keys {
			parts = append(parts, fmt.Sprintf("%q:%s", key, values[key]))
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	last := func(key string) []string {
		return append(slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return k == key }), key)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(object(keys))); err != nil {
		t.Fatal(err)
	}
	var events []map[string]any
	d := json.NewDecoder(bytes.NewReader(values["traceEvents"]))
	d.UseNumber()
	if err := d.Decode(&events); err != nil {
		t.Fatal(err)
	}
	// Go writes maps with their keys in order, so that args come first and ph late.
	sorted, err := json.Marshal(events)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		quoteNumbers(e)
	}
	quoted, err := json.Marshal(events)
	if err != nil {
		t.Fatal(err)
	}
	swap := func(b []byte) string {
		return strings.Replace(object(keys), string(values["traceEvents"]), string(b), 1)
	}
	for name, variant := range map[string]string{
		"events last":         object(last("traceEvents")),
		"base time last":      object(last("baseTimeNanoseconds")),
		"rank last":           object(last("distributedInfo")),
		"devices last":        object(last("deviceProperties")),
		"one line":            compact.String(),
		"keys sorted":         swap(sorted),
		"numbers as strings":  swap(quoted),
		"byte order mark":     "\xef\xbb\xbf" + small,
		"unknown members":     strings.Replace(small, `"schemaVersion": 1,`, `"schemaVersion": 1, "x": {"a": [1, {"events": [{"ph": "X"}]}]}, "y": "\\\"]}", "z": null,`, 1),
		"unknown event keys":  strings.ReplaceAll(small, `"ph": "X",`, `"ph": "X", "sf": 7, "stack": ["a \"quoted\" frame", {"b": [[]]}], "cname": null,`),
		"a comma too many":    strings.Replace(small, "}\n  ],", "},\n  ],", 1),
		"not a number":        strings.Replace(small, `"queued": 0`, `"queued": NaN, "x": -Infinity, "y": [Infinity, NaN]`, 1),
		"huge strings":        strings.ReplaceAll(small, `"External id": 1,`, `"Call stack": "`+strings.Repeat(`frame \"x\"; `, 1<<17)+`", "External id": 1,`),
		"dos line ends":       strings.ReplaceAll(small, "\n", "\r\n"),
		"exponents":           strings.ReplaceAll(small, `"dur": 500.000`, `"dur": 0.5e+3`),
		"escapes in names":    strings.Replace(small, "ProfilerStep#7", `Profiler\u0053tep\u00237`, 1),
		"more digits":         strings.ReplaceAll(small, `"dur": 1.760`, `"dur": 1.75999999999999978`),
		"old category names":  strings.NewReplacer(`"kernel"`, `"Kernel"`, `"cuda_runtime"`, `"Runtime"`, `"gpu_memcpy"`, `"Memcpy"`, `"gpu_memset"`, `"Memset"`).Replace(small),
		"events in two parts": strings.Replace(small, "  {\"ph\": \"s\"", "  ], \"between\": 1, \"traceEvents\": [{\"ph\": \"s\"", 1),
	} {
		t.Run(name, func(t *testing.T) {
			if variant == small {
				t.Fatal("it is no variant")
			}
			same(t, variant)
		})
	}
}

// quoteNumbers turns the numbers in a value into strings.
func quoteNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		return v.String()
	case []any:
		for i := range v {
			v[i] = quoteNumbers(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = quoteNumbers(v[key])
		}
	}
	return v
}

func TestPlainArray(t *testing.T) {
	_, values := members(t)
	events := string(values["traceEvents"])
	want := read(t, small).all()
	for name, text := range map[string]string{"closed": events, "not closed": strings.TrimSuffix(strings.TrimSpace(events), "]")} {
		r := read(t, text)
		equal(t, name, r.all(), want)
		equal(t, name+": wall time", r.provenance.WallTime, int64(0)) // nothing says what the times are relative to
		equal(t, name+": incomplete", r.report.Truncated, name == "not closed")
		equal(t, name+": rank", r.Processes()[0].Rank, int32(-1))
	}
}

func TestTimesSince1970(t *testing.T) {
	r := read(t, `{"traceEvents": [
		{"ph": "X", "cat": "kernel", "name": "a", "pid": 0, "tid": 7, "ts": 1712195495519689.063, "dur": 63.813},
		{"ph": "X", "cat": "kernel", "name": "b", "pid": 0, "tid": 7, "ts": 1712195495519601, "dur": 2}]}`)
	k, p := r.all().Kernels, r.provenance
	equal(t, "difference", int64(k.Start[1]-k.Start[0]), int64(88063))
	equal(t, "wall time", p.WallTime+int64(k.Start[1]-p.MonoTime), int64(1712195495519689063))
	equal(t, "durations", k.Duration, []int64{2000, 63813})
}

// TestAbsent: what is not there is unknown, never invented.
func TestAbsent(t *testing.T) {
	r := read(t, `{"traceEvents": [
		{"ph": "X", "cat": "kernel", "name": "no args", "pid": 3, "tid": 20, "ts": 5, "dur": 1},
		{"ph": "X", "cat": "kernel", "name": "no time", "pid": 0, "tid": 7, "dur": 1, "args": 3},
		{"ph": "X", "cat": "kernel", "name": "no duration", "pid": 0, "tid": 7, "ts": 10},
		{"ph": "X", "cat": "kernel", "name": "negative", "pid": 0, "tid": 7, "ts": 11, "dur": -3},
		{"ph": "X", "cat": "kernel", "name": "not a number", "pid": 0, "tid": 7, "ts": 12, "dur": NaN, "args": {"stream": -4, "correlation": 99999999999, "grid": 7}},
		{"ph": "X", "cat": "kernel", "ts": 13, "dur": 1},
		{"ph": "X", "cat": "gpu_memcpy", "name": "something else", "pid": 0, "tid": 7, "ts": 14, "dur": 1, "args": {}},
		{"ph": "X", "cat": "user_annotation", "name": "endless", "pid": 9, "tid": 9, "ts": 15},
		{"ph": "X", "name": "no category", "pid": 9, "tid": 9, "ts": 16, "dur": 1},
		{"ph": "X", "cat": "kernel", "name": "at zero", "pid": 0, "tid": 7, "ts": 0, "dur": 0}]}`)
	b := r.all()
	equal(t, "starts", b.Kernels.Start, []event.Time{0, 1e9, 1e9 + 5000, 1e9 + 10000, 1e9 + 11000, 1e9 + 12000, 1e9 + 13000})
	equal(t, "durations", b.Kernels.Duration, []int64{1000, 0, 1000, -1, -1, -1, 1000})
	equal(t, "devices", b.Kernels.Device, []uint32{0, 0, 3, 0, 0, 0, 0})
	equal(t, "streams", b.Kernels.Stream, []uint32{7, 7, 20, 7, 7, 7, 0})
	equal(t, "correlations", b.Kernels.Correlation, []uint32{0, 0, 0, 0, 0, 0, 0})
	equal(t, "copy", []any{b.Copies.Kind, b.Copies.Source, b.Copies.Bytes}, []any{[]event.CopyKind{0}, []event.MemoryKind{0}, []uint64{0}})
	equal(t, "markers", len(b.Markers.Time), 0)
	equal(t, "skipped", r.report.Skipped, map[string]uint64{"without time: user_annotation": 1, "without category": 1})
	equal(t, "processes", len(r.Processes()), 1)
	equal(t, "its PID", r.Processes()[0].PID, int32(0))
	notes := strings.Join(r.summary.Notes, "\n")
	for _, want := range []string{"whole microseconds", "1 events have no time", "1 copies do not say how many bytes"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no word of %q in the notes:\n%s", want, notes)
		}
	}
}

func TestCompressed(t *testing.T) {
	large := string(generate(100, 1))
	for name, pack := range map[string]func(testing.TB, string) []byte{"gzip": gzipped, "zstd": zstded} {
		packed := pack(t, small)
		equal(t, name, exchange.Sniff(packed), exchange.Kineto)
		same(t, string(packed))
		r := read(t, string(packed))
		equal(t, name+" report", []any{r.report.Compression, r.report.Bytes}, []any{name, int64(len(small))})
		packed = pack(t, large)
		cut := readWith(packed[:len(packed)*2/3], exchange.Options{})
		if cut.err != nil || !cut.report.Truncated || cut.report.Events == 0 {
			t.Errorf("%s, cut off: %v, %+v", name, cut.err, cut.report)
		}
		wrong := slices.Clone(packed)
		wrong[len(wrong)-1]++ // in the checksum
		bad := readWith(wrong, exchange.Options{})
		if bad.err != nil || bad.report.Damages == 0 {
			t.Errorf("%s, wrong checksum: %v, %+v", name, bad.err, bad.report)
		}
	}
}

func gzipped(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstded(t testing.TB, text string) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	return w.EncodeAll([]byte(text), nil)
}

func TestSniff(t *testing.T) {
	for head, want := range map[string]exchange.Format{
		"\x89WSCOP\r\n\x01": exchange.Wscope, "\x89WSCOP\n": exchange.Wscope,
		small: exchange.Kineto, "{": exchange.Kineto, "\n[\n{": exchange.Kineto, "[]": exchange.Kineto, "\xef\xbb\xbf {}": exchange.Kineto,
		string(gzipped(t, "[ {")): exchange.Kineto, string(zstded(t, small)): exchange.Kineto,
		"": exchange.Unknown, "[2026-01-31] began": exchange.Unknown, "{x}": exchange.Unknown, "\x7fELF": exchange.Unknown,
		string(gzipped(t, "text")): exchange.Unknown, "\x1f\x8b": exchange.Unknown, "\x28\xb5\x2f\xfd": exchange.Unknown,
	} {
		equal(t, fmt.Sprintf("%.12q", head), exchange.Sniff([]byte(head)), want)
	}
}

func TestNotATrace(t *testing.T) {
	for _, text := range []string{"", "  \n", "text", `{}`, `{"a": [1, 2], "b": "c"}`, `[]`, `[{"a": 1}, {"b": 2}]`, `{"a": `, "\x1f\x8b", "\x1f\x8bxxxxxxxxxxxxx"} {
		if r := readWith([]byte(text), exchange.Options{}); !errors.Is(r.err, exchange.ErrNotKineto) || r.defined {
			t.Errorf("%q: %v, defined: %v", text, r.err, r.defined)
		}
	}
	for _, text := range []string{`{"traceEvents": []}`, `{"schemaVersion": 1`} {
		if r := readWith([]byte(text), exchange.Options{}); r.err != nil || r.report.Events != 0 {
			t.Errorf("%q: %v, %+v", text, r.err, r.report)
		}
	}
}

func TestFailures(t *testing.T) {
	broken := errors.New("the disk is on fire")
	var s taken
	for name, packed := range map[string][]byte{"plain": []byte(small), "gzip": gzipped(t, small)} {
		src := iotest.TimeoutReader(iotest.HalfReader(bytes.NewReader(packed)))
		if _, _, _, err := exchange.ReadKineto(context.Background(), src, &s, exchange.Options{}); !errors.Is(err, iotest.ErrTimeout) {
			t.Errorf("%s: %v from a source that fails", name, err)
		}
		if _, _, _, err := exchange.ReadKineto(context.Background(), iotest.ErrReader(broken), &s, exchange.Options{}); !errors.Is(err, broken) {
			t.Errorf("%s: %v from a source that fails at once", name, err)
		}
		one := iotest.OneByteReader(bytes.NewReader(packed))
		r := &result{}
		if _, _, r.report, r.err = exchange.ReadKineto(context.Background(), one, &r.taken, exchange.Options{}); r.err != nil || r.report.Notes() != nil {
			t.Errorf("%s, byte by byte: %v %v", name, r.err, r.report.Notes())
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, _, _, err := exchange.ReadKineto(ctx, bytes.NewReader(packed), &s, exchange.Options{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v of a context that has ended", name, err)
		}
	}
	if _, _, _, err := exchange.ReadKineto(context.Background(), strings.NewReader(small), &taken{failing: broken}, exchange.Options{}); !errors.Is(err, broken) {
		t.Errorf("%v of a sink that fails", err)
	}
}
