package exchange

import (
	"bytes"
	"strings"

	"github.com/warpscope/warpscope/agent/event"
)

// maxOwners bounds the processes told apart, and the groups of them.
const maxOwners = 4096

// owners are the processes of a trace. PyTorch names them by their PID on the CPU's side; work on
// GPUs stands under the GPU's number, so that its process is known only where there is one, or where
// its launching call is. Tools that merge the traces of several ranks put a label before both
// numbers ("[TP03] 1234"): processes and GPUs of one label belong together.
type owners struct {
	labels  []string // of groups; 0 is without
	byLabel map[string]uint32
	list    []owner
	byKey   map[ownerKey]uint32

	raw   []byte // the last pid, as it stands in the file
	label uint32
	pid   int64
}

// owner is a process.
type owner struct {
	ownerKey
	calls   bool // it calls CUDA
	defined event.ProcessID
}

type ownerKey struct {
	label uint32
	pid   int64 // -1: none is named
}

func newOwners() owners {
	return owners{labels: []string{""}, byLabel: map[string]uint32{"": 0}, byKey: make(map[ownerKey]uint32)}
}

// split takes an event's pid apart.
func (o *owners) split(raw []byte) (label uint32, pid int64) {
	if len(raw) > 0 && bytes.Equal(raw, o.raw) {
		return o.label, o.pid
	}
	o.raw = append(o.raw[:0], raw...)
	o.label, o.pid = o.parse(raw)
	return o.label, o.pid
}

func (o *owners) parse(raw []byte) (uint32, int64) {
	if pid, ok := integer(raw); ok {
		return 0, max(pid, -1)
	}
	name := text(inner(raw), 256)
	digits := len(name)
	for digits > 0 && name[digits-1] >= '0' && name[digits-1] <= '9' {
		digits--
	}
	pid, ok := integer([]byte(name[digits:]))
	if !ok {
		pid, digits = -1, len(name)
	}
	label := strings.TrimSpace(name[:digits])
	at, ok := o.byLabel[label]
	if !ok && len(o.labels) < maxOwners {
		at = uint32(len(o.labels))
		o.labels = append(o.labels, label)
		o.byLabel[label] = at
	}
	return at, pid
}

// noOwner is for work whose process is not known.
const noOwner = ^uint32(0)

// process returns the index of the process that an event on the CPU's side names.
func (o *owners) process(raw []byte, calls bool) uint32 {
	label, pid := o.split(raw)
	return o.at(ownerKey{label, pid}, calls)
}

func (o *owners) at(key ownerKey, calls bool) uint32 {
	at, ok := o.byKey[key]
	if !ok {
		if len(o.list) >= maxOwners {
			return noOwner
		}
		at = uint32(len(o.list))
		o.list = append(o.list, owner{ownerKey: key})
		o.byKey[key] = at
	}
	if calls {
		o.list[at].calls = true
	}
	return at
}

// candidates says whose the GPU work of a label can be: at is noOwner if nobody is named, or several.
func (o *owners) candidates(label uint32) (at uint32, several bool) {
	// Those that call CUDA before the others, those of the label before the others.
	for _, wanted := range []func(*owner) bool{
		func(p *owner) bool { return p.label == label && p.calls },
		func(p *owner) bool { return p.label == label },
		func(p *owner) bool { return p.calls && (label == 0 || p.label == 0) },
		func(p *owner) bool { return label == 0 || p.label == 0 },
	} {
		count := 0
		for i := range o.list {
			if wanted(&o.list[i]) {
				at = uint32(i)
				count++
			}
		}
		switch {
		case count == 1:
			return at, false
		case count > 1:
			return noOwner, true
		}
	}
	return noOwner, false
}
