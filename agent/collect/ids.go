package collect

import (
	"encoding/binary"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/warpscope/warpscope/agent/event"
)

// ids hands out the identifiers of a trace and keeps the definitions that were not written yet.
// Equal things of different processes share one identifier. It is safe for concurrent use.
type ids struct {
	mu        sync.Mutex
	strings   map[string]event.StringID
	launches  map[event.Launch]event.LaunchID
	frames    map[event.Frame]event.FrameID
	stacks    map[string]event.StackID
	gpus      map[string]event.GPUID
	processes event.ProcessID
	pending   event.Definitions
}

func newIDs() *ids {
	return &ids{
		strings:  map[string]event.StringID{},
		launches: map[event.Launch]event.LaunchID{},
		frames:   map[event.Frame]event.FrameID{},
		stacks:   map[string]event.StackID{},
		gpus:     map[string]event.GPUID{},
	}
}

// text returns the identifier of a string, 0 for "". What is not UTF-8 is made so.
func (t *ids) text(s string) event.StringID {
	if s == "" {
		return 0
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return intern(t.strings, s, &t.pending.Strings)
}

// launch returns the identifier of a launch configuration.
func (t *ids) launch(l event.Launch) event.LaunchID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return intern(t.launches, l, &t.pending.Launches)
}

// frame returns the identifier of a place in code.
func (t *ids) frame(f event.Frame) event.FrameID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return intern(t.frames, f, &t.pending.Frames)
}

// stack returns the identifier of a chain of frames, 0 for an empty one.
func (t *ids) stack(frames []event.FrameID) event.StackID {
	if len(frames) == 0 {
		return 0
	}
	key := make([]byte, 0, 4*len(frames))
	for _, f := range frames {
		key = binary.LittleEndian.AppendUint32(key, uint32(f))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if id, ok := t.stacks[string(key)]; ok {
		return id
	}
	id := event.StackID(len(t.stacks) + 1)
	t.stacks[string(key)] = id
	t.pending.Stacks = append(t.pending.Stacks, append(event.Stack(nil), frames...))
	return id
}

// gpu returns the identifier of a GPU by its UUID; the first description of it stays.
func (t *ids) gpu(g event.GPU) event.GPUID {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id, ok := t.gpus[g.UUID]; ok {
		return id
	}
	id := event.GPUID(len(t.gpus) + 1)
	t.gpus[g.UUID] = id
	t.pending.GPUs = append(t.pending.GPUs, g)
	return id
}

// process defines a process and returns its identifier.
func (t *ids) process(p event.Process) event.ProcessID {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.processes++
	t.pending.Processes = append(t.pending.Processes, p)
	return t.processes
}

// take returns the definitions since the last call.
func (t *ids) take() event.Definitions {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.pending
	t.pending = event.Definitions{}
	return d
}

// intern returns the identifier of a key; a new one is appended to what has to be defined.
func intern[K comparable, ID ~uint32](known map[K]ID, key K, pending *[]K) ID {
	if id, ok := known[key]; ok {
		return id
	}
	id := ID(len(known) + 1)
	known[key] = id
	*pending = append(*pending, key)
	return id
}
