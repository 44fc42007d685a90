package exchange

import (
	"bytes"
	"slices"

	"github.com/warpscope/warpscope/agent/event"
)

const (
	maxDevices  = 1 << 10
	maxMessages = 4       // of the profiler's own warnings and errors that are passed on
	maxMessage  = 240     // bytes of one
	maxLine     = 4 << 10 // bytes of a name in the head
)

// head is what a trace says of itself beside its events: before them, after them, or not at all.
type head struct {
	known    bool // it has members that a trace has
	schema   int64
	base     int64 // what times are relative to, ns since 1970; 0 not told
	name     string
	host     string
	rank     int32 // -1 unknown
	world    int64
	cupti    uint32
	driver   uint32
	devices  map[uint32]event.GPU
	messages []string
	told     int // of all
}

func newHead() head { return head{schema: -1, rank: -1, devices: make(map[uint32]event.GPU)} }

// member takes a member of the outermost object.
func (h *head) member(name string, v []byte) {
	known := true
	switch name {
	case "schemaVersion":
		if n, ok := integer(v); ok {
			h.schema = n
		}
	case "baseTimeNanoseconds":
		if n, ok := integer(v); ok && n > 0 && n < 1<<61 {
			h.base = n
		}
	case "traceName":
		h.name = text(inner(v), maxLine)
	case "host_name":
		h.host = text(inner(v), maxLine)
		known = false
	case "cupti_version":
		h.cupti = number(v, 0)
		known = false
	case "cuda_driver_version":
		h.driver = number(v, 0)
		known = false
	case "distributedInfo":
		h.distributed(v)
	case "deviceProperties":
		h.properties(v)
	case "displayTimeUnit", "traceEvents":
	case "WARNING", "ERROR":
		h.warnings(v)
		known = false
	default:
		known = false
	}
	h.known = h.known || known
}

func (h *head) distributed(v []byte) {
	if !isObject(v) {
		return
	}
	for m := object(v); m.next(); {
		switch string(m.key) {
		case "rank":
			if n, ok := integer(m.value); ok && n >= 0 && n < 1<<31 {
				h.rank = int32(n)
			}
		case "world_size":
			h.world, _ = integer(m.value)
		}
	}
}

func (h *head) properties(v []byte) {
	for e := array(v); e.next() && len(h.devices) < maxDevices; {
		if !isObject(e.value) {
			continue
		}
		g := event.GPU{Index: -1}
		id := int64(-1)
		for m := object(e.value); m.next(); {
			switch string(m.key) {
			case "id":
				id, _ = integer(m.value)
			case "name":
				g.Name = text(inner(m.value), maxLine)
			case "uuid":
				g.UUID = text(inner(m.value), maxLine)
			case "totalGlobalMem":
				g.Memory = amount(m.value)
			case "numSms":
				g.Multiprocessors = number(m.value, 0)
			case "computeMajor":
				g.Capability[0] = number(m.value, 0)
			case "computeMinor":
				g.Capability[1] = number(m.value, 0)
			}
		}
		if id >= 0 && id < maxDevices {
			h.devices[uint32(id)] = g
		}
	}
}

// warnings takes the profiler's own messages: they can say that events are missing.
func (h *head) warnings(v []byte) {
	for e := array(v); e.next(); {
		h.told++
		// "WARNING:2026-01-31 12:00:00 1074:1074 File.cpp:47] what was wrong"
		m := inner(e.value)
		if _, rest, ok := bytes.Cut(m, []byte("] ")); ok {
			m = rest
		}
		if s := text(m, maxMessage); len(h.messages) < maxMessages && !slices.Contains(h.messages, s) {
			h.messages = append(h.messages, s)
		}
	}
}
