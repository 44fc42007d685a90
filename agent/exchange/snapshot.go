package exchange

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/exchange/pickle"
)

// ErrNotSnapshot is returned for a pickle that is no memory snapshot.
var ErrNotSnapshot = errors.New("not a PyTorch memory snapshot")

// ReadSnapshot reads what torch.cuda.memory._dump_snapshot() wrote, plain or compressed, of PyTorch 2.0
// and newer, also as C++ programs write it, and the plain list that torch.cuda.memory_snapshot()
// returns. Nothing in the file is executed. What of it is not understood stands in the Notes.
func ReadSnapshot(ctx context.Context, src io.Reader) (*event.Snapshot, error) {
	r, _, done, err := unpack(src)
	if err != nil {
		return nil, fmt.Errorf("read memory snapshot: %w", err)
	}
	defer done()
	b := newSnapshotBuilder()
	root, h, err := pickle.Read(ctx, r, b, pickle.Limits{})
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, errors.New("read memory snapshot: what is compressed is cut off")
	}
	if err != nil {
		return nil, fmt.Errorf("read memory snapshot: %w", err)
	}
	l := layout{b: b, h: h, out: b.out}
	if err := l.read(root); err != nil {
		return nil, fmt.Errorf("read memory snapshot: %w", err)
	}
	return b.out, nil
}

// layout finds its way in a snapshot.
type layout struct {
	b       *snapshotBuilder
	h       *pickle.Heap
	out     *event.Snapshot
	unknown map[string]uint64 // what was not understood
}

func (l *layout) note(format string, v ...any) {
	if l.unknown == nil {
		l.unknown = map[string]uint64{}
	}
	l.unknown[fmt.Sprintf(format, v...)]++
}

func (l *layout) read(root pickle.Value) error {
	segments, traces := root, pickle.Value(0)
	switch root.Kind() {
	case pickle.Dict:
		var ok, traced bool
		if segments, ok = l.h.Get(root, "segments"); !ok {
			segments = 0
		}
		if traces, traced = l.h.Get(root, "device_traces"); !ok && !traced {
			return fmt.Errorf("%w: it has neither segments nor device_traces", ErrNotSnapshot)
		}
		if ok && !l.listed(segments) {
			return fmt.Errorf("%w of a known layout: its segments are no list", ErrNotSnapshot)
		}
		if traced && !l.listed(traces) {
			l.note("device_traces are no list, and were left out")
			traces = 0
		}
	case pickle.List:
		if items := l.h.Items(root); len(items) > 0 {
			if _, ok := l.h.Get(l.h.Resolve(items[0]), "total_size"); !ok {
				return fmt.Errorf("%w: it is a list of something else", ErrNotSnapshot)
			}
		}
	default:
		return fmt.Errorf("%w: it holds no dict", ErrNotSnapshot)
	}
	devices := map[int32]*event.DeviceSnapshot{}
	device := func(n int32) *event.DeviceSnapshot {
		if devices[n] == nil {
			devices[n] = &event.DeviceSnapshot{Device: n}
		}
		return devices[n]
	}
	if err := l.segments(segments, device); err != nil {
		return err
	}
	if err := l.traces(traces, device); err != nil {
		return err
	}
	l.added(root)
	if a := l.out.Added; a != nil {
		device(a.Device) // it failed with nothing allocated
	}
	for n, d := range devices {
		if len(d.Segments) == 0 && len(d.Events) == 0 && (l.out.Added == nil || l.out.Added.Device != n) {
			continue
		}
		slices.SortFunc(d.Segments, func(x, y event.TensorSegment) int { return cmp.Compare(x.Address, y.Address) })
		l.out.Devices = append(l.out.Devices, *d)
	}
	slices.SortFunc(l.out.Devices, func(x, y event.DeviceSnapshot) int { return cmp.Compare(x.Device, y.Device) })
	if root.Kind() == pickle.Dict {
		l.settings(root)
		l.marks(root)
		l.others(root)
	}
	l.notes()
	return nil
}

func (l *layout) listed(v pickle.Value) bool {
	kind := l.h.Resolve(v).Kind()
	return kind == pickle.List || kind == pickle.Tuple
}

// notes says what was not understood.
func (l *layout) notes() {
	for action, n := range l.b.actions {
		l.out.Notes = append(l.out.Notes, fmt.Sprintf("%s of the unknown action %.40q left out", plural(n, "event", "events"), action))
	}
	for text, n := range l.unknown {
		if n > 1 {
			text += fmt.Sprintf(" (%d times)", n)
		}
		l.out.Notes = append(l.out.Notes, text)
	}
	slices.Sort(l.out.Notes)
}

// others names what the file holds beside what is known.
func (l *layout) others(root pickle.Value) {
	pairs := l.h.Items(root)
	for i := 0; i+1 < len(pairs); i += 2 {
		key, _ := l.h.Text(pairs[i])
		switch key {
		case "segments", "device_traces", "allocator_settings", "external_annotations", "warpscope":
		default:
			l.note("%.40q is not known, and was left out", key)
		}
	}
}

func (l *layout) number(v pickle.Value, key string) (uint64, bool) {
	field, ok := l.h.Get(v, key)
	if !ok {
		return 0, false
	}
	return l.h.Uint(field)
}

func (l *layout) stack(v pickle.Value, key string) (uint32, error) {
	field, ok := l.h.Get(v, key)
	if !ok {
		return 0, nil
	}
	return l.b.stackOf(l.h, field)
}

func (l *layout) segments(list pickle.Value, device func(int32) *event.DeviceSnapshot) error {
	for _, v := range l.h.Items(list) {
		v = l.h.Resolve(v)
		if v.Kind() != pickle.Dict {
			l.note("a segment is not understood")
			continue
		}
		s, n, err := l.segment(v)
		if err != nil {
			return err
		}
		d := device(n)
		d.Segments = append(d.Segments, s)
	}
	return nil
}

func (l *layout) segment(v pickle.Value) (s event.TensorSegment, device int32, err error) {
	number, _ := l.number(v, "device")
	device = int32(number & 0xffff)
	s.Address, _ = l.number(v, "address")
	s.Size, _ = l.number(v, "total_size")
	stream, _ := l.number(v, "stream")
	s.Stream = intern(l.b.streams, &l.out.Streams, stream)
	if id, ok := l.h.Get(v, "segment_pool_id"); ok {
		if s.Pool = l.b.pool(l.h, id); s.Pool == event.PoolUnknown {
			l.note("the pool of a segment is not understood: it is taken for the default one")
			s.Pool = 0
		}
	}
	if kind, ok := l.h.Get(v, "segment_type"); ok {
		text, _ := l.h.Text(kind)
		s.Small = text == "small"
	}
	expandable, _ := l.number(v, "is_expandable")
	s.Expandable = expandable != 0
	if s.Stack, err = l.stack(v, "frames"); err != nil {
		return s, 0, err
	}
	blocks, _ := l.h.Get(v, "blocks")
	at := s.Address
	for _, b := range l.h.Items(blocks) {
		b = l.h.Resolve(b)
		if b.Kind() != pickle.Dict {
			l.note("a block is not understood")
			continue
		}
		block, err := l.block(b, at)
		if err != nil {
			return s, 0, err
		}
		at = block.Address + block.Size
		s.Blocks = append(s.Blocks, block)
	}
	return s, device, nil
}

// block reads a block. Old ones have no address of their own, and their stack is the latest in their history.
func (l *layout) block(v pickle.Value, at uint64) (b event.TensorBlock, err error) {
	b.Address = at
	if address, ok := l.number(v, "address"); ok {
		b.Address = address
	}
	b.Size, _ = l.number(v, "size")
	state, _ := l.h.Get(v, "state")
	switch text, _ := l.h.Text(state); {
	case text == "active_allocated":
		b.State = event.BlockLive
	case strings.HasPrefix(text, "active"): // pending_free, awaiting_free
		b.State = event.BlockPending
	case text != "inactive":
		l.note("the state %.40q of a block is not known: it is taken for free", text)
	}
	var requested bool
	b.Requested, requested = l.number(v, "requested_size")
	if b.Stack, err = l.stack(v, "frames"); err != nil {
		return b, err
	}
	if history, ok := l.h.Get(v, "history"); ok && b.Stack == 0 {
		if items := l.h.Items(history); len(items) > 0 {
			last := l.h.Resolve(items[0])
			if b.Stack, err = l.stack(last, "frames"); err != nil {
				return b, err
			}
			if size, ok := l.number(last, "real_size"); ok && !requested {
				b.Requested, requested = size, true
			}
		}
	}
	switch {
	case b.State == event.BlockFree:
		b.Requested = 0
	case !requested:
		b.Requested = b.Size
	}
	return b, nil
}

// traces reads the history of each device.
func (l *layout) traces(list pickle.Value, device func(int32) *event.DeviceSnapshot) error {
	for n, v := range l.h.Items(list) {
		if n >= maxDevices {
			break
		}
		for _, v := range l.h.Items(v) {
			if r, ok := l.h.Resolve(v).Record(); ok && r&(1<<recordBits-1) == recordEvent {
				l.b.expect(r >> recordBits)
			}
		}
	}
	for n, v := range l.h.Items(list) {
		if n >= maxDevices {
			l.note("traces of more than %d devices were left out", maxDevices)
			break
		}
		items := l.h.Items(v)
		if len(items) == 0 {
			continue
		}
		d := device(int32(n))
		d.Events = make([]event.TensorEvent, 0, len(items))
		for _, v := range items {
			v = l.h.Resolve(v)
			if r, ok := v.Record(); ok && r&(1<<recordBits-1) == recordEvent {
				d.Events = append(d.Events, l.b.take(r>>recordBits))
				continue
			}
			if _, ok := l.h.Get(v, "action"); !ok {
				l.note("an entry of a trace is not understood")
				continue
			}
			e, _, err := l.b.event(l.h, l.h.Items(v))
			if err != nil {
				return err
			}
			d.Events = append(d.Events, e)
		}
	}
	return nil
}
