package collect

import (
	"slices"
	"sync"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/cupti/abi"
)

const (
	// batchRows is how many rows make a batch worth writing: enough for columns to compress well.
	batchRows = 32768
	// holdRows bounds the rows that wait for the first reading of the clock or for the names
	// of the GPUs; some 50 bytes each.
	holdRows = 1 << 18
	// holdTime bounds the same wait in ns.
	holdTime = 5e9
	// patience is how long, in ns, a slot may stay uncommitted before it counts as torn: its writer
	// may only have been descheduled. Where the ring is more than half full there is less time.
	patience        = 5e9
	patienceIfTight = 5e8
	// resyncEvery bounds how often losses are answered by a live set, in ns.
	resyncEvery = 1e9
	// releaseEvery is how many records are read between two releases to the writers.
	releaseEvery = 2048
)

// Reader reads the capture of one process. Drain and Close are called by one goroutine; Status may
// be called by any.
type Reader struct {
	config Config
	output *output
	ledger *ledger
	memory *memory
	decode *decoder // nil: closed
	stacks *stackReader

	id      event.ProcessID // 0: not defined yet
	owner   owner
	unmap   func()        // gives the memory back, after everything has been written
	flushed chan struct{} // closed by then; nil: nobody waits
	oldest  event.Time
	ageing  bool // rows wait since oldest
	stalls  [2]stall
	live    livePlan
	gone    error // the memory became unreadable
	closed  bool

	mu     sync.Mutex
	status Status
}

// owner is what the agent knows of a process by itself.
type owner struct {
	pid, parent int32  // 0: what the process says
	rank        int32  // -1: none known
	root        string // where its paths are looked up; "": here
}

// stall remembers since when the slot at a ring's tail has been uncommitted.
type stall struct {
	position uint64
	since    event.Time
	on       bool
}

// NewReader reads a capture in this process's own memory (package cupti lays it out) and writes
// its events to config.Sink. The memory must stay until Close has returned.
func NewReader(memory []byte, config Config) (*Reader, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	o := newOutput(config.Sink)
	m, err := openMemory(memory, false)
	if err != nil {
		return nil, err
	}
	return newReader(m, config, o, newLedger(o, config.Resolve), owner{rank: -1}), nil
}

func newReader(m *memory, config Config, o *output, l *ledger, who owner) *Reader {
	r := &Reader{config: config, output: o, ledger: l, memory: m, decode: newDecoder(m, o.ids), owner: who}
	r.decode.ruler, r.decode.outOfMemory = config.Ruler, config.OutOfMemory
	r.live.taken = config.Now()
	r.stacks = r.decode.stacks
	r.stacks.root = who.root
	h := m.header
	r.status = Status{
		PID: who.pid, InnerPID: h.Pid, Rank: who.rank, Running: true,
		Simulated: h.Flags&abi.FlagSimulated != 0, Start: event.Time(h.Mono_start),
		Recorded: map[event.Kind]uint64{},
	}
	if who.pid == 0 {
		r.status.PID = h.Pid
	}
	r.decode.pid = r.status.PID
	return r
}

// Drain reads what the process has committed and returns how many records that was. Full or old
// batches go to the sink. The error is the sink's or says that the memory cannot be read.
func (r *Reader) Drain() (int, error) {
	n := r.turn(false)
	if r.gone != nil {
		return int(n), r.gone
	}
	return int(n), r.output.failure()
}

// Status returns what is known of the process.
func (r *Reader) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	s.Recorded = map[event.Kind]uint64{}
	for k, n := range r.status.Recorded {
		s.Recorded[k] = n
	}
	s.Losses = slices.Clone(s.Losses)
	if n := r.stacks.blank.Load(); n > 0 {
		s.Losses = addLoss(s.Losses, event.Loss{Process: s.ID, Kind: event.KindAllocation, Cause: event.LossArenaFull, Count: n})
	}
	return s
}

// Close reads the rest and writes everything. The process is taken to live on.
func (r *Reader) Close() error {
	r.finish(false)
	if r.flushed != nil {
		<-r.flushed
	}
	if r.gone != nil {
		return r.gone
	}
	return r.output.failure()
}

// Summary returns what was recorded and lost so far; complete after Close.
func (r *Reader) Summary() event.Summary {
	s := summarize(r.output, []Status{r.Status()})
	s.End = r.config.Now()
	return s
}

// turn drains both rings once. ended says that nothing more will be committed.
func (r *Reader) turn(ended bool) (read uint64) {
	if r.closed || r.gone != nil {
		return 0
	}
	r.gone = fault(func() {
		now := r.config.Now()
		// The allocation ring first: readings of the clock and the names of GPUs come there.
		if ended || !r.ledger.full() {
			read = r.drain(&r.memory.alloc, &r.stalls[1], abi.RecAlloc, now, ended)
		}
		read += r.drain(&r.memory.timeline, &r.stalls[0], 0, now, ended)
		r.beginState()
		r.flushDue(now)
		r.liveDue(now)
		r.publish()
	})
	return read
}

// drain reads one ring up to what was handed out when it began. torn is the type that slots without
// a record count as.
func (r *Reader) drain(ring *ring, s *stall, torn uint8, now event.Time, ended bool) (read uint64) {
	var rec record
	d := r.decode
	ring.refresh()
	defer ring.release()
	for {
		switch ring.next(&rec) {
		case gotRecord:
			d.decode(&rec)
			if read++; read%releaseEvery == 0 {
				ring.release()
				r.flushFull(now)
				if ring.fixed && r.output.failure() != nil {
					return read // a file can be read again, so the rest need not be counted
				}
			}
		case gotUnknown:
			d.unknown++
		case gotMalformed:
			d.torn[torn]++
		case gotNothing:
			s.on = false
			return read
		case gotStall:
			if !ended && !s.over(ring, now) {
				return read
			}
			slots := ring.skip(ended)
			if slots == 0 {
				return read
			}
			size := uint64(max(1, recordSlots[torn]))
			d.torn[torn] += (slots + size - 1) / size
			s.on = false
		}
	}
}

// over tells whether the slot at the tail has been uncommitted for so long that it counts as torn.
func (s *stall) over(ring *ring, now event.Time) bool {
	if !s.on || s.position != ring.tail {
		*s = stall{position: ring.tail, since: now, on: true}
		return false
	}
	limit := event.Time(patience)
	if ring.backlog() > ring.capacity/2 {
		limit = patienceIfTight
	}
	return now-s.since >= limit
}

// backlog returns the fullest ring's fill, 0 to 1.
func (r *Reader) backlog() float64 {
	var fill float64
	for _, ring := range []*ring{&r.memory.timeline, &r.memory.alloc} {
		if ring.control != nil && ring.capacity > 0 {
			ring.refresh()
			fill = max(fill, float64(ring.backlog())/float64(ring.capacity))
		}
	}
	return fill
}

// finish reads the rest and writes everything. dead says that the process is no more.
func (r *Reader) finish(dead bool) {
	if r.closed {
		return
	}
	// What a file lacks will not come. What a living process is about to commit may be lost to this trace,
	// as what it does afterwards is.
	fixed := r.memory.timeline.fixed
	r.turn(dead || fixed)
	if fixed {
		r.decode.torn[0] += r.memory.timeline.missing / abi.Slot
		r.decode.torn[abi.RecAlloc] += r.memory.alloc.missing / (2 * abi.Slot)
	}
	if r.gone == nil {
		r.gone = fault(func() {
			r.endState(dead)
			r.liveLast()
		})
	}
	r.gone = firstError(r.gone, fault(func() {
		r.flush(true)
		r.publish()
	}))
	r.closed = true
	r.decode = nil // its tables are large, and a trace may have thousands of processes
	r.mu.Lock()
	r.status.Running = r.status.Running && !dead
	r.mu.Unlock()
	if r.unmap != nil {
		r.ledger.send(&chunk{after: r.unmap})
	}
}

// lastSign is the moment at which the process was last seen alive.
func (r *Reader) lastSign() event.Time {
	if r.memory.timeline.fixed { // read long after
		return event.Time(loadUint64(&r.memory.header.Heartbeat))
	}
	return r.config.Now()
}

// beginState records how the capture began, which the library says in the header alone.
func (r *Reader) beginState() {
	h := r.memory.header
	switch state := event.State(loadUint32(&h.State)); state {
	case event.StateArmed, event.StatePaused, event.StateRefused:
		r.decode.begin(state, loadUint32(&h.Reason))
	}
}

// endState records how the capture ended.
func (r *Reader) endState(dead bool) {
	d, h := r.decode, r.memory.header
	state, reason := event.State(loadUint32(&h.State)), loadUint32(&h.Reason)
	switch {
	case state == event.StateFinished && d.state != state:
		d.stateRow(r.lastSign(), state, reason)
	case dead && (state == event.StateArmed || state == event.StatePaused):
		d.stateRow(r.lastSign(), event.StateKilled, reason)
		d.undelivered = state == event.StateArmed && h.Mode == abi.ModeTimeline
	}
	d.undelivered = d.undelivered || reason&(1<<abi.ReasonUndelivered) != 0
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
