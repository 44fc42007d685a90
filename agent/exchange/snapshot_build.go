package exchange

import (
	"encoding/binary"
	"errors"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/exchange/pickle"
)

// snapshotKey is a key of a dict in a snapshot.
type snapshotKey uint8

const (
	keyOther snapshotKey = iota + 1
	keyAction
	keyAddr
	keyDeviceFree
	keySize
	keyStream
	keyPool
	keyTime
	keyFrames
	keyContext
	keyMetadata
	keyName
	keyFile
	keyLine
)

func keyOf(text string) snapshotKey {
	switch text {
	case "action":
		return keyAction
	case "addr":
		return keyAddr
	case "device_free":
		return keyDeviceFree
	case "size":
		return keySize
	case "stream":
		return keyStream
	case "segment_pool_id", "pool_id", "mempool_id":
		return keyPool
	case "time_us":
		return keyTime
	case "frames":
		return keyFrames
	case "compile_context":
		return keyContext
	case "user_metadata":
		return keyMetadata
	case "name":
		return keyName
	case "filename":
		return keyFile
	case "line":
		return keyLine
	}
	return keyOther
}

// Records that stand in the place of dicts and lists while a snapshot is read: an index and its sort.
const (
	recordEvent uint64 = iota + 1
	recordLine
	recordStack
	recordBits = 2
)

// rowChunk is how many events are allocated at a time.
const rowChunk = 1 << 13

// snapshotBuilder turns the entries of traces, stacks and their lines into rows while they are read, so
// that a snapshot takes a part of its file's size.
type snapshotBuilder struct {
	keys    []snapshotKey // by number of the text
	rows    []*[rowChunk]event.TensorEvent
	wanted  []uint32 // how often rows of each chunk will be taken
	count   uint64
	lines   map[event.SourceLine]uint32
	stacks  map[string]uint32
	streams map[uint64]uint32
	pools   map[event.PoolKey]uint32
	texts   map[string]uint32
	actions map[string]uint64 // that are not known
	out     *event.Snapshot
	scratch []byte
	ids     []uint32
	used    int64
}

func newSnapshotBuilder() *snapshotBuilder {
	return &snapshotBuilder{
		lines: map[event.SourceLine]uint32{}, stacks: map[string]uint32{"": 0}, streams: map[uint64]uint32{0: 0},
		pools: map[event.PoolKey]uint32{{}: 0}, texts: map[string]uint32{"": 0}, actions: map[string]uint64{},
		out: &event.Snapshot{Texts: []string{""}, Stacks: [][]uint32{nil}, Streams: []uint64{0}, Pools: []event.PoolKey{{}}},
	}
}

// Used returns how many bytes the rows take.
func (b *snapshotBuilder) Used() int64 { return b.used }

func (b *snapshotBuilder) key(h *pickle.Heap, v pickle.Value) snapshotKey {
	id, ok := h.TextID(v)
	if !ok {
		return keyOther
	}
	for uint32(len(b.keys)) <= id {
		b.keys = append(b.keys, 0)
	}
	if b.keys[id] == 0 {
		b.keys[id] = keyOf(h.TextOf(id))
	}
	return b.keys[id]
}

// Dict takes the entries of traces and the lines of stacks.
func (b *snapshotBuilder) Dict(h *pickle.Heap, pairs []pickle.Value) (uint64, bool, error) {
	var action, file, line bool
	for i := 0; i < len(pairs); i += 2 {
		switch b.key(h, pairs[i]) {
		case keyAction:
			action = true
		case keyFile:
			file = true
		case keyLine:
			line = true
		}
	}
	switch {
	case action:
		e, ok, err := b.event(h, pairs)
		if !ok || err != nil {
			return 0, false, err
		}
		return b.add(e)<<recordBits | recordEvent, true, nil
	case file && line:
		l, ok := b.line(h, pairs)
		return uint64(l)<<recordBits | recordLine, ok, nil
	}
	return 0, false, nil
}

func (b *snapshotBuilder) add(e event.TensorEvent) uint64 {
	at := b.count
	if at/rowChunk == uint64(len(b.rows)) {
		b.rows = append(b.rows, new([rowChunk]event.TensorEvent))
		b.used += rowChunk * 48
	}
	b.rows[at/rowChunk][at%rowChunk] = e
	b.count++
	return at
}

// expect counts that a row will be taken.
func (b *snapshotBuilder) expect(i uint64) {
	if b.wanted == nil {
		b.wanted = make([]uint32, len(b.rows))
	}
	b.wanted[i/rowChunk]++
}

// take returns a row that was expected. Rows that nobody expects any more are let go, so that a history is not in memory twice.
func (b *snapshotBuilder) take(i uint64) event.TensorEvent {
	at := i / rowChunk
	e := b.rows[at][i%rowChunk]
	if b.wanted[at]--; b.wanted[at] == 0 {
		b.rows[at] = nil
	}
	return e
}

// event makes a row of a trace's entry.
func (b *snapshotBuilder) event(h *pickle.Heap, pairs []pickle.Value) (e event.TensorEvent, ok bool, err error) {
	e.Pool = event.PoolUnknown
	for i := 0; i+1 < len(pairs); i += 2 {
		v := pairs[i+1]
		switch b.key(h, pairs[i]) {
		case keyAction:
			text, _ := h.Text(v)
			e.Action = b.action(text)
		case keyAddr, keyDeviceFree:
			e.Address, _ = h.Uint(v)
		case keySize:
			e.Size, _ = h.Uint(v)
		case keyStream:
			n, _ := h.Uint(v)
			e.Stream = intern(b.streams, &b.out.Streams, n)
		case keyPool:
			e.Pool = b.pool(h, v)
		case keyTime:
			n, _ := h.Int(v)
			e.Time = n * 1000
		case keyFrames:
			if e.Stack, err = b.stackOf(h, v); err != nil {
				return e, false, err
			}
		case keyContext:
			e.Context = b.text(h, v)
		case keyMetadata:
			e.Metadata = b.text(h, v)
		}
	}
	return e, true, nil
}

func (b *snapshotBuilder) action(text string) event.TensorAction {
	switch text {
	case "alloc":
		return event.TensorAlloc
	case "free_requested":
		return event.TensorFreeRequested
	case "free_completed", "free":
		return event.TensorFreeCompleted
	case "segment_alloc":
		return event.TensorSegmentAlloc
	case "segment_free":
		return event.TensorSegmentFree
	case "segment_map":
		return event.TensorSegmentMap
	case "segment_unmap":
		return event.TensorSegmentUnmap
	case "snapshot":
		return event.TensorSnapshot
	case "oom":
		return event.TensorOOM
	}
	if len(b.actions) < maxCategories {
		b.actions[text]++
	}
	return event.TensorUnknown
}

// intern returns the index of a value in a list without repetitions.
func intern[T comparable](known map[T]uint32, list *[]T, v T) uint32 {
	if id, ok := known[v]; ok {
		return id
	}
	id := uint32(len(*list))
	*list = append(*list, v)
	known[v] = id
	return id
}

func (b *snapshotBuilder) text(h *pickle.Heap, v pickle.Value) uint32 {
	text, ok := h.Text(v)
	if !ok || text == "N/A" {
		return 0
	}
	b.used += 16
	return intern(b.texts, &b.out.Texts, text)
}

func (b *snapshotBuilder) pool(h *pickle.Heap, v pickle.Value) uint32 {
	items := h.Items(v)
	if len(items) != 2 {
		return event.PoolUnknown
	}
	first, ok1 := h.Uint(items[0])
	second, ok2 := h.Uint(items[1])
	if !ok1 || !ok2 {
		return event.PoolUnknown
	}
	return intern(b.pools, &b.out.Pools, event.PoolKey{First: first, Second: second})
}

func (b *snapshotBuilder) line(h *pickle.Heap, pairs []pickle.Value) (uint32, bool) {
	var l event.SourceLine
	for i := 0; i+1 < len(pairs); i += 2 {
		switch v := pairs[i+1]; b.key(h, pairs[i]) {
		case keyName:
			l.Function, _ = h.Text(v)
		case keyFile:
			l.File, _ = h.Text(v)
		case keyLine:
			n, _ := h.Int(v)
			l.Line = int32(max(0, min(n, 1<<31-1)))
		}
	}
	before := len(b.out.Lines)
	id := intern(b.lines, &b.out.Lines, l)
	if len(b.out.Lines) > before {
		b.used += 100
	}
	return id, true
}

// List takes stacks: lists of lines.
func (b *snapshotBuilder) List(h *pickle.Heap, before uint64, more bool, items []pickle.Value) (uint64, bool, error) {
	if more && before&(1<<recordBits-1) != recordStack {
		return 0, false, errors.New("a stack's place holds something else")
	}
	b.ids = b.ids[:0]
	if more {
		b.ids = append(b.ids, b.out.Stacks[before>>recordBits]...)
	}
	for _, v := range items {
		r, ok := v.Record()
		if !ok || r&(1<<recordBits-1) != recordLine {
			if more {
				return 0, false, errors.New("a stack holds something that is no place in code")
			}
			return 0, false, nil
		}
		b.ids = append(b.ids, uint32(r>>recordBits))
	}
	return uint64(b.stack(b.ids))<<recordBits | recordStack, true, nil
}

// stack returns the index of a stack.
func (b *snapshotBuilder) stack(ids []uint32) uint32 {
	b.scratch = b.scratch[:0]
	for _, id := range ids {
		b.scratch = binary.LittleEndian.AppendUint32(b.scratch, id)
	}
	if id, ok := b.stacks[string(b.scratch)]; ok {
		return id
	}
	id := uint32(len(b.out.Stacks))
	b.out.Stacks = append(b.out.Stacks, append([]uint32(nil), ids...))
	b.stacks[string(b.scratch)] = id
	b.used += int64(8*len(ids)) + 100
	return id
}

// stackOf returns the index of the stack that a value holds.
func (b *snapshotBuilder) stackOf(h *pickle.Heap, v pickle.Value) (uint32, error) {
	v = h.Resolve(v)
	if r, ok := v.Record(); ok {
		if r&(1<<recordBits-1) != recordStack {
			return 0, errors.New("frames are no list of places in code")
		}
		return uint32(r >> recordBits), nil
	}
	ids := []uint32(nil)
	for _, item := range h.Items(v) { // protocol 0 writes item by item, so that no record was made
		item = h.Resolve(item)
		if r, ok := item.Record(); ok && r&(1<<recordBits-1) == recordLine {
			ids = append(ids, uint32(r>>recordBits))
		} else if item.Kind() == pickle.Dict {
			id, _ := b.line(h, h.Items(item))
			ids = append(ids, id)
		}
	}
	return b.stack(ids), nil
}
