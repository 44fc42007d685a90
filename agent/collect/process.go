package collect

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/event"
)

// process is a connected process: its memory, and the goroutine that reads it until it ends.
type process struct {
	server *Server
	owner  owner
	inner  int32
	life   *life
	fd     int // of the memory
	lock   int // of the memory too: says that an agent reads it, until that ends; -1: none
	memory []byte
	// adopted: another agent read it before.
	adopted bool

	unmapped bool // guarded by server.mu

	reader   atomic.Pointer[Reader] // nil: the memory is not laid out yet
	failed   atomic.Pointer[error]  // why the memory cannot be read
	replaced chan struct{}          // closed when the same PID has connected anew: it executed another program
	stop     chan struct{}          // closed to end the reading while the process lives on
	done     chan struct{}
}

// newProcess creates the memory of a process.
func newProcess(s *Server, who owner, inner int32) (*process, error) {
	fd, size, err := createMemory(s.config.Sizes)
	if err != nil {
		return nil, err
	}
	memory, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("map shared memory of %d bytes: %w", size, err)
	}
	return &process{
		server: s, owner: who, inner: inner, life: watch(who.pid), fd: fd, lock: lockMemory(fd), memory: memory,
		replaced: make(chan struct{}), stop: make(chan struct{}), done: make(chan struct{}),
	}, nil
}

// release gives everything back. Nothing may read the memory any more.
func (p *process) release() {
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	p.unmapped = true
	_ = unix.Munmap(p.memory) // fails only for memory that was not mapped
	unix.Close(p.fd)
	if p.lock >= 0 {
		unix.Close(p.lock)
	}
}

// run reads until the process ends or the server closes.
func (p *process) run() {
	defer close(p.done)
	defer p.life.close()
	interval := p.server.config.MinInterval
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		// Whether it has ended is asked before the drain, so that the last one misses nothing.
		ended := p.ended()
		busy := p.turn()
		if ended {
			p.finish(true)
			return
		}
		switch {
		case busy > 0.125 && !p.server.ledger.full():
			interval = 0 // it writes faster than one turn an interval reads
		case busy > 0.01:
			interval = p.server.config.MinInterval
		default:
			interval = min(max(2*interval, p.server.config.MinInterval), p.server.config.MaxInterval)
		}
		timer.Reset(interval)
		select {
		case <-timer.C:
		case <-p.replaced:
		case <-p.stop:
			p.finish(p.ended())
			return
		}
	}
}

func (p *process) ended() bool {
	select {
	case <-p.replaced:
		return true
	default:
	}
	heartbeat := event.Time(0)
	if r := p.reader.Load(); r != nil {
		heartbeat = event.Time(loadUint64(&r.memory.header.Heartbeat))
	}
	return p.life.ended(heartbeat, p.server.config.Now())
}

// turn reads what there is and returns how full the rings were.
func (p *process) turn() float64 {
	r := p.reader.Load()
	if r == nil {
		if r = p.open(); r == nil {
			return 0
		}
	}
	var fill float64
	if err := fault(func() { fill = r.backlog() }); err != nil {
		return 0
	}
	r.turn(false)
	return fill
}

// open begins to read once the library has laid out the memory.
func (p *process) open() *Reader {
	if p.failed.Load() != nil {
		return nil
	}
	s := p.server
	var m *memory
	var err error
	if gone := fault(func() { m, err = openMemory(p.memory, false) }); gone != nil {
		err = gone
	}
	switch {
	case errors.Is(err, ErrNotReady):
		return nil
	case err != nil:
		p.failed.Store(&err)
		s.note("process %d: %v", p.owner.pid, err)
		return nil
	}
	r := newReader(m, s.config, s.output, s.ledger, p.owner)
	r.memory.alloc.punch = punch(p.fd)
	r.memory.timeline.unmap = unmapPages(p.memory)
	r.memory.live.extents = extents(p.fd)
	r.unmap = p.release
	if p.adopted {
		r.planLive(s.config.Now(), uint64(s.config.Now())) // what there is already
	}
	p.reader.Store(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	p.want(s.timeline.Load())
	return r
}

// replace says that the same PID has connected anew.
func (p *process) replace() {
	select {
	case <-p.replaced:
	default:
		close(p.replaced)
	}
}

// want tells the library whether to record the timeline. The caller holds server.mu.
func (p *process) want(on bool) {
	r := p.reader.Load()
	if r == nil || p.unmapped {
		return
	}
	value := uint32(0)
	if on {
		value = 1
	}
	h := r.memory.header
	if atomic.SwapUint32(&h.Want_timeline, value) == value {
		return
	}
	// The library looks every 20 ms; the bell makes it look at once.
	atomic.AddUint32(&h.Bell, 1)
	const wakeAll = math.MaxInt32
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&h.Bell)), linuxFutexWake, wakeAll, 0, 0, 0) // fails only where nobody could wait
}

// linuxFutexWake is FUTEX_WAKE, of a word that processes share.
const linuxFutexWake = 1

// finish writes the rest.
func (p *process) finish(dead bool) {
	r := p.reader.Load()
	if r == nil {
		if r = p.open(); r == nil {
			p.release()
			return
		}
	}
	if !dead {
		// Nobody will read its timeline any more.
		p.server.mu.Lock()
		p.want(false)
		p.server.mu.Unlock()
	}
	r.finish(dead)
	if r.gone != nil {
		p.server.note("process %d: %v", p.owner.pid, r.gone)
	}
}

// status returns what is known of the process.
func (p *process) status() Status {
	if r := p.reader.Load(); r != nil {
		return r.Status()
	}
	running := true
	select {
	case <-p.done:
		running = false
	default:
	}
	return Status{
		PID: p.owner.pid, InnerPID: p.inner, Rank: p.owner.rank, State: event.StateEmpty,
		Running: running, Recorded: map[event.Kind]uint64{},
	}
}
