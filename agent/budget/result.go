package budget

// Result is what came of a run.
type Result struct {
	Share     float64 // the budget
	Processes []Measured
	// Stopped says why recording ended before the program did; "": it did not.
	Stopped string
}

// Measured is one process's slowdown, as far as it was measured.
type Measured struct {
	PID      int32
	Call     string // by which progress was measured; "": nothing regular was found
	Interval int64  // between two such calls, ns
	Active   int64  // ns since planning began, without the program's own pauses
	On       int64  // ns of recording
	Windows  int
	Missing  int // of them, those whose loss could not be measured
	// Loss is the time that the program lost to windows, in ns, and LossBound its upper bound of 95 %.
	Loss, LossBound float64
	// Slowdown is Loss as a share of the time the program would have taken; Bound is that of LossBound with
	// Idle and Residue added.
	Slowdown, Bound float64
	// Idle is the share of time reckoned for callbacks; Residue what having recorded has left behind,
	// with its interval, where that is known, and Charged the part of it that is in Bound.
	Idle                             float64
	Residue, ResidueLow, ResidueHigh float64
	ResidueKnown                     bool
	Charged                          float64
}

// Certain says that enough windows were measured, beside the first, to bound the slowdown by them alone.
func (m *Measured) Certain() bool { return m.Windows-m.Missing > priorWindows }

// Result returns what has been measured up to a moment.
func (c *Controller) Result(now int64) Result {
	r := Result{Share: c.config.Share, Stopped: c.stopped}
	for _, pid := range c.pids() {
		m := c.meters[pid]
		x := Measured{PID: pid, Call: m.call}
		cost := &m.losses
		x.Windows, x.Missing = cost.windows(), cost.unmeasuredNum
		if m.ruler != nil {
			x.Interval = m.interval()
			now := min(now, max(m.ruler.last(), c.begun))
			x.Active = int64(m.active(c.begun, now))
			x.Idle = c.idle(m, now)
		}
		if c.begun == 0 {
			x.Active = 0
		}
		x.On = int64(cost.recorded())
		x.Loss, x.LossBound = cost.total()
		x.Charged = m.residue.charge()
		x.ResidueLow, x.ResidueHigh, x.ResidueKnown = m.residue.interval()
		x.Residue = m.residue.loss
		if t := float64(x.Active); t > x.LossBound {
			x.Slowdown = x.Loss / (t - x.Loss)
			x.Bound = x.LossBound/(t-x.LossBound) + x.Idle + x.Charged
		} else {
			x.Bound = 1
		}
		r.Processes = append(r.Processes, x)
	}
	return r
}
