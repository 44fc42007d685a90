package trace

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/warpscope/warpscope/agent/event"
	tracepb "github.com/warpscope/warpscope/proto/warpscope/trace/v1"
)

func TestBatchRoundTrip(t *testing.T) {
	e, d := testCodec(t)
	rng := rand.New(rand.NewPCG(7, 7))
	var got event.Batch
	for i := range 60 {
		rows := []int{1, 3, 40, 3000}[i%4]
		want := randomBatch(rng, rows)
		h, payload := frame(t, e, d, want)
		if err := d.batch(payload, &h, &got); err != nil {
			t.Fatal(err)
		}
		if !same(want, &got) {
			t.Fatalf("round %d: decoded batch differs", i)
		}
		// What is encoded by hand must be what the schema says.
		var message tracepb.Batch
		if err := (proto.UnmarshalOptions{DiscardUnknown: false}).Unmarshal(payload, &message); err != nil {
			t.Fatal(err)
		}
		if message.GetProcess() != uint32(want.Process) || int(message.GetKernels().GetRows()) != len(want.Kernels.Start) {
			t.Fatalf("schema reads process %d, %d kernels", message.GetProcess(), message.GetKernels().GetRows())
		}
	}
}

// TestSchemaFollowsProto compares the tables here with the messages of trace.proto, name by name.
func TestSchemaFollowsProto(t *testing.T) {
	batch := (&tracepb.Batch{}).ProtoReflect().Descriptor().Fields()
	tables := schema()
	if got, want := len(tables), batch.Len()-1; got != want {
		t.Errorf("%d tables here, %d in trace.proto", got, want)
	}
	for _, tb := range tables {
		f := batch.ByNumber(protowire.Number(tb.kind))
		if f == nil || f.Message() == nil {
			t.Errorf("kind %d has no table in trace.proto", tb.kind)
			continue
		}
		columns := f.Message().Fields()
		extra := 1 // rows
		if tb.ticks {
			for number, name := range map[protowire.Number]string{fieldOrigin: "origin", fieldTick: "tick", fieldStartError: "start_error", fieldEndError: "end_error"} {
				extra++
				if p := columns.ByNumber(number); p == nil || string(p.Name()) != name {
					t.Errorf("%s: field %d is %q here, %v in trace.proto", f.Name(), number, name, p)
				}
			}
		}
		if tb.scaled {
			extra++
			if p := columns.ByNumber(fieldScale); p == nil || p.Name() != "scale" {
				t.Errorf("%s: field %d is scale here, %v in trace.proto", f.Name(), fieldScale, p)
			}
		}
		if got, want := len(tb.columns), columns.Len()-extra; got != want {
			t.Errorf("%s: %d columns here, %d in trace.proto", f.Name(), got, want)
		}
		for i, c := range tb.columns {
			if p := columns.ByNumber(protowire.Number(fieldFirst + i)); p == nil || string(p.Name()) != c.name {
				t.Errorf("%s: field %d is %q here, %v in trace.proto", f.Name(), fieldFirst+i, c.name, p)
			}
		}
		if name := tb.columns[tb.time].name; name != "time" && name != "start" && name != "enter" {
			t.Errorf("%s: column of times is %q", f.Name(), name)
		}
		if tb.lasts != (tb.columns[min(fieldDuration-fieldFirst, len(tb.columns)-1)].name == "duration") {
			t.Errorf("%s: lasts is %v", f.Name(), tb.lasts)
		}
	}
}

// TestSchemaFollowsEvents counts the columns of the event model.
func TestSchemaFollowsEvents(t *testing.T) {
	want := 0
	batch := reflect.TypeFor[event.Batch]()
	for i := range batch.NumField() {
		if f := batch.Field(i); f.Type.Kind() == reflect.Struct {
			want += f.Type.NumField()
		}
	}
	got := 0
	for _, tb := range schema() {
		got += len(tb.columns)
	}
	if got != want {
		t.Errorf("schema has %d columns, the event model %d", got, want)
	}
}

// frame encodes b and returns the frame's header and its payload.
func frame(t testing.TB, e *encoder, d *decoder, b *event.Batch) (frameHeader, []byte) {
	t.Helper()
	frame := e.batch(nil, b, 0)
	h, ok := parseFrameHeader(frame)
	if !ok || h.size() != len(frame) {
		t.Fatalf("header of a frame of %d bytes: %+v, %v", len(frame), h, ok)
	}
	payload, err := d.payload(&h, frame[frameHeaderSize:])
	if err != nil {
		t.Fatal(err)
	}
	return h, payload
}

func testCodec(t testing.TB) (*encoder, *decoder) {
	t.Helper()
	e, err := newEncoder()
	if err != nil {
		t.Fatal(err)
	}
	d, err := newDecoder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	return e, d
}

func BenchmarkCodec(b *testing.B) {
	for _, c := range []struct {
		name string
		tick float64
	}{{"ns", 0}, {"tick32", 32}} {
		var batch, out event.Batch
		newGPT(1, c.tick).fill(&batch, writeRows)
		e, d := testCodec(b)
		frame := e.batch(nil, &batch, 0)
		b.Run("encode/"+c.name, func(b *testing.B) {
			for b.Loop() {
				frame = e.batch(frame[:0], &batch, 0)
			}
			b.ReportMetric(float64(len(frame))/writeRows, "bytes/kernel")
			b.ReportMetric(2*writeRows*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
		b.Run("decode/"+c.name, func(b *testing.B) {
			h, _ := parseFrameHeader(frame)
			for b.Loop() {
				payload, err := d.payload(&h, frame[frameHeaderSize:])
				if err == nil {
					err = d.batch(payload, &h, &out)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(writeRows*float64(b.N)/b.Elapsed().Seconds(), "kernels/s")
		})
	}
}
