package collect

import (
	"fmt"
	"slices"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/cupti/abi"
)

// heardRuler keeps what it is told.
type heardRuler struct {
	ticks    []string
	switches []Switch
}

func (h *heardRuler) Tick(pid int32, call string, at event.Time, count uint64) {
	h.ticks = append(h.ticks, fmt.Sprintf("%d %s %d %d", pid, call, at, count))
}

func (h *heardRuler) Switch(_ int32, s Switch) { h.switches = append(h.switches, s) }

func TestRulerIsToldWhatMakesSense(t *testing.T) {
	l := makeTarget(t, smallSizes, 0)
	l.clock(10_000, 20_000)
	sync := l.text("cuCtxSynchronize")
	tick := func(at, count uint64, name uint32) {
		l.alloc.write(abi.RecTick, 0, body(abi.Tick{Time: at, Count: count, Name: name}))
	}
	change := func(state uint32, began, taken, ended uint64) {
		l.alloc.write(abi.RecState, 0, body(abi.StateChange{State: state, Began: began, Taken: taken, Time: ended}))
	}
	tick(1000, 1, sync)
	tick(2000, 5, sync)
	tick(3000, 1, 0)        // no name
	tick(3000, 1, 1<<30)    // nor here
	tick(0, 6, sync)        // no time
	tick(1<<63, 6, sync)    // none that there is
	tick(4000, 1<<63, sync) // the controller's affair
	change(abi.StateArmed, 100, 110, 120)
	change(abi.StatePaused, 0, 0, 200)     // no switch
	change(abi.StatePaused, 300, 200, 400) // out of order
	change(abi.StatePaused, 500, 600, 550)
	change(abi.StatePaused, 1<<63, 1<<63, 1<<63)
	change(abi.StatePaused, 700, 710, 720)

	heard := &heardRuler{}
	r, _, _ := newTestReader(t, l, func(c *Config) { c.Ruler = heard })
	mustDrain(t, r)
	mustClose(t, r)
	want := []string{"4242 cuCtxSynchronize 1000 1", "4242 cuCtxSynchronize 2000 5", fmt.Sprintf("4242 cuCtxSynchronize 4000 %d", uint64(1<<63))}
	if !slices.Equal(heard.ticks, want) {
		t.Errorf("ticks %q, want %q", heard.ticks, want)
	}
	if want := []Switch{{true, 100, 110, 120}, {false, 700, 710, 720}}; !slices.Equal(heard.switches, want) {
		t.Errorf("switches %v, want %v", heard.switches, want)
	}
}

func TestTicksWithoutARulerAreRead(t *testing.T) {
	l := makeTarget(t, smallSizes, 0)
	l.clock(10_000, 20_000)
	l.alloc.write(abi.RecTick, 0, body(abi.Tick{Time: 1, Count: 1, Name: l.text("cuCtxSynchronize")}))
	r, _, _ := newTestReader(t, l, nil)
	if n := mustDrain(t, r); n != 2 {
		t.Errorf("read %d records", n)
	}
	if s := mustClose(t, r); len(s.Losses) != 0 {
		t.Errorf("losses %+v", s.Losses)
	}
}
