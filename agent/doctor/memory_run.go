package doctor

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/event"
)

// Run is what is known of a program whose memory is judged: what its processes left, and its trace.
type Run struct {
	File     string
	Tensors  []*analyze.Tensors
	Messages []event.Failure
	// Trace is the memory of the trace, Account that at the failure, or at the peak; nil: there is no trace.
	Trace   *analyze.MemorySummary
	Account *analyze.MemoryAccount
	// Ended: the program has ended by itself with status 0. Killed: signal 9 ended it.
	Ended, Killed bool
	// EndNS is when the trace ends, since its start; 0: not known.
	EndNS int64
}

// fatalWithin is how long before the end of a program a failed call may be to be what ended it, in ns: what is written
// then, a snapshot or a core, takes its time.
const fatalWithin = 15e9

// RanOut says whether a call failed for want of memory, or the program was killed: whether its memory is what is to be
// judged.
func (r *Run) RanOut() bool {
	if r.Killed {
		return true
	}
	if r.Ended {
		return false
	}
	if slices.ContainsFunc(r.Tensors, func(t *analyze.Tensors) bool { return len(t.Failures) > 0 && t.Added != nil }) {
		return true
	}
	if r.Account != nil && r.Account.Host != nil && r.Account.Host.Kills > 0 && r.Account.Host.KillsIn != machineKills {
		return true
	}
	f, _ := r.lastFailure()
	return f != nil && (r.EndNS == 0 || r.EndNS-f.LastNS < fatalWithin)
}

// lastFailure returns the trace's last call that failed for want of memory, and whose it is.
func (r *Run) lastFailure() (last *analyze.FailedCall, whose *analyze.ProcessMemory) {
	if r.Trace == nil {
		return nil, nil
	}
	const outOfMemory = 2 // CUDA_ERROR_OUT_OF_MEMORY
	for i := range r.Trace.Processes {
		p := &r.Trace.Processes[i]
		for k := range p.Failures {
			if f := &p.Failures[k]; f.Result == outOfMemory && (last == nil || f.LastNS > last.LastNS) {
				last, whose = f, p
			}
		}
	}
	return last, whose
}

// Survived adds to a diagnosis of time the failures that the program has survived.
func (r *Run) Survived(d *Diagnosis) {
	f, p := r.lastFailure()
	if f == nil || r.RanOut() {
		return
	}
	calls := uint64(0)
	for i := range p.Failures {
		if p.Failures[i].Result == f.Result {
			calls += p.Failures[i].Count
		}
	}
	d.Findings = append(d.Findings, Finding{
		ID: survivedID, Title: fmt.Sprintf("%d calls of the driver failed for want of memory, and the program went on", calls), Severity: NoteSev, Confidence: High,
		Where: p.Name, Cost: Cost{Source: Counted}, RuledOut: []string{},
		Evidence: []Evidence{bytesOf("asked for by the last of them, by "+f.API, f.Bytes, Counted, f.Library)},
		Fix:      []Fix{{Change: "if it is meant to (it retries, or gives cached memory back first), nothing; each failure takes time", Direction: "remove", Gain: "that time", Paste: "warpscope doctor --about memory TRACE"}},
	})
}

// DiagnoseRun judges the memory of a run.
func DiagnoseRun(r *Run) *Diagnosis {
	cases := memoryCases(r.Tensors, r.Messages)
	if f, p := r.lastFailure(); f != nil && len(cases) == 0 && r.Account != nil {
		cases = append(cases, r.driverCase(f, p))
	}
	if len(cases) == 0 {
		cases = append(cases, &MemoryCase{})
	}
	for _, c := range cases {
		r.join(c)
		if c.T != nil && r.Ended {
			c.T.WentOn = c.T.WentOn || len(c.T.Failures) > 0
		}
	}
	// What failed first comes first: of several ranks, the others fail because of it.
	slices.SortStableFunc(cases, func(x, y *MemoryCase) int { return cmp.Compare(x.time(), y.time()) })
	all := cases
	if pid := cases[0].pid(); pid != 0 {
		cases = slices.DeleteFunc(slices.Clone(cases), func(c *MemoryCase) bool { return c.pid() != 0 && c.pid() != pid })
	}
	d := diagnoseCases(r.File, cases)
	d.first(all)
	d.Account = r.accountOf(cases)
	if r.Ended {
		for i := range d.Findings {
			d.Findings[i].Severity = NoteSev // nothing ended the program
		}
	}
	return d
}

// accountOf returns the account with what PyTorch's allocator held in it: of the GPU that failed, if it is known which.
func (r *Run) accountOf(cases []*MemoryCase) *analyze.MemoryAccount {
	if r.Account == nil {
		return nil
	}
	for _, c := range cases {
		if c.T != nil {
			r.Account.TensorsJoin(c.T)
		}
	}
	out := *r.Account
	if g := cases[0].G; g != nil {
		out.GPUs = []analyze.GPUAccount{*g}
	}
	return &out
}

// pid is the failed process; 0: not known.
func (c *MemoryCase) pid() int32 {
	if c.T != nil && c.T.Added != nil {
		return c.T.Added.PID
	}
	return 0
}

// time is when a case's allocation failed; 0: it did not, or it is not known.
func (c *MemoryCase) time() int64 {
	if c.T != nil && c.T.Added != nil {
		return c.T.Added.MonotonicNS
	}
	return 0
}

// driverCase is a failure of which only the driver's call is known.
func (r *Run) driverCase(f *analyze.FailedCall, p *analyze.ProcessMemory) *MemoryCase {
	m := &event.Failure{
		Framework: "CUDA", Class: f.API, Device: -1, Asked: int64(f.Bytes), Capacity: -1, Free: -1, Allowed: -1, Allocated: -1, Private: -1, Reserved: -1, Idle: -1,
	}
	c := &MemoryCase{M: m}
	for i := range r.Account.GPUs {
		g := &r.Account.GPUs[i]
		for k := range g.Traced {
			if q := &g.Traced[k]; q.PID == p.PID && (f.GPU == "" || f.GPU == g.GPU) {
				c.G, c.P = g, q
			}
		}
	}
	if c.G != nil && c.G.Used != nil && c.G.Total > 0 {
		m.Capacity = int64(c.G.Total)
		m.Free = max(m.Capacity-*c.G.Used-*orZero(c.G.Reserved), 0)
	}
	return c
}

// join finds a case's process in the account.
func (r *Run) join(c *MemoryCase) {
	c.Killed = r.Killed
	if r.Account == nil {
		return
	}
	c.Host = r.Account.Host
	for i := range r.Account.GPUs {
		g := &r.Account.GPUs[i]
		for k := range g.Traced {
			p := &g.Traced[k]
			if c.P == nil && c.T != nil && c.T.Added != nil && p.TorchBytes > 0 && (p.Inner == c.T.Added.PID || p.PID == c.T.Added.PID) {
				c.G, c.P = g, p
			}
		}
	}
	if c.G == nil && c.T == nil && len(r.Account.GPUs) > 0 {
		c.G = &r.Account.GPUs[0]
		if len(c.G.Traced) == 1 {
			c.P = &c.G.Traced[0]
		}
	}
}

// first names the rank that ran out first.
func (d *Diagnosis) first(cases []*MemoryCase) {
	var failed []*MemoryCase
	for _, c := range cases {
		if c.T != nil && c.failed() && c.time() != 0 {
			failed = append(failed, c)
		}
	}
	if len(failed) < 2 {
		return
	}
	text := fmt.Sprintf("%s ran out first", failed[0].who())
	for _, c := range failed[1:min(len(failed), 9)] {
		text += fmt.Sprintf("; %s %s later", c.who(), duration(float64(c.time()-failed[0].time())))
	}
	d.Verdict = text + ". " + d.Verdict
}

// who names a case's process.
func (c *MemoryCase) who() string {
	switch {
	case c.P != nil && c.P.Rank != nil:
		return fmt.Sprintf("Rank %d (process %d, %s)", *c.P.Rank, c.P.PID, c.where())
	case c.T != nil && c.T.Added != nil:
		return fmt.Sprintf("Process %d (%s)", c.T.Added.PID, c.where())
	}
	return "The process"
}
