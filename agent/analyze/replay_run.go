package analyze

import (
	"slices"

	"github.com/warpscope/warpscope/agent/event"
)

// replayLimits is what failures show of the memory that the allocator can have.
type replayLimits struct {
	low, high uint64 // 0: nothing failed
	own       bool   // the program's own limit, not the device's
	peak      uint64 // reserved
	ooms      uint64
	// releases are the events from which on cached memory is given back, and why.
	releases map[int]releaseCause
}

type releaseCause uint8

const (
	releaseRetry releaseCause = iota + 1 // the driver had no more
	releaseEmpty                         // the program called empty_cache()
)

func shrinks(a event.TensorAction) bool {
	return a == event.TensorSegmentFree || a == event.TensorSegmentUnmap
}

func grows(a event.TensorAction) bool {
	return a == event.TensorSegmentAlloc || a == event.TensorSegmentMap
}

// findLimits goes through the history for what the driver gave and refused.
func (p *replayer) findLimits() replayLimits {
	l := replayLimits{releases: map[int]releaseCause{}}
	settings := settingsOf(&p.s.Settings)
	reserved := uint64(0)
	high := ^uint64(0)
	exact := uint64(0)
	for i := range p.d.Events {
		e := &p.d.Events[i]
		switch {
		case grows(e.Action):
			reserved += e.Size
			l.peak = max(l.peak, reserved)
		case shrinks(e.Action):
			if p.begins(i) {
				cause, grow := p.cause(i)
				if p.emptied[i] {
					cause = releaseEmpty
				}
				l.releases[i] = cause
				if cause == releaseRetry {
					high = min(high, reserved+grow-1)
				}
			}
			reserved -= e.Size
		case e.Action == event.TensorOOM:
			l.ooms++
			grow := settings.growth(e.Size)
			high = min(high, reserved+grow-1)
			if e.Address < grow { // the device itself had no more, and says how much there was
				exact = max(exact, reserved+e.Address)
			}
		}
	}
	if high != ^uint64(0) {
		l.low, l.high, l.own = l.peak, max(high, l.peak), exact == 0
		if exact > 0 {
			l.low = max(l.low, min(exact, l.high))
			l.high = l.low
		}
	}
	return l
}

// begins says whether event i is the first of a release. Within one, blocks that other streams used may
// become free.
func (p *replayer) begins(i int) bool {
	for i--; i >= 0 && p.d.Events[i].Action == event.TensorFreeCompleted; i-- {
	}
	return i < 0 || !shrinks(p.d.Events[i].Action)
}

// release returns the memory that the release from event i on gives back.
func (p *replayer) release(i int, owed map[segmentChange]int) {
	for ; i < len(p.d.Events); i++ {
		switch e := &p.d.Events[i]; {
		case shrinks(e.Action):
			owed[segmentChange{e.Action, e.Size, e.Stream}]++
		case e.Action != event.TensorFreeCompleted:
			return
		}
	}
}

// cause says why memory is given back from event i on, and how much the request that follows takes. Within
// a request, all events have the request's stack.
func (p *replayer) cause(i int) (releaseCause, uint64) {
	next := i
	for next < len(p.d.Events) && (shrinks(p.d.Events[next].Action) || p.d.Events[next].Action == event.TensorFreeCompleted) {
		next++
	}
	if next == len(p.d.Events) || !grows(p.d.Events[next].Action) && p.d.Events[next].Action != event.TensorOOM {
		return releaseEmpty, 0
	}
	if stack := p.d.Events[i].Stack; stack != 0 && stack != p.d.Events[next].Stack {
		return releaseEmpty, 0
	}
	if p.d.Events[next].Action == event.TensorOOM {
		s := settingsOf(&p.s.Settings)
		return releaseRetry, s.growth(p.d.Events[next].Size)
	}
	grow := uint64(0)
	for ; next < len(p.d.Events) && grows(p.d.Events[next].Action); next++ {
		grow += p.d.Events[next].Size
	}
	return releaseRetry, grow
}

// segmentChange is a segment event, for comparing what was recorded with what the model does.
type segmentChange struct {
	action event.TensorAction
	size   uint64
	stream uint32
}

// maxWaiting bounds how much recorded growth waits for the request that it is for.
const maxWaiting = 1 << 12

// comparison is how a run under the recorded settings went.
type comparison struct {
	run       ReplayRun
	events    uint64 // recorded
	predicted uint64
	matched   uint64
}

func (c *comparison) reproduced() float64 {
	if c.events == 0 && c.predicted == 0 {
		return 1
	}
	return float64(c.matched) / float64(max(c.events, c.predicted))
}

// recorded plays under the recorded settings. What the driver refused it refuses again; everything else
// is the model's own decision.
func (p *replayer) recorded(settings cacheSettings) comparison {
	var out comparison
	c := newCache(settings)
	request := 0                                   // the first that has not been passed, once it is looked for
	waiting := []int{}                             // recorded growth that no request explains yet
	owed := map[segmentChange]int{}                // of the releases under way: recorded less predicted
	var refuse func(attempt int, grow uint64) bool // whether an attempt of the request under way fails; nil: none does
	c.place = func(a event.TensorAction, size uint64, stream uint32) uint64 {
		for n, i := range waiting {
			e := &p.d.Events[i]
			if e.Action == a && e.Stream == stream && (size == 0 || e.Size == size) {
				if size != 0 {
					waiting = append(waiting[:n], waiting[n+1:]...)
					out.matched++
				}
				return e.Address
			}
		}
		return 0
	}
	c.allow = func(attempt int, grow uint64) bool { return refuse == nil || !refuse(attempt, grow) }
	// mapped says whether a part was mapped before an attempt failed.
	mapped := func(before int, grow uint64) bool {
		return slices.ContainsFunc(waiting, func(i int) bool {
			return i < before && p.d.Events[i].Action == event.TensorSegmentMap && p.d.Events[i].Size == grow
		})
	}
	c.did = func(a event.TensorAction, _, size uint64, stream uint32) {
		out.predicted++
		if shrinks(a) {
			change := segmentChange{a, size, stream}
			if owed[change] > 0 {
				out.matched++
			}
			owed[change]--
		}
	}
	blocks := map[uint64]*cacheBlock{}
	for i := range p.d.Events {
		e := &p.d.Events[i]
		switch e.Action {
		case event.TensorSegmentAlloc, event.TensorSegmentMap:
			out.events++
			if len(waiting) == maxWaiting { // no request takes so many: a made-up history
				waiting = append(waiting[:0], waiting[maxWaiting/2:]...)
			}
			waiting = append(waiting, i)
		case event.TensorSegmentFree, event.TensorSegmentUnmap:
			out.events++
			if cause := p.limits.releases[i]; cause != 0 {
				clear(owed)
				p.release(i, owed)
				// Where a cached block serves the next request, it is not for want of memory.
				for request < i || request < len(p.d.Events) && !requests(p.d.Events[request].Action) {
					request++
				}
				if next := p.event(request); cause == releaseRetry && e.Stack == 0 && (next == nil || c.has(next.Size, next.Stream, p.pool(next))) {
					cause, p.emptied[i] = releaseEmpty, true
				}
				if cause == releaseEmpty {
					c.releaseAll()
				} else {
					// With max_split_size, large blocks go first: everything else only if that is not enough.
					// The blocks that other streams used became free only after the search for one.
					before := c.retries
					c.dry = true
					refuse = func(attempt int, grow uint64) bool {
						return attempt == 1 && !mapped(i, grow) || attempt > 1 && c.retries == before && left(owed)
					}
				}
			}
		case event.TensorOOM:
			refuse, c.dry = func(_ int, grow uint64) bool { return !mapped(i, grow) }, true
			c.malloc(e.Size, e.Stream, p.pool(e), e.Stack)
			refuse = nil
		default:
			p.block(c, blocks, e)
			if e.Action == event.TensorAlloc {
				refuse = nil
				waiting = waiting[:0]
				clear(owed)
			}
		}
	}
	out.run = runOf(c)
	return out
}

// left says whether releases that were recorded have not been predicted yet.
func left(owed map[segmentChange]int) bool {
	for _, n := range owed {
		if n > 0 {
			return true
		}
	}
	return false
}

func requests(a event.TensorAction) bool { return a == event.TensorAlloc || a == event.TensorOOM }

// event returns the i-th event; nil: there are fewer.
func (p *replayer) event(i int) *event.TensorEvent {
	if i >= len(p.d.Events) {
		return nil
	}
	return &p.d.Events[i]
}

// block allocates and frees as recorded.
func (p *replayer) block(c *cache, blocks map[uint64]*cacheBlock, e *event.TensorEvent) (failed bool) {
	switch e.Action {
	case event.TensorAlloc:
		if old := blocks[e.Address]; old != nil {
			c.done(old)
		}
		b := c.malloc(e.Size, e.Stream, p.pool(e), e.Stack)
		if b == nil {
			delete(blocks, e.Address)
			return true
		}
		blocks[e.Address] = b
	case event.TensorFreeRequested:
		if b := blocks[e.Address]; b != nil {
			c.release(b)
		}
	case event.TensorFreeCompleted:
		if b := blocks[e.Address]; b != nil {
			c.done(b)
			delete(blocks, e.Address)
		}
	}
	return false
}

func runOf(c *cache) ReplayRun {
	return ReplayRun{Peak: c.peak, Reserved: c.reserved, Retries: c.retries}
}

// under plays under other settings, within the limits that the recording shows.
func (p *replayer) under(s event.AllocatorSettings) ReplayRun {
	run := p.within(s, p.limits.low)
	run.OOMsHigh = run.OOMs
	if p.limits.high != p.limits.low {
		run.OOMsHigh = p.within(s, p.limits.high).OOMs
	}
	run.Settings = confText(&s)
	if run.Settings == "" {
		run.Settings = "expandable_segments:False"
	}
	return run
}

func (p *replayer) within(s event.AllocatorSettings, limit uint64) ReplayRun {
	c := newCache(settingsOf(&s))
	var run ReplayRun
	switch {
	case limit > 0 && p.limits.own:
		c.limit = func(grow uint64) bool { return c.reserved+grow <= limit }
	case limit > 0:
		c.allow = func(_ int, grow uint64) bool { return c.reserved+grow <= limit }
	}
	c.did = func(a event.TensorAction, _, _ uint64, _ uint32) {
		if grows(a) {
			run.Grown++
		}
	}
	peak := uint64(0)
	blocks := map[uint64]*cacheBlock{}
	for i := range p.d.Events {
		e := &p.d.Events[i]
		switch {
		case shrinks(e.Action):
			if p.limits.releases[i] == releaseEmpty {
				c.releaseAll()
			}
		case e.Action == event.TensorOOM:
			if b := c.malloc(e.Size, e.Stream, p.pool(e), e.Stack); b != nil {
				c.done(b)
			} else {
				run.OOMs++
			}
		default:
			if p.block(c, blocks, e) {
				run.New++
			}
			if c.peak > peak {
				peak, run.Idle = c.peak, c.peak-min(c.used, c.peak)
			}
		}
	}
	run.Peak, run.Reserved, run.Retries = c.peak, c.reserved, c.retries
	return run
}
