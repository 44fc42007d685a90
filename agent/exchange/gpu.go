package exchange

import (
	"bytes"

	"github.com/warpscope/warpscope/agent/event"
)

// place takes an event's label and, as far as they tell it, device and stream from where it is
// shown; what its arguments say is better and follows.
func (k *reader) place(f *fields, r *row) {
	label, pid := k.owners.split(f.pid)
	r.owner = label
	if pid >= 0 && pid < 1<<20 {
		r.device = uint32(pid)
	}
	r.stream = number(f.tid, 0)
}

// common takes an argument that all work on GPUs has.
func (r *row) common(key, value []byte) {
	switch string(key) {
	case "device":
		r.device = number(value, r.device)
	case "context":
		r.context = number(value, 0)
	case "stream":
		r.stream = number(value, r.stream)
	case "correlation":
		r.correlation = number(value, 0)
	case "graph id":
		r.graph = number(value, 0)
	case "graph node id":
		r.node = amount(value)
	case "bytes":
		r.size = amount(value)
	}
}

// kernel takes a kernel.
func (k *reader) kernel(f *fields, r *row) {
	k.place(f, r)
	r.kind = rowKernel
	l := event.Launch{Name: k.names.quoted(f.name)}
	if isObject(f.args) {
		for m := object(f.args); m.next(); {
			switch string(m.key) {
			case "grid":
				l.Grid = triple(m.value)
			case "block":
				l.Block = triple(m.value)
			case "registers per thread":
				l.Registers = number(m.value, 0)
			case "shared memory":
				// Static and dynamic in one figure.
				l.DynamicShared = number(m.value, 0)
			default:
				r.common(m.key, m.value)
			}
		}
	}
	r.what = uint32(k.names.launch(l))
	k.rows = append(k.rows, *r)
}

// triple reads a grid or block; zeros where it is none.
func triple(v []byte) (t [3]uint32) {
	e := array(v)
	for i := 0; i < len(t) && e.next(); i++ {
		t[i] = number(e.value, 0)
	}
	return t
}

// copied takes a copy: "Memcpy HtoD (Pinned -> Device)".
func (k *reader) copied(f *fields, r *row) {
	k.place(f, r)
	r.kind = rowCopy
	r.copyKind, r.source, r.target = copyKind(plain(f.name))
	// Of copies between GPUs each end is told, and who carried it out.
	from, to, counted := int64(-1), int64(-1), false
	if isObject(f.args) {
		for m := object(f.args); m.next(); {
			switch string(m.key) {
			case "fromDevice":
				from = int64(number(m.value, 0))
			case "toDevice":
				to = int64(number(m.value, 0))
			case "inDevice":
				r.device = number(m.value, r.device)
			case "inContext":
				r.context = number(m.value, 0)
			case "bytes":
				counted = true
				r.size = amount(m.value)
			default:
				r.common(m.key, m.value)
			}
		}
	}
	r.other = r.device
	for _, end := range []int64{from, to} {
		if end >= 0 && uint32(end) != r.device {
			r.other = uint32(end)
		}
	}
	if !counted {
		k.found.uncounted++
	}
	k.rows = append(k.rows, *r)
}

// copyKind reads a copy's name.
func copyKind(name []byte) (kind event.CopyKind, source, target event.MemoryKind) {
	rest, ok := bytes.CutPrefix(name, []byte("Memcpy "))
	if !ok {
		return 0, 0, 0
	}
	direction, rest, _ := bytes.Cut(rest, []byte(" ("))
	switch string(direction) {
	case "HtoD":
		kind = event.CopyHostToDevice
	case "DtoH":
		kind = event.CopyDeviceToHost
	case "HtoA":
		kind = event.CopyHostToArray
	case "AtoH":
		kind = event.CopyArrayToHost
	case "AtoA":
		kind = event.CopyArrayToArray
	case "AtoD":
		kind = event.CopyArrayToDevice
	case "DtoA":
		kind = event.CopyDeviceToArray
	case "DtoD":
		kind = event.CopyDeviceToDevice
	case "HtoH":
		kind = event.CopyHostToHost
	case "PtoP":
		kind = event.CopyPeerToPeer
	}
	from, to, _ := bytes.Cut(bytes.TrimSuffix(rest, []byte(")")), []byte(" -> "))
	return kind, memoryKind(from), memoryKind(to)
}

func memoryKind(name []byte) event.MemoryKind {
	switch string(name) {
	case "Pageable":
		return event.MemoryPageable
	case "Pinned":
		return event.MemoryPinned
	case "Device":
		return event.MemoryDevice
	case "Array":
		return event.MemoryArray
	case "Managed":
		return event.MemoryManaged
	case "Device Static":
		return event.MemoryDeviceStatic
	case "Managed Static":
		return event.MemoryManagedStatic
	}
	return event.MemoryUnknown
}

// set takes a fill: "Memset (Device)".
func (k *reader) set(f *fields, r *row) {
	k.place(f, r)
	r.kind = rowSet
	if rest, ok := bytes.CutPrefix(plain(f.name), []byte("Memset (")); ok {
		r.target = memoryKind(bytes.TrimSuffix(rest, []byte(")")))
	}
	if isObject(f.args) {
		for m := object(f.args); m.next(); {
			r.common(m.key, m.value)
		}
	}
	k.rows = append(k.rows, *r)
}

// sync takes a wait.
func (k *reader) sync(f *fields, r *row) {
	r.owner, _ = k.owners.split(f.pid)
	r.kind = rowSync
	r.stream = event.NoStream
	what := plain(f.name)
	if isObject(f.args) {
		for m := object(f.args); m.next(); {
			switch string(m.key) {
			case "cuda_sync_kind":
				what = plain(inner(m.value))
			case "stream":
				r.stream = number(m.value, event.NoStream)
			case "wait_on_cuda_event_id":
				r.other = number(m.value, 0)
			default:
				r.common(m.key, m.value)
			}
		}
	}
	switch string(what) {
	case "Event Sync":
		r.copyKind = event.CopyKind(event.SyncEvent)
	case "Stream Wait Event":
		r.copyKind = event.CopyKind(event.SyncStreamWait)
	case "Stream Sync":
		r.copyKind = event.CopyKind(event.SyncStream)
	case "Context Sync":
		r.copyKind = event.CopyKind(event.SyncContext)
	}
	k.rows = append(k.rows, *r)
}
