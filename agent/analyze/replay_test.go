package analyze

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
)

// recorder makes the history that PyTorch would have recorded of a program, by the model's decisions.
type recorder struct {
	s      *event.Snapshot
	d      event.DeviceSnapshot
	c      *cache
	blocks []*cacheBlock
	time   int64
	stack  uint32 // of the call under way
}

func newRecorder(s event.AllocatorSettings, limit uint64) *recorder {
	s.Known = true
	r := &recorder{
		s: &event.Snapshot{Settings: s, Texts: []string{""}, Stacks: [][]uint32{nil}, Streams: []uint64{0, 7}, Pools: []event.PoolKey{{}, {First: 0, Second: 1}}},
		c: newCache(settingsOf(&s)),
	}
	if limit > 0 {
		r.c.allow = func(_ int, grow uint64) bool { return r.c.reserved+grow <= limit }
	}
	r.c.completed = func(b *cacheBlock) { r.add(event.TensorFreeCompleted, b.address, b.requested, b.stream, r.stack) }
	r.c.did = func(a event.TensorAction, address, size uint64, stream uint32) {
		r.add(a, address, size, stream, r.stack)
	}
	return r
}

func (r *recorder) add(a event.TensorAction, address, size uint64, stream, stack uint32) {
	r.time += 1000
	r.d.Events = append(r.d.Events, event.TensorEvent{Action: a, Address: address, Size: size, Stream: stream, Stack: stack, Pool: event.PoolUnknown, Time: r.time})
}

// line returns the stack of a line of a made-up program.
func (r *recorder) line(function, file string, n int32) uint32 {
	r.s.Lines = append(r.s.Lines, event.SourceLine{Function: function, File: file, Line: n})
	r.s.Stacks = append(r.s.Stacks, []uint32{uint32(len(r.s.Lines) - 1)})
	return uint32(len(r.s.Stacks) - 1)
}

// alloc allocates, or records that it failed.
func (r *recorder) alloc(size uint64, stream, stack uint32) *cacheBlock {
	r.stack = stack
	b := r.c.malloc(size, stream, 0, stack)
	if b == nil {
		r.add(event.TensorOOM, 1<<40, r.c.settings.round(size), stream, stack)
		return nil
	}
	r.add(event.TensorAlloc, b.address, size, stream, stack)
	r.blocks = append(r.blocks, b)
	return b
}

func (r *recorder) free(b *cacheBlock) {
	r.request(b)
	r.complete(b)
}

func (r *recorder) request(b *cacheBlock) {
	r.add(event.TensorFreeRequested, b.address, b.requested, b.stream, b.stack)
	r.c.release(b)
}

func (r *recorder) complete(b *cacheBlock) {
	if !b.pending {
		return // the allocator waited for it
	}
	r.add(event.TensorFreeCompleted, b.address, b.requested, b.stream, b.stack)
	r.c.done(b)
}

// snapshot adds what is held at the end, of the events alone.
func (r *recorder) snapshot() *event.Snapshot {
	blocks := map[uint64]event.TensorBlock{}
	for _, b := range r.blocks {
		if b.allocated || b.pending {
			state := event.BlockLive
			if b.pending {
				state = event.BlockPending
			}
			blocks[b.address] = event.TensorBlock{Address: b.address, Size: b.size, Requested: b.requested, State: state, Stack: b.stack}
		}
	}
	var spans []addressSpan
	for _, e := range r.d.Events {
		switch e.Action {
		case event.TensorSegmentAlloc, event.TensorSegmentMap:
			expandable := e.Action == event.TensorSegmentMap
			spans = append(spans, addressSpan{e.Address, e.Address + e.Size, event.TensorSegment{Stream: e.Stream, Small: e.Size == cacheSmallGrow, Expandable: expandable}})
		case event.TensorSegmentFree, event.TensorSegmentUnmap:
			spans = cut(spans, e.Address, e.Address+e.Size)
		}
	}
	r.d.Segments = assemble(spans, blocks)
	r.s.Devices = []event.DeviceSnapshot{r.d}
	return r.s
}

// churn runs a program of varying lengths, which fragments; bare: stacks are not recorded. It returns false
// when it runs out of memory.
func churn(r *recorder, rounds int, seed uint64, streams uint32, bare bool) bool {
	rng := rand.New(rand.NewPCG(seed, 1))
	lines := []uint32{}
	for i := range int32(5) {
		lines = append(lines, r.line("main", "train.py", 10+i))
	}
	if bare {
		clear(lines)
	}
	var kept, waiting []*cacheBlock
	ok := true
	try := func(line int, size uint64, stream uint32) *cacheBlock {
		b := r.alloc(size, stream, lines[line])
		ok = ok && b != nil
		return b
	}
	for i := range rounds {
		length := 64 + rng.Uint64N(2000)
		stream := uint32(i) % streams
		x, y, z := try(0, length*16<<10, stream), try(1, length*32<<10, stream), try(2, 1+rng.Uint64N(400_000), stream)
		if i%3 == 0 {
			if b := try(3, (200+rng.Uint64N(700))*16<<10, stream); b != nil {
				kept = append(kept, b)
			}
		}
		for _, b := range []*cacheBlock{x, y, z} {
			switch {
			case b == nil:
			case b == y && streams > 1:
				r.request(b)
				waiting = append(waiting, b)
			default:
				r.free(b)
			}
		}
		if len(waiting) > 3 {
			r.complete(waiting[0])
			waiting = waiting[1:]
		}
		if len(kept) > 60 {
			n := rng.IntN(50)
			r.free(kept[n])
			kept = append(kept[:n], kept[n+1:]...)
		}
		if i == rounds/2 {
			for _, b := range waiting {
				r.complete(b)
			}
			waiting = nil
			r.stack = lines[4]
			r.c.releaseAll() // empty_cache()
		}
	}
	return ok
}

var replayConfs = map[string]event.AllocatorSettings{
	"native": {}, "expandable": {Expandable: true}, "split": {MaxSplit: 20 << 20}, "divisions": {Divisions: [16]uint64{4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4}},
	"large": {LargeSegment: 64 << 20},
}

// TestReplayRepeats: a recording is repeated exactly from its allocations and frees alone, with the
// memory's limit only known from what failed.
func TestReplayRepeats(t *testing.T) {
	for name, s := range replayConfs {
		for _, limit := range []uint64{0, 700 << 20, 560 << 20} {
			for _, streams := range []uint32{1, 2} {
				// Without stacks, a release for want of memory looks like the program's own where other streams are waited for.
				bare := streams == 1
				r := newRecorder(s, limit)
				churn(r, 500, 3, streams, bare)
				snap := r.snapshot()
				got := ReplayDevice(snap, &snap.Devices[0])
				if got.Refused != "" || got.Reproduced < replayReproduced || got.Recorded.Peak != got.RecordedPeak || got.RecordedPeak != r.c.peak || got.SegmentEvents < 5 {
					t.Errorf("%s, limit %d MiB, %d streams: %.3f of %d reproduced, peak %d, recorded %d, really %d %s", name, limit>>20, streams,
						got.Reproduced, got.SegmentEvents, got.Recorded.Peak, got.RecordedPeak, r.c.peak, got.Refused)
				}
				if name == "native" && len(got.Others) != 2 {
					t.Errorf("%d other settings", len(got.Others))
				}
			}
		}
	}
}

// TestReplayPredicts: what is predicted for other settings from one recording is what a recording under
// them has.
func TestReplayPredicts(t *testing.T) {
	for _, limit := range []uint64{0, 620 << 20} {
		r := newRecorder(event.AllocatorSettings{}, limit)
		failed := !churn(r, 500, 3, 1, false)
		snap := r.snapshot()
		got := ReplayDevice(snap, &snap.Devices[0])
		if got.Refused != "" {
			t.Fatal(got.Refused)
		}
		if failed != (limit > 0) || failed != (got.OOMs > 0) {
			t.Fatalf("limit %d: failed %v, %d failures recorded: the program does not show what it is for", limit, failed, got.OOMs)
		}
		for i, s := range []event.AllocatorSettings{{Expandable: true}, {MaxSplit: replaySplit}} {
			real := newRecorder(s, limit)
			ok := churn(real, 500, 3, 1, false)
			run := got.Others[i]
			if off := math.Abs(float64(run.Peak)/float64(real.c.peak) - 1); off > 0.05 {
				t.Errorf("%s, limit %d: peak %d predicted, %d real", run.Settings, limit, run.Peak, real.c.peak)
			}
			if limit > 0 && (run.OOMs == 0) != ok {
				t.Errorf("%s: %d failures predicted, real run well: %v", run.Settings, run.OOMs, ok)
			}
		}
	}
}

// TestReplayRefuses: where the history does not tell all, nothing is predicted.
func TestReplayRefuses(t *testing.T) {
	make := func(change func(s *event.Snapshot)) *Replay {
		r := newRecorder(event.AllocatorSettings{}, 0)
		churn(r, 100, 5, 1, false)
		s := r.snapshot()
		change(s)
		return ReplayDevice(s, &s.Devices[0])
	}
	for name, change := range map[string]func(s *event.Snapshot){
		"no history":    func(s *event.Snapshot) { s.Devices[0].Events = nil },
		"cut off":       func(s *event.Snapshot) { s.Devices[0].Events = s.Devices[0].Events[200:] },
		"first missing": func(s *event.Snapshot) { s.Devices[0].Events = s.Devices[0].Events[2:] },
		"backend":       func(s *event.Snapshot) { s.Settings.Backend = "cudaMallocAsync" },
		"collected":     func(s *event.Snapshot) { s.Settings.GC = 0.8 },
		"no segments": func(s *event.Snapshot) {
			var kept []event.TensorEvent
			for _, e := range s.Devices[0].Events {
				if !grows(e.Action) && !shrinks(e.Action) {
					kept = append(kept, e)
				}
			}
			s.Devices[0].Events = kept
		},
		"other settings": func(s *event.Snapshot) { s.Settings.Expandable = true },
	} {
		if got := make(change); got.Refused == "" || len(got.Others) > 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestRounding holds the model to the sizes that PyTorch documents.
func TestRounding(t *testing.T) {
	plain, four := settingsOf(&event.AllocatorSettings{}), settingsOf(&event.AllocatorSettings{Divisions: [16]uint64{4, 4}})
	for _, c := range []struct {
		s          *cacheSettings
		size, want uint64
	}{
		{&plain, 1, 512}, {&plain, 512, 512}, {&plain, 513, 1024}, {&plain, 3_000_001, 3_000_320},
		// Between 1,024 KiB and 2,048 KiB, four divisions are 1,280, 1,536, 1,792.
		{&four, 1200 << 10, 1280 << 10}, {&four, 1280 << 10, 1280 << 10}, {&four, 1281 << 10, 1536 << 10}, {&four, 1 << 20, 1 << 20},
		{&four, 1000, 1024}, {&four, 2049, 2560}, {&four, 9 << 20, 9 << 20}, {&four, 9<<20 + 1, 9<<20 + 512},
	} {
		if got := c.s.round(c.size); got != c.want {
			t.Errorf("round %d: %d, want %d", c.size, got, c.want)
		}
	}
	for size, want := range map[uint64]uint64{512: 2 << 20, 1 << 20: 2 << 20, 1<<20 + 512: 20 << 20, 10<<20 - 512: 20 << 20, 10 << 20: 10 << 20, 11<<20 + 512: 12 << 20} {
		if got := plain.growth(size); got != want {
			t.Errorf("growth for %d: %d, want %d", size, got, want)
		}
	}
}
