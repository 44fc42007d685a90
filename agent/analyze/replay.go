package analyze

import (
	"fmt"
	"math"
	"strings"
	"sync"

	"github.com/warpscope/warpscope/agent/event"
)

const (
	// replayReproduced and replayPeakOff say how well the model must repeat what was recorded for its
	// predictions to count.
	replayReproduced = 0.99
	replayPeakOff    = 0.01
	// replaySplit is the max_split_size that is tried where none was set.
	replaySplit = 128 << 20
)

// Replay is the recorded allocations of a device, played again to a model of PyTorch's allocator.
type Replay struct {
	// Refused says why nothing is predicted; "" if it is.
	Refused string `json:"refused,omitempty"`
	// Reproduced is the part of the recorded segment events that the model repeats under the recorded
	// settings; its peak is Recorded's, the real one RecordedPeak.
	Reproduced    float64     `json:"reproduced"`
	SegmentEvents uint64      `json:"segment_events"`
	RecordedPeak  uint64      `json:"recorded_peak_bytes"`
	Recorded      ReplayRun   `json:"recorded"`
	Others        []ReplayRun `json:"others"`
	// LimitLow and LimitHigh enclose what the allocator could take in all, as failures show it; 0: none failed.
	LimitLow  uint64 `json:"limit_low_bytes,omitempty"`
	LimitHigh uint64 `json:"limit_high_bytes,omitempty"`
	OOMs      uint64 `json:"ooms"`
}

// ReplayRun is what the model does under some settings.
type ReplayRun struct {
	Settings string `json:"settings"` // as in PYTORCH_CUDA_ALLOC_CONF; "" the defaults
	Peak     uint64 `json:"peak_bytes"`
	Reserved uint64 `json:"reserved_bytes"` // at the end
	Idle     uint64 `json:"idle_bytes"`     // at the peak: reserved, in no block
	Grown    uint64 `json:"grown"`          // segments, or mappings
	Retries  uint64 `json:"retries"`        // releases of all cached memory because the driver had no more
	// OOMs is how many of the recorded failures remain, OOMsHigh where the limit is at its higher bound.
	OOMs     uint64 `json:"ooms"`
	OOMsHigh uint64 `json:"ooms_high"`
	New      uint64 `json:"new_failures"` // requests that succeeded, and would fail
}

// replayer plays one device's events.
type replayer struct {
	s      *event.Snapshot
	d      *event.DeviceSnapshot
	pools  map[uint64]uint32 // of addresses in segments of private pools
	limits replayLimits
	// emptied are releases that turn out to be the program's own.
	emptied map[int]bool
}

// ReplayDevice plays a device's recorded allocations again: under the recorded settings, to see whether
// the model can be trusted, and under others. Histories that do not begin with an empty allocator refuse.
func ReplayDevice(s *event.Snapshot, d *event.DeviceSnapshot) *Replay {
	p := &replayer{s: s, d: d, emptied: map[int]bool{}}
	r := &Replay{Others: []ReplayRun{}}
	r.Refused = p.refusal()
	if r.Refused != "" {
		return r
	}
	p.limits = p.findLimits()
	recorded := p.recorded(settingsOf(&s.Settings))
	p.limits = p.findLimits() // it showed which releases are the program's own
	r.Recorded, r.Reproduced, r.SegmentEvents = recorded.run, recorded.reproduced(), recorded.events
	r.Recorded.Settings = confText(&s.Settings)
	r.RecordedPeak, r.OOMs = p.limits.peak, p.limits.ooms
	r.LimitLow, r.LimitHigh = p.limits.low, p.limits.high
	off := math.Abs(float64(r.Recorded.Peak)-float64(r.RecordedPeak)) / math.Max(float64(r.RecordedPeak), 1)
	if r.Reproduced < replayReproduced || off > replayPeakOff {
		r.Refused = fmt.Sprintf("the model repeats %.1f%% of the recorded segment events and comes within %.1f%% of the peak: too little to predict other settings from",
			r.Reproduced*100, off*100)
		return r
	}
	others := p.others()
	r.Others = make([]ReplayRun, len(others))
	var work sync.WaitGroup
	for i, o := range others {
		work.Go(func() { r.Others[i] = p.under(o) }) // each with a model of its own
	}
	work.Wait()
	return r
}

// confText writes settings that matter here as PYTORCH_CUDA_ALLOC_CONF has them.
func confText(s *event.AllocatorSettings) string {
	var parts []string
	if s.Expandable {
		parts = append(parts, "expandable_segments:True")
	}
	if s.MaxSplit > 0 {
		parts = append(parts, fmt.Sprintf("max_split_size_mb:%d", s.MaxSplit>>20))
	}
	return strings.Join(parts, ",")
}

// others are the settings to try.
func (p *replayer) others() []event.AllocatorSettings {
	s := p.s.Settings
	expandable, split, native := s, s, s
	expandable.Expandable, expandable.MaxSplit = true, 0
	split.Expandable, split.MaxSplit = false, replaySplit
	native.Expandable, native.MaxSplit = false, 0
	var out []event.AllocatorSettings
	for _, o := range []event.AllocatorSettings{expandable, split, native} {
		if o.Expandable != s.Expandable || o.MaxSplit != s.MaxSplit {
			out = append(out, o)
		}
	}
	return out
}

// refusal says why a history cannot be played; "" if it can.
func (p *replayer) refusal() string {
	if len(p.d.Events) == 0 {
		return "the snapshot has no history of allocations"
	}
	if b := p.s.Settings.Backend; b != "" {
		return fmt.Sprintf("the allocator was %q, and only PyTorch's own is modelled", b)
	}
	var c struct{ alloc, freed, grown, shrunk, live, reserved uint64 }
	for i := range p.d.Events {
		e := &p.d.Events[i]
		switch e.Action {
		case event.TensorAlloc:
			c.alloc++
		case event.TensorFreeCompleted:
			c.freed++
		case event.TensorSegmentAlloc, event.TensorSegmentMap:
			c.grown += e.Size
		case event.TensorSegmentFree, event.TensorSegmentUnmap:
			c.shrunk += e.Size
		}
	}
	for i := range p.d.Segments {
		c.reserved += p.d.Segments[i].Size
		for _, b := range p.d.Segments[i].Blocks {
			if b.State != event.BlockFree {
				c.live++
			}
		}
	}
	switch {
	case c.grown == 0 && c.reserved > 0:
		return "the history has no events of segments: it was recorded without them, or begins after they were made"
	case c.grown-c.shrunk != c.reserved:
		return fmt.Sprintf("the history is cut off: it does not tell where %s of the reserved memory comes from. "+
			"Record from before the first allocation, with max_entries large enough", byteText(c.reserved-(c.grown-c.shrunk)))
	case c.alloc-c.freed != c.live:
		return "the history is cut off: blocks are live, or were freed, that it does not allocate. Record from before the first allocation, with max_entries large enough"
	case p.s.Settings.GC > 0 && c.shrunk > 0:
		return "garbage_collection_threshold was set and memory was given back: the limit it goes by is not recorded"
	}
	p.findPools()
	return ""
}

// findPools finds the private pools of events that do not name theirs.
func (p *replayer) findPools() {
	p.pools = map[uint64]uint32{}
	for i := range p.d.Segments {
		if s := &p.d.Segments[i]; s.Pool != 0 {
			p.pools[s.Address] = s.Pool
		}
	}
	if len(p.pools) == 0 {
		return
	}
	// An event lies in the last segment that was made around it.
	starts := map[uint64]uint32{}
	for i := range p.d.Segments {
		s := &p.d.Segments[i]
		for at := s.Address >> 21; at <= (s.Address+s.Size-1)>>21 && s.Pool != 0; at++ {
			starts[at] = s.Pool
		}
	}
	p.pools = starts
}

// pool returns the pool of an event.
func (p *replayer) pool(e *event.TensorEvent) uint32 {
	if e.Pool != event.PoolUnknown {
		return e.Pool
	}
	return p.pools[e.Address>>21]
}

// byteText writes bytes as messages do.
func byteText(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v /= 1024
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%.0f B", v)
	}
	return fmt.Sprintf("%.2f %s", v, units[i])
}
