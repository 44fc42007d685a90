package collect

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/collect/symbols"
	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/cupti/abi"
)

// Mode is what programs are traced for.
type Mode uint32

// Values of Mode.
const (
	Ledger   Mode = abi.ModeLedger   // allocations only
	Timeline Mode = abi.ModeTimeline // allocations and what the GPU did
)

// APILevel is which CPU-side calls are recorded.
type APILevel uint32

// Values of APILevel.
const (
	APINone   APILevel = abi.ApiNone
	APILaunch APILevel = abi.ApiLaunch
	APIAll    APILevel = abi.ApiAll
)

// GraphLevel is how launches of CUDA graphs are recorded.
type GraphLevel uint32

// Values of GraphLevel.
const (
	GraphsWhole GraphLevel = abi.GraphsGraph
	GraphsNode  GraphLevel = abi.GraphsNode
)

// String returns "ledger" or "timeline".
func (m Mode) String() string { return name(uint32(m), "", "ledger", "timeline") }

// String returns "none", "launch" or "all".
func (l APILevel) String() string { return name(uint32(l), "none", "launch", "all") }

// String returns "graph" or "node".
func (l GraphLevel) String() string { return name(uint32(l), "graph", "node") }

func name(value uint32, names ...string) string {
	if int64(value) < int64(len(names)) && names[value] != "" {
		return names[value]
	}
	return fmt.Sprintf("unknown(%d)", value)
}

// ParseMode is the inverse of Mode.String.
func ParseMode(s string) (Mode, error) {
	for _, m := range []Mode{Ledger, Timeline} {
		if s == m.String() {
			return m, nil
		}
	}
	return 0, fmt.Errorf("parse mode: %q is neither ledger nor timeline", s)
}

// ParseAPILevel is the inverse of APILevel.String.
func ParseAPILevel(s string) (APILevel, error) {
	for _, l := range []APILevel{APINone, APILaunch, APIAll} {
		if s == l.String() {
			return l, nil
		}
	}
	return 0, fmt.Errorf("parse API level: %q is none of none, launch, all", s)
}

// ParseGraphLevel is the inverse of GraphLevel.String.
func ParseGraphLevel(s string) (GraphLevel, error) {
	for _, l := range []GraphLevel{GraphsWhole, GraphsNode} {
		if s == l.String() {
			return l, nil
		}
	}
	return 0, fmt.Errorf("parse graph level: %q is neither graph nor node", s)
}

// Resolve names the function that returns to pc: its symbol as the linker named it, and the offset
// of pc from it. ok is false where nothing is known. It is called by one goroutine at a time.
type Resolve func(m symbols.Module, pc uint64) (symbol string, offset uint64, ok bool)

// Sizes are the sizes of the parts of the shared memory of one process, in bytes. The memory is
// sparse: it costs what is touched.
type Sizes struct {
	AllocRing    uint64 // a power of two
	TimelineRing uint64 // a power of two
	LiveTable    uint64 // 64 bytes an entry, a power of two
	Arena        uint64
}

// Config says what is collected, and where it goes. Only Sink is needed.
type Config struct {
	Sink event.Sink

	Mode        Mode // 0: Timeline
	API         APILevel
	Graphs      GraphLevel
	StartPaused bool    // no timeline until SetTimeline(true)
	Trigger     Trigger // on top of that
	// Ruler is told how far programs come; nil: nobody is, and the programs do not count.
	Ruler Ruler

	// OutOfMemory is called when a call has been read that failed for want of memory; nil: nobody wants to know. It
	// is called by many goroutines and must not wait.
	OutOfMemory func()

	Dir     string  // where the private directory of the socket is made, if that works; else in the temporary directory
	Sizes   Sizes   // zero fields: defaults
	Resolve Resolve // nil: a symbols.Resolver of its own

	Now          func() event.Time // CLOCK_MONOTONIC; nil: the machine's
	MinInterval  time.Duration     // between turns of a busy reader; 0: 5 ms
	MaxInterval  time.Duration     // between turns of an idle one; 0: 50 ms
	FlushAge     time.Duration     // the longest time a row waits for its batch to fill; 0: 1 s
	Checkpoint   time.Duration     // between live sets while allocations go on; 0: 10 s
	CloseTimeout time.Duration     // bound on Close; 0: 10 s
}

// Defaults. The rings are sized by what a process writes while its reader is held up: 32 MiB are
// 500 000 kernels; the allocation ring is sparse, punched behind the reader, and 256 MiB are 2 million
// driver allocations of backlog.
const (
	defaultAllocRing    = 256 << 20
	defaultTimelineRing = 32 << 20
	defaultLiveTable    = 64 << 20
	defaultArena        = 256 << 20
)

func (c Config) withDefaults() (Config, error) {
	if c.Sink == nil {
		return c, errors.New("configure collection: no sink")
	}
	if c.Mode == 0 {
		c.Mode = Timeline
	}
	if c.Now == nil {
		c.Now = monotonic
	}
	if c.Resolve == nil {
		c.Resolve = symbols.New().Resolve
	}
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&c.MinInterval, 5 * time.Millisecond},
		{&c.MaxInterval, 50 * time.Millisecond},
		{&c.FlushAge, time.Second},
		{&c.Checkpoint, 10 * time.Second},
		{&c.CloseTimeout, 10 * time.Second},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	c.MaxInterval = max(c.MaxInterval, c.MinInterval)
	for _, s := range []struct {
		name     string
		value    *uint64
		standard uint64
		power    bool
	}{
		{"allocation ring", &c.Sizes.AllocRing, defaultAllocRing, true},
		{"timeline ring", &c.Sizes.TimelineRing, defaultTimelineRing, true},
		{"live table", &c.Sizes.LiveTable, defaultLiveTable, true},
		{"arena", &c.Sizes.Arena, defaultArena, false},
	} {
		if *s.value == 0 {
			*s.value = s.standard
		}
		switch {
		case *s.value < abi.Page || *s.value%abi.Page != 0 || *s.value > 1<<34:
			return c, fmt.Errorf("configure collection: %s of %d bytes: want pages, at most 16 GiB", s.name, *s.value)
		case s.power && *s.value&(*s.value-1) != 0:
			return c, fmt.Errorf("configure collection: %s of %d bytes: want a power of two", s.name, *s.value)
		}
	}
	return c, nil
}

// monotonic is CLOCK_MONOTONIC in ns, the time base of a trace.
func monotonic() event.Time {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0
	}
	return event.Time(t.Nano())
}
