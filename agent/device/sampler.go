package device

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/event"
)

// DefaultInterval is the time between two looks at the GPUs.
const DefaultInterval = 100 * time.Millisecond

// batchTime is how much is gathered before it is passed on: long enough for columns worth
// compressing, short enough that little is missing when the agent is killed.
const batchTime = time.Second

// lookLimit is the least time between two looks out of turn.
const lookLimit = 10 * time.Millisecond

// stopLimit bounds how long Close waits for a reading under way. NVML can hang for good when a
// GPU has fallen off its bus.
const stopLimit = 2 * time.Second

// Config says what a Sampler does.
type Config struct {
	// Interval between two samples; 0 is DefaultInterval.
	Interval time.Duration
	// GPUs are the trace's identifiers of System.GPUs, in the same order.
	GPUs []event.GPUID
	// Emit takes the samples, in batches with Process 0, and copies what it keeps. It is called
	// from one goroutine at a time and never after Close has returned. After its first error
	// nothing more is sampled.
	Emit func(*event.Batch) error
	// Text returns the trace's identifier of a string: with it, processes that use a GPU are described when they
	// are first seen and, for a trace that keeps only its end, once more in Close. nil: they are not.
	Text func(string) event.StringID
}

// Sampler reads the GPUs of a System at an interval until it is closed.
type Sampler struct {
	system   *System
	config   Config
	stop     chan struct{}
	done     chan struct{}
	now      chan struct{} // a look out of turn is wanted
	stopOnce sync.Once

	mu      sync.Mutex // guards what follows against an abandoned goroutine
	closed  bool
	err     error
	samples uint64

	batch  event.Batch
	usages []usage
	sent   time.Time
	// monitors are of the system's GPUs, in order; nil: that one is not watched.
	monitors []monitor
	known    map[int32]neighbour // processes that have been described
	seen     []map[int32]bool    // processes, by GPU
}

// NewSampler starts sampling; the first sample has been taken and emitted when it returns, so that
// what the GPUs held before the program is known. The System must not be used otherwise until
// Close.
func NewSampler(s *System, c Config) (*Sampler, error) {
	if len(c.GPUs) != len(s.gpus) {
		return nil, fmt.Errorf("sample GPUs: %d identifiers for %d GPUs", len(c.GPUs), len(s.gpus))
	}
	if c.Interval <= 0 {
		c.Interval = DefaultInterval
	}
	p := &Sampler{system: s, config: c, stop: make(chan struct{}), done: make(chan struct{}), now: make(chan struct{}, 1), known: map[int32]neighbour{}, seen: make([]map[int32]bool, len(s.gpus))}
	first := make(chan struct{})
	go p.run(first)
	timer := time.NewTimer(stopLimit)
	defer timer.Stop()
	select {
	case <-first:
	case <-timer.C: // the samples come when they come; the program does not wait for them
	}
	return p, nil
}

// Look asks for a look at once, out of turn: something has happened that the next one would come too late
// for. It does not wait.
func (p *Sampler) Look() {
	select {
	case p.now <- struct{}{}:
	default: // one is due already
	}
}

// Samples returns how many samples of a GPU were emitted.
func (p *Sampler) Samples() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.samples
}

// Close takes a last sample, emits what is left and ends the sampling. It returns the first error
// of Emit, or one that says that NVML did not come back; then the System must not be closed.
func (p *Sampler) Close() error {
	p.stopOnce.Do(func() { close(p.stop) })
	timer := time.NewTimer(stopLimit)
	defer timer.Stop()
	var late error
	select {
	case <-p.done:
	case <-timer.C:
		late = errors.New("stop sampling GPUs: NVML does not answer")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return errors.Join(p.err, late)
}

func (p *Sampler) run(first chan<- struct{}) {
	defer close(p.done)
	p.watch()
	defer p.unwatch()
	p.sample()
	p.flush()
	close(first)
	ticker := time.NewTicker(p.config.Interval)
	defer ticker.Stop()
	var looked time.Time
	for {
		select {
		case <-ticker.C:
			p.sample()
			if time.Since(p.sent) >= batchTime {
				p.flush()
			}
			if p.failed() {
				return
			}
		case <-p.now:
			// A program that catches each of its failures must not make the agent read without pause.
			if since := time.Since(looked); since < lookLimit {
				time.Sleep(lookLimit - since)
			}
			p.sample()
			looked = time.Now()
		case <-p.stop:
			p.sample()
			p.describeAgain()
			p.flush()
			return
		}
	}
}

// sample appends one look at every GPU to the batch.
func (p *Sampler) sample() {
	s, u := &p.batch.GPUSamples, &p.batch.Usages
	for i, g := range p.system.gpus {
		id, now := p.config.GPUs[i], monotonic()
		// What processes hold and what is used are to be of one moment: the other readings take longer.
		p.usages = g.processes(p.usages[:0])
		r := g.read()
		s.Time = append(s.Time, now)
		s.GPU = append(s.GPU, id)
		s.UsedMemory = append(s.UsedMemory, r.used)
		s.ReservedMemory = append(s.ReservedMemory, r.reserved)
		s.Utilization = append(s.Utilization, r.utilization)
		s.MemoryActivity = append(s.MemoryActivity, r.memoryActivity)
		s.SMClock = append(s.SMClock, r.smClock)
		s.MemoryClock = append(s.MemoryClock, r.memoryClock)
		s.Power = append(s.Power, r.power)
		s.Temperature = append(s.Temperature, r.temperature)
		s.Throttle = append(s.Throttle, r.throttle)
		p.activity(i)
		for _, use := range p.usages {
			u.Time = append(u.Time, now)
			u.GPU = append(u.GPU, id)
			u.PID = append(u.PID, use.pid)
			u.Bytes = append(u.Bytes, use.bytes)
			p.meet(i, use.pid, now)
		}
	}
}

// flush emits the batch and empties it.
func (p *Sampler) flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = time.Now()
	n := len(p.batch.GPUSamples.Time)
	if !p.closed && p.err == nil && n > 0 {
		if p.err = p.config.Emit(&p.batch); p.err == nil {
			p.samples += uint64(n)
		}
	}
	p.batch = event.Batch{}
}

func (p *Sampler) failed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err != nil
}

// monotonic returns CLOCK_MONOTONIC, the clock of the whole trace.
func monotonic() event.Time {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return 0
	}
	return event.Time(ts.Nano())
}
