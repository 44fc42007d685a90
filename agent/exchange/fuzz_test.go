package exchange_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/exchange"
)

// FuzzKineto reads anything, in pieces, with few rows waiting: nothing panics, what is handed on is
// consistent, and of valid JSON as many kernels are found as encoding/json finds.
func FuzzKineto(f *testing.F) {
	var compact bytes.Buffer
	if err := json.Compact(&compact, bytes.Replace([]byte(small), []byte("inf,"), []byte("1,"), 1)); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(small), false)
	f.Add(compact.Bytes(), true)
	f.Add(gzipped(f, small), false)
	f.Add(zstded(f, small), true)
	f.Add([]byte(`[{"ph":"X","cat":"kernel","pid":"[TP1] 3","ts":"1e3","dur":-1,"args":{"grid":[1,2,3,4],"block":{}}},{"ph":"B"}]`), false)
	f.Add([]byte(`{"traceEvents":[{"ph":"X","cat":"kernel","ts":9e18,"dur":1e15},{"ph":"X","cat":"user_annotation","pid":1,"ts":-3,"dur":NaN}],"deviceProperties":[{"id":-1},3]}`), true)
	f.Fuzz(func(t *testing.T, text []byte, all bool) {
		if len(text) > 1<<20 {
			return
		}
		s := &checked{t: t, rows: map[event.Kind]uint64{}}
		o := exchange.Waiting(exchange.Options{Operators: all, Python: all, Provenance: func(*event.Provenance) { s.begun = true }}, 7)
		_, summary, report, err := exchange.ReadKineto(context.Background(), pieces{bytes.NewReader(text)}, s, o)
		if err != nil {
			if !errors.Is(err, exchange.ErrNotKineto) || s.begun {
				t.Fatal(err)
			}
			return
		}
		if !reflect.DeepEqual(summary.Recorded, s.rows) {
			t.Fatalf("recorded %v, handed on %v", summary.Recorded, s.rows)
		}
		if want, ok := kernels(text); ok && (want != s.rows[event.KindKernel] || report.Notes() != nil) {
			t.Fatalf("%d kernels, want %d; %v", s.rows[event.KindKernel], want, report.Notes())
		}
	})
}

// pieces hands out a few bytes at a time.
type pieces struct{ r io.Reader }

func (p pieces) Read(b []byte) (int, error) { return p.r.Read(b[:min(len(b), 11)]) }

// checked is a sink that checks that columns fit together and everything is defined.
type checked struct {
	t      *testing.T
	tables event.Tables
	begun  bool
	rows   map[event.Kind]uint64
}

func (s *checked) Define(d *event.Definitions) error {
	if !s.begun {
		s.t.Error("definitions before the provenance")
	}
	s.tables.Apply(d)
	return nil
}

func (s *checked) Batch(b *event.Batch) error {
	for kind, columns := range map[event.Kind]any{
		event.KindKernel: b.Kernels, event.KindCopy: b.Copies, event.KindSet: b.Sets, event.KindSync: b.Syncs, event.KindCall: b.Calls,
		event.KindMarker: b.Markers, event.KindOverhead: b.Overheads,
	} {
		v := reflect.ValueOf(columns)
		for i := 1; i < v.NumField(); i++ {
			if v.Field(i).Len() != v.Field(0).Len() {
				s.t.Errorf("%s has %d rows, %s %d", v.Type().Field(i).Name, v.Field(i).Len(), v.Type().Field(0).Name, v.Field(0).Len())
			}
		}
		if n := v.Field(0).Len(); n > 0 {
			s.rows[kind] += uint64(n)
		}
		for i := range v.Field(0).Len() {
			if v.Field(0).Index(i).Int() < 0 {
				s.t.Errorf("a time of %d", v.Field(0).Index(i).Int())
			}
		}
	}
	strings, launches, _, _, gpus, processes := s.tables.Counts()
	for _, l := range b.Kernels.Launch {
		if int(l) > launches || int(s.tables.Launch(l).Name) > strings {
			s.t.Errorf("launch %d of %d", l, launches)
		}
	}
	for _, text := range append(append([]event.StringID{}, b.Calls.Name...), b.Markers.Text...) {
		if int(text) > strings {
			s.t.Errorf("string %d of %d", text, strings)
		}
	}
	if int(b.Process) > processes {
		s.t.Errorf("process %d of %d", b.Process, processes)
	}
	for _, gpu := range s.tables.Process(b.Process).Devices {
		if int(gpu) > gpus {
			s.t.Errorf("GPU %d of %d", gpu, gpus)
		}
	}
	return nil
}

func (s *checked) Live(*event.LiveSet) error { return nil }

// kernels counts the kernels in valid JSON; false: the text is not such that the answer is clear,
// because of keys that occur twice or are written with escapes, or of values that nest deep.
func kernels(text []byte) (n uint64, ok bool) {
	if !json.Valid(text) || bytes.IndexByte(text, '\\') >= 0 || bytes.Count(text, []byte("[")) > 40 || bytes.Count(text, []byte("{")) > 40 {
		return 0, false
	}
	list := bytes.TrimSpace(text)
	if list[0] == '{' {
		top, ok := once(list)
		if !ok || bytes.Count(text, []byte(`"traceEvents"`)) > 1 {
			return 0, false
		}
		list = top["traceEvents"]
	}
	var events []json.RawMessage
	if json.Unmarshal(list, &events) != nil {
		return 0, false
	}
	for _, e := range events {
		if e[0] != '{' {
			return 0, false
		}
		m, ok := once(e)
		if !ok {
			return 0, false
		}
		if cat := string(m["cat"]); string(m["ph"]) == `"X"` && (cat == `"kernel"` || cat == `"Kernel"`) {
			n++
		}
	}
	return n, true
}

// once decodes an object each of whose keys occurs once.
func once(text []byte) (map[string]json.RawMessage, bool) {
	m := make(map[string]json.RawMessage)
	d := json.NewDecoder(bytes.NewReader(text))
	if _, err := d.Token(); err != nil {
		return nil, false
	}
	for d.More() {
		key, err := d.Token()
		name, isString := key.(string)
		if err != nil || !isString || m[name] != nil {
			return nil, false
		}
		var v json.RawMessage
		if d.Decode(&v) != nil {
			return nil, false
		}
		m[name] = v
	}
	return m, true
}
