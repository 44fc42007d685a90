package collect

import (
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/collect/symbols"
	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/cupti/abi"
)

func noSymbols(symbols.Module, uint64) (string, uint64, bool) { return "", 0, false }

func TestStacksResolveOnce(t *testing.T) {
	l := makeTarget(t, smallSizes, 0)
	l.device(0, 1)
	asked := 0
	r, j, _ := newTestReader(t, l, func(c *Config) {
		c.Resolve = func(m symbols.Module, pc uint64) (string, uint64, bool) {
			asked++
			if m.Path != "/lib/a.so" || m.Base != 0x1000 || m.BuildID != "beef" {
				t.Errorf("asked for %+v", m)
			}
			return "f", 4, true
		}
	})
	here := l.maps(abi.Map{Base: 0x1000, Start: 0x1000, End: 0x2000, Path: l.text("/lib/a.so"), Id: l.text("beef")})
	l.malloc(0x1000, 1, l.stack(here, 0x1800))
	l.malloc(0x2000, 1, l.stack(here, 0x1800, 0x1800))
	l.malloc(0x3000, 1, l.stack(here, 0x2000)) // the call is the last instruction
	l.malloc(0x4000, 1, l.stack(here, 0x1000)) // the call lies before
	l.malloc(0x5000, 1, l.stack(999999, 0x1800))
	l.malloc(0x6000, 1, here) // no stack at all
	sum := mustClose(t, r)
	if n := lossOf(sum.Losses, event.KindAllocation, event.LossArenaFull); n != 1 {
		t.Errorf("%d stacks counted as missing, want 1", n)
	}
	var lines []string
	for _, id := range j.events.Allocations.Stack {
		line := ""
		for _, f := range j.tables.Stack(id) {
			frame := j.tables.Frame(f)
			line += j.tables.String(frame.Symbol) + "@" + j.tables.String(frame.Module) + " "
		}
		lines = append(lines, line)
	}
	want := "f@/lib/a.so |f@/lib/a.so f@/lib/a.so |f@/lib/a.so |@ |@ |"
	if got := strings.Join(lines, "|"); got != want {
		t.Errorf("stacks %q, want %q", got, want)
	}
	if asked != 2 {
		t.Errorf("asked for %d symbols, want 2: each place once", asked)
	}
}

// Overlapping objects must not multiply what an arena can make the agent copy.
func TestArenaBudget(t *testing.T) {
	l := makeTarget(t, smallSizes, 0)
	l.device(0, 1)
	l.clock(1, 1)
	// Every 8 bytes begin a string that reaches almost to the end.
	start := l.header.Arena_used
	for at := start; at+8 <= uint64(len(l.arena)); at += 8 {
		object := asBytes(abi.Object{Type: abi.ObjString, Size: uint32(uint64(len(l.arena)) - at - 8)})
		copy(l.arena[at:], object)
	}
	l.header.Arena_used = uint64(len(l.arena))
	sink := &copied{}
	r, err := NewReader(l.bytes, Config{Sink: sink, Resolve: noSymbols})
	if err != nil {
		t.Fatal(err)
	}
	for at := start; at+8 <= uint64(len(l.arena)); at += 8 {
		for !l.timeline.write(abi.RecApi, 0, body(abi.Api{Enter: 1, Exit: 2, Name: uint32(at / 8)})) {
			mustDrain(t, r)
		}
	}
	mustClose(t, r)
	if sink.bytes == 0 || sink.bytes > 4*len(l.arena) { // every NUL and stray byte becomes up to 3 bytes of UTF-8
		t.Errorf("%d bytes of strings from an arena of %d", sink.bytes, len(l.arena))
	}
}

type copied struct{ bytes int }

func (c *copied) Define(d *event.Definitions) error {
	for _, s := range d.Strings {
		c.bytes += len(s)
	}
	return nil
}
func (c *copied) Batch(*event.Batch) error  { return nil }
func (c *copied) Live(*event.LiveSet) error { return nil }

func TestArenaRefuses(t *testing.T) {
	l := makeTarget(t, smallSizes, 0)
	a := arena{data: l.arena, used: &l.header.Arena_used}
	good := l.text("good")
	budget := 1000
	if got := a.text(uint64(good), &budget); got != "good" || budget != 996 {
		t.Errorf("%q, budget %d", got, budget)
	}
	for _, id := range []uint64{0, uint64(good) + 1, uint64(len(l.arena)) / 8, 1 << 61, ^uint64(0), l.header.Arena_used / 8} {
		if b := a.object(id, abi.ObjString); b != nil {
			t.Errorf("id %d: %q", id, b)
		}
	}
	if b := a.object(uint64(good), abi.ObjStack); b != nil {
		t.Errorf("a string as a stack: %q", b)
	}
}
