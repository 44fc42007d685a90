package collect

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/cupti/abi"
)

// counter is a sink that checks the shape of what it gets and counts rows.
type counter struct {
	t    testing.TB
	rows int
}

func (c *counter) Define(*event.Definitions) error { return nil }

func (c *counter) Batch(b *event.Batch) error {
	for _, n := range rows(b) {
		c.rows += n
	}
	a := &b.Allocations
	if n := len(a.Sequence); len(a.Stack) != n || len(a.API) != n || len(a.Known) != n {
		c.t.Fatal("columns of different lengths")
	}
	k := &b.Kernels
	if n := len(k.Start); len(k.Launch) != n || len(k.GraphNode) != n || len(k.Duration) != n {
		c.t.Fatal("columns of different lengths")
	}
	return nil
}

func (c *counter) Live(l *event.LiveSet) error {
	if len(l.Live.Stack) != len(l.Live.Sequence) {
		c.t.Fatal("columns of different lengths")
	}
	return nil
}

// scribble changes memory as data says: each 11 bytes are a place, a length and a value.
func scribble(memory, data []byte) {
	for ; len(data) >= 11; data = data[11:] {
		at := uint64(binary.LittleEndian.Uint16(data)) << 3
		switch data[2] % 4 {
		case 0: // anywhere
			at = uint64(binary.LittleEndian.Uint32(data)&0xffffff) << 3
		case 1: // header
			at %= abi.Page
		case 2: // records and controls
			at %= uint64(len(memory)) / 2
		}
		at %= uint64(len(memory) - 8)
		copy(memory[at&^7:], data[3:11])
	}
}

// seeds are changes worth starting from: places in the header and in the rings.
func seeds(f *testing.F) {
	f.Add([]byte{})
	header := abi.Header{}
	for _, field := range []uintptr{
		unsafe.Offsetof(header.Alloc_ring), unsafe.Offsetof(header.Timeline_ring), unsafe.Offsetof(header.Live_table),
		unsafe.Offsetof(header.Arena), unsafe.Offsetof(header.Arena_used), unsafe.Offsetof(header.Command),
		unsafe.Offsetof(header.State), unsafe.Offsetof(header.Lost), abi.Page, abi.Page + 64, abi.Page + 128, 2*abi.Page + 64, 9 * abi.Page,
	} {
		for _, value := range []uint64{0, 1, 1 << 12, 1<<40 + 1, 1 << 63, ^uint64(0)} {
			seed := binary.LittleEndian.AppendUint16(nil, uint16(field>>3))
			f.Add(binary.LittleEndian.AppendUint64(append(seed, 3), value))
		}
	}
}

// FuzzRing drains a ring whose memory a hostile program has changed, before the reader comes and while
// it reads. Nothing may panic, hang or yield more rows than there is room for.
func FuzzRing(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		data = data[:min(len(data), 4096)]
		l := makeTarget(t, smallSizes, 0)
		playFile(l)
		half := len(data) / 2 / 11 * 11
		scribble(l.bytes, data[:half])
		sink, c := &counter{t: t}, newFakeClock(1e9)
		r, err := NewReader(l.bytes, Config{Sink: sink, Now: c.time, Resolve: noSymbols})
		if err != nil {
			return
		}
		drain := func() {
			if _, err := r.Drain(); err != nil {
				t.Fatal(err)
			}
			c.pass(3 * time.Second)
		}
		drain()
		scribble(l.bytes, data[half:])
		for range 5 {
			drain()
		}
		r.finish(true)
		r.Summary()
		if most := 8 * 2 * 2 * int(smallSizes.AllocRing) / abi.Slot; sink.rows > most {
			t.Fatalf("%d rows, there is room for %d", sink.rows, most)
		}
	})
}

// FuzzRecover recovers a capture file that was changed and cut.
func FuzzRecover(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		data = data[:min(len(data), 4096)]
		l := makeTarget(t, smallSizes, abi.FlagFile)
		playFile(l)
		scribble(l.bytes, data)
		size := len(l.bytes)
		if n := len(data); n > 2 && data[n-1]&1 != 0 {
			size = int(binary.LittleEndian.Uint16(data[n-2:])) << 3 % size
		}
		path := filepath.Join(t.TempDir(), "f.wscap")
		if err := os.WriteFile(path, l.bytes[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenCapture(path)
		sink := &counter{t: t}
		if _, err2 := Recover(Config{Sink: sink, Resolve: noSymbols}, path); (err == nil) != (err2 == nil) {
			t.Fatalf("open: %v, recover: %v", err, err2)
		}
		if err != nil && !errors.Is(err, ErrNotCapture) && !errors.Is(err, ErrNotReady) && !errors.Is(err, ErrVersion) {
			t.Fatal(err)
		}
	})
}
