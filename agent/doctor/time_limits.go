package doctor

import (
	"fmt"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/ceilings"
)

const (
	// computeBound and memoryBound are from which part of a ceiling on it is what limits: kernels come no nearer to that
	// of arithmetic, which is that of one large product, than this.
	computeBound = 0.5
	memoryBound  = 0.6
	// limitWindows is from how many windows of NVML's on they are believed.
	limitWindows = 3
)

// limits is how near the measured steps come to the GPU's ceilings.
type limits struct {
	activity            *analyze.PhaseActivity
	operations, bytes   float64 // a second
	compute, memory     *analyze.Ceiling
	ofCompute, ofMemory float64 // parts of the ceilings
}

// row returns the case's GPU in the roofline; nil: there is none.
func (c *Case) row() (*analyze.ActivityRow, *analyze.RooflineRow) {
	if c.In.Activity == nil || c.In.Roofline == nil {
		return nil, nil
	}
	for i := range c.In.Activity.Rows {
		if a := &c.In.Activity.Rows[i]; same(&a.Key, &c.Account.Key) && i < len(c.In.Roofline.Rows) {
			return a, &c.In.Roofline.Rows[i]
		}
	}
	return nil, nil
}

func same(x, y *analyze.Key) bool {
	return x.Name == y.Name && x.PID == y.PID && x.GPU == y.GPU && x.UUID == y.UUID
}

// limits returns how near the ceilings are, or what is missing to say it and which run brings it.
func (c *Case) limits() (l *limits, text, again string) {
	activity, roofline := c.row()
	if activity == nil {
		return nil, "what the GPU's units did was not looked at", ""
	}
	l = &limits{activity: activity.Phase(analyze.PhaseSteady)}
	if l.activity == nil || l.activity.Windows < limitWindows || l.activity.DRAMBytes == nil {
		text, can := c.In.NoActivity(activity)
		longer := c.rerun("") + "   # for ten seconds of steps or more"
		switch {
		case l.activity != nil && l.activity.Windows > 0:
			return nil, fmt.Sprintf("what the GPU's units did is known for %s of the measured steps only", plural(int64(l.activity.Windows), "one window", "windows")), longer
		case !can:
			return nil, text, ""
		case activity.Windows > 0:
			return nil, text, longer
		}
		return nil, text, c.rerun("")
	}
	for i := range roofline.Points {
		if p := &roofline.Points[i]; p.Phase == analyze.PhaseSteady && p.Kind == analyze.PointPhase {
			l.operations, l.bytes = p.Operations, p.Bytes
			l.compute = roofline.Ceiling(ceilings.Kind(p.Ceiling))
		}
	}
	if l.memory = roofline.Memory(); l.memory == nil || l.compute == nil {
		return nil, "what this GPU can do is not known: " + strings.Join(roofline.Missing, "; "), "warpscope bench"
	}
	l.ofCompute, l.ofMemory = l.operations/l.compute.PerSecond, l.bytes/l.memory.PerSecond
	return l, "", ""
}

// others counts the other processes that are known to have been on the GPU: its units' activity is then not this process's
// alone.
func (c *Case) others() int {
	others := 0
	for i := range c.In.Activity.Rows {
		if k := &c.In.Activity.Rows[i].Key; k.UUID == c.Account.UUID && k.GPU == c.Account.GPU && !same(k, &c.Account.Key) {
			others++
		}
	}
	gpu := c.In.GPU(c.Account.UUID, c.Account.GPU)
	if gpu == nil || gpu.Samples == nil {
		return others
	}
	// Only where NVML's process numbers are those of the trace: in a container they may be others.
	traced, untraced := 0, 0
	for _, p := range gpu.Samples.Processes {
		if p.Traced {
			traced++
		} else {
			untraced++
		}
	}
	if traced > 0 {
		others += untraced
	}
	return others
}

// beware lowers the confidence of a verdict on a GPU that others used, too.
func (f *Finding) beware(c *Case) {
	if n := c.others(); n > 0 {
		f.Confidence = Low
		f.Evidence = append(f.Evidence, Evidence{What: "other processes on the GPU: what its units did is of all of them", Figure: float64(n), Unit: "count", Source: Counted})
	}
}

// evidence is what the verdicts rest on.
func (l *limits) evidence() []Evidence {
	where := fmt.Sprintf("NVML, mean of %d windows in the measured steps", l.activity.Windows)
	out := []Evidence{
		{What: "memory traffic", Figure: l.bytes, Unit: "B/s", Source: Measured, Where: where},
		{What: "of the memory's ceiling", Figure: l.ofMemory, Unit: "share", Source: Measured, Where: bytesRate(l.memory.PerSecond) + ", " + l.memory.Source},
	}
	if l.operations > 0 {
		out = append(out,
			Evidence{What: "arithmetic", Figure: l.operations, Unit: "FLOP/s", Source: Estimated, Where: "from how busy the pipes were"},
			Evidence{What: "of the ceiling of " + l.compute.Name, Figure: l.ofCompute, Unit: "share", Source: Estimated, Where: operationsRate(l.compute.PerSecond) + ", " + l.compute.Source})
	}
	add := func(what string, level *analyze.Level) {
		if level != nil {
			out = append(out, Evidence{What: what, Figure: level.Mean, Unit: "share", Source: Measured, Where: where})
		}
	}
	add("tensor cores at work", l.activity.Tensor)
	add("multiprocessors with work", l.activity.SM)
	add("warps of those that fit", l.activity.Occupancy)
	return out
}

// near writes how near both ceilings are.
func (l *limits) near() string {
	if l.operations <= 0 {
		return fmt.Sprintf("memory traffic reaches %s of its ceiling", percent(l.ofMemory))
	}
	return fmt.Sprintf("arithmetic reaches about %s of its ceiling, memory traffic %s of its", percent(l.ofCompute), percent(l.ofMemory))
}

func bytesRate(v float64) string {
	if v >= 999.5e9 {
		return digits(v/1e12) + " TB/s"
	}
	return digits(v/1e9) + " GB/s"
}

func operationsRate(v float64) string { return digits(v/1e12) + " TFLOP/s" }
