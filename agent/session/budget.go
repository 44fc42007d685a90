package session

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/budget"
	"github.com/warpscope/warpscope/agent/collect"
	"github.com/warpscope/warpscope/agent/event"
)

// pacer keeps the recording under a budget: it passes on what processes report to the controller, and what
// that decides to the processes. nil does nothing.
type pacer struct {
	server *collect.Server

	mu         sync.Mutex
	controller *budget.Controller
	gone       map[int32]bool
	held       []budget.Window // of processes that are not in the trace yet
	on         bool
	result     budget.Result

	stop chan struct{}
	done chan struct{}
}

func newPacer(share float64) (*pacer, error) {
	c, err := budget.New(budget.Config{Share: share, Seed: rand.Uint64()})
	if err != nil {
		return nil, err
	}
	return &pacer{controller: c, gone: map[int32]bool{}, stop: make(chan struct{}), done: make(chan struct{})}, nil
}

// Tick implements collect.Ruler.
func (p *pacer) Tick(pid int32, call string, at event.Time, count uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.controller.Tick(pid, call, int64(at), count)
}

// Switch implements collect.Ruler.
func (p *pacer) Switch(pid int32, s collect.Switch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.controller.Switch(pid, budget.Switch{On: s.On, Began: int64(s.Began), Taken: int64(s.Taken), Ended: int64(s.Ended)})
}

// start begins to switch the server's processes.
func (p *pacer) start(server *collect.Server) {
	p.server = server
	go p.run()
}

// run asks the controller until it is told to stop.
func (p *pacer) run() {
	defer close(p.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	looked := time.Time{}
	for {
		select {
		case <-p.stop:
			return
		case <-timer.C:
		}
		if now := time.Now(); now.Sub(looked) >= time.Second {
			looked = now
			p.look()
		}
		timer.Reset(p.turn())
	}
}

// turn does what the controller says and returns how long until it is to be asked again.
func (p *pacer) turn() time.Duration {
	p.mu.Lock()
	now := clock(unix.CLOCK_MONOTONIC)
	on, again := p.controller.Next(now)
	changed := on != p.on
	p.on = on
	p.mu.Unlock()
	if changed {
		p.server.SetTimeline(on)
	}
	return time.Duration(max(again-now, int64(time.Millisecond)))
}

// allocationCost is what a recorded allocation or release is reckoned to cost the program, with its
// stack: stated, see docs/adr/0011-budget.md.
const allocationCost = 3e3 // ns

// look tells the controller what processes have come to, and writes the windows that are over.
func (p *pacer) look() {
	processes := p.server.Processes()
	p.mu.Lock()
	for i := range processes {
		s := &processes[i]
		p.controller.Cost(s.PID, allocationCost*float64(s.Recorded[event.KindAllocation]))
		if !s.Running && !p.gone[s.PID] {
			p.gone[s.PID] = true
			p.controller.Gone(s.PID)
		}
	}
	p.held = append(p.held, p.controller.Windows()...)
	p.mu.Unlock()
	p.write(processes)
}

// write writes windows of processes that the trace knows.
func (p *pacer) write(processes []collect.Status) {
	ids := map[int32]event.ProcessID{}
	for i := range processes {
		if processes[i].ID != 0 {
			ids[processes[i].PID] = processes[i].ID // the last of them, where a PID has executed another program
		}
	}
	batches := map[event.ProcessID]*event.Batch{}
	var held []budget.Window
	for i := range p.held {
		w := &p.held[i]
		id := ids[w.PID]
		if id == 0 {
			held = append(held, *w)
			continue
		}
		b := batches[id]
		if b == nil {
			b = &event.Batch{Process: id}
			batches[id] = b
		}
		appendWindow(&b.Windows, w)
	}
	p.held = held
	for _, b := range batches {
		_ = p.server.Emit(b) // the collection keeps the error
	}
}

func appendWindow(to *event.Windows, w *budget.Window) {
	to.Begin = append(to.Begin, event.Time(w.Begin))
	to.Length = append(to.Length, w.Length)
	to.Planned = append(to.Planned, w.Planned)
	to.Start = append(to.Start, event.Time(w.SpanBegin))
	to.Span = append(to.Span, w.Span)
	to.Work = append(to.Work, w.Work)
	to.SpanWork = append(to.SpanWork, w.SpanWork)
	to.Loss = append(to.Loss, w.Loss)
	to.Measured = append(to.Measured, w.Measured)
}

// close ends the switching. The processes have ended, or go on without us; the server is still open.
func (p *pacer) close() {
	if p == nil || p.server == nil {
		return
	}
	close(p.stop)
	<-p.done
	p.mu.Lock()
	now := clock(unix.CLOCK_MONOTONIC)
	p.controller.Close(now)
	p.result = p.controller.Result(now)
	p.mu.Unlock()
	p.look()
}

// budgetNotes says what came of a budget, for the end of a run and for the trace.
func budgetNotes(r *budget.Result, of func(pid int32) string) []string {
	limit := percent(r.Share)
	var notes []string
	measured := false
	for i := range r.Processes {
		m := &r.Processes[i]
		if m.Call == "" {
			continue
		}
		measured = true
		name := of(m.PID)
		seconds := float64(m.Active) / 1e9
		switch {
		case m.Windows == 0:
			notes = append(notes, fmt.Sprintf("budget %s: the run was too short for a window in %s (%.0f s could be measured): nothing certain, and no kernels",
				limit, name, seconds))
		case !m.Certain():
			notes = append(notes, fmt.Sprintf("budget %s: the run was too short, nothing certain: %d windows in %.0f s of %s; it was slowed by %s at most if windows halve its pace",
				limit, m.Windows, seconds, name, percent(m.Bound)))
		default:
			verdict := "kept"
			if m.Bound > r.Share {
				verdict = "NOT kept for certain"
			}
			notes = append(notes, fmt.Sprintf("budget %s %s: %s was slowed by %s, at most %s (95 %%, with %s for callbacks), measured in %d windows of %.1f s in all, of %.0f s, by its calls of %s",
				limit, verdict, name, percent(m.Slowdown), percent(m.Bound), percent(m.Idle), m.Windows-m.Missing, float64(m.On)/1e9, seconds, m.Call))
		}
		if m.ResidueKnown {
			notes = append(notes, fmt.Sprintf("budget: having recorded once slows %s between windows by %s (%s to %s); what CUPTI costs that was never on cannot be seen from inside (docs/budget.md)",
				name, percent(m.Residue), percent(m.ResidueLow), percent(m.ResidueHigh)))
		}
	}
	if r.Stopped != "" {
		notes = append(notes, fmt.Sprintf("budget %s: %s, so the timeline was left off and the rest is a ledger: allocations and no kernels", limit, r.Stopped))
	}
	if !measured {
		notes = append(notes, fmt.Sprintf("budget %s: the program made no regular calls (waits, copies, graph launches, events; one to 1000 a second, for some seconds) by which a slowdown could be measured: no timeline was recorded, only allocations", limit))
	}
	return notes
}

// percent writes a share.
func percent(share float64) string {
	switch p := 100 * share; {
	case p == float64(int(p)):
		return fmt.Sprintf("%.0f %%", p)
	default:
		return fmt.Sprintf("%.2f %%", p)
	}
}
