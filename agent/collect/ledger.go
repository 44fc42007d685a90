package collect

import (
	"sync"

	"github.com/warpscope/warpscope/agent/event"
)

// chunk is a piece of one process's allocation ledger on its way to the sink: calls, or a live
// set. Its rows lack the column Stack, which is made from stacks.
type chunk struct {
	*stackReader
	process event.ProcessID
	rows    event.Allocations
	stacks  []uint32 // arena ids, one a row
	live    bool
	time    event.Time // of a live set
	after   func()     // called when the chunk has been written
}

// split parts the calls up to a sequence number from later ones.
func (c *chunk) split(through uint64) (before, after *chunk) {
	before, after = &chunk{stackReader: c.stackReader}, &chunk{stackReader: c.stackReader}
	for i, seq := range c.rows.Sequence {
		to := before
		if seq > through {
			to = after
		}
		appendRow(&to.rows, &c.rows, i)
		to.stacks = append(to.stacks, c.stacks[i])
	}
	return before, after
}

// chunkRows is how many rows make a chunk worth writing.
const chunkRows = 8192

// queueRows bounds the rows that wait for symbols, some 100 bytes each. Beyond it the drain of
// the allocation ring waits; the ring itself has room for many more.
const queueRows = 1 << 20

// ledger writes chunks in the order in which they were sent, with their stacks resolved. Started,
// it does so on a goroutine of its own; otherwise at once.
type ledger struct {
	output   *output
	resolver *resolver

	mu      sync.Mutex
	changed *sync.Cond
	queue   []*chunk
	rows    int
	running bool
	closed  bool
	done    chan struct{}
}

func newLedger(o *output, resolve Resolve) *ledger {
	l := &ledger{output: o, resolver: newResolver(o.ids, resolve), done: make(chan struct{})}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// start moves the work to a goroutine.
func (l *ledger) start() {
	l.running = true
	go func() {
		defer close(l.done)
		for {
			l.mu.Lock()
			for len(l.queue) == 0 && !l.closed {
				l.changed.Wait()
			}
			if len(l.queue) == 0 {
				l.mu.Unlock()
				return
			}
			c := l.queue[0]
			l.queue[0] = nil
			l.queue = l.queue[1:]
			l.mu.Unlock()

			l.write(c)

			l.mu.Lock()
			l.rows -= len(c.stacks)
			l.changed.Broadcast()
			l.mu.Unlock()
		}
	}()
}

// send takes over a chunk.
func (l *ledger) send(c *chunk) {
	if !l.running {
		l.write(c)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(l.queue, c)
	l.rows += len(c.stacks)
	l.changed.Broadcast()
}

// full tells whether nothing more should be sent for now.
func (l *ledger) full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rows >= queueRows
}

// close writes what is queued and ends the goroutine.
func (l *ledger) close() {
	if !l.running {
		return
	}
	l.mu.Lock()
	l.closed = true
	l.changed.Broadcast()
	l.mu.Unlock()
	<-l.done
}

func (l *ledger) write(c *chunk) {
	if c.after != nil {
		defer c.after()
	}
	if len(c.stacks) == 0 && !c.live {
		return
	}
	// The memory of a process can fail under the reader: a capture file that someone truncates. The
	// rows are whole all the same, and stacks that are missing are counted.
	_ = fault(func() {
		for _, id := range c.stacks {
			stack := c.stack(id, l.resolver)
			if stack == 0 && id != 0 && !c.live {
				c.blank.Add(1)
			}
			c.rows.Stack = append(c.rows.Stack, stack)
		}
	})
	for len(c.rows.Stack) < len(c.stacks) {
		if !c.live {
			c.blank.Add(1)
		}
		c.rows.Stack = append(c.rows.Stack, 0)
	}
	// The output keeps the first error and counts the rows; there is nobody else to tell.
	if c.live {
		_ = l.output.live(&event.LiveSet{Process: c.process, Time: c.time, Live: c.rows})
		return
	}
	_ = l.output.batch(&event.Batch{Process: c.process, Allocations: c.rows})
}
