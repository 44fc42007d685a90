package doctor

import (
	"fmt"
	"slices"
)

// need is evidence that a rule cannot do without.
type need int

const (
	needWork        need = iota // kernels, copies or graphs with their times
	needCalls                   // the calls that launched them
	needKernels                 // kernels one by one, not hidden in graphs
	needSamples                 // NVML's readings in the measured steps
	needSMs                     // the GPU's number of multiprocessors
	needLimits                  // what its units did in the measured steps, and its ceilings
	needPython                  // what warpscope's module for Python says, of programs in Python
	needTensorCores             // a GPU that has them
	needOperators               // operators with their shapes, of one process on one GPU
)

// missing says what a need lacks in a case, and which rerun brings it; "" if it is there.
func (n need) missing(c *Case) (text, again string) {
	f := &c.Account.Facts
	switch n {
	case needWork:
		if c.Account.Steps == 0 || f.Launches == 0 {
			return "the trace has no kernels with their times", c.rerun("--mode timeline")
		}
	case needCalls:
		if f.Joined*10 < f.Launches*9 {
			return fmt.Sprintf("the calls that launched the work are in the trace for %d of %d only", f.Joined, f.Launches), c.rerun("--api launch")
		}
	case needKernels:
		if c.share(c.line("graph")) > 0.1 {
			return fmt.Sprintf("CUDA graphs take %s of the time, and the kernels in them were not recorded one by one", percent(c.share(c.line("graph")))),
				c.rerun("--graphs node")
		}
	case needSamples:
		if f.Samples < 3 {
			return fmt.Sprintf("NVML was read %d times in the measured steps: too few to tell the clocks", f.Samples), c.rerun("") + "   # for a minute or more"
		}
	case needSMs:
		if !f.SmallKnown {
			return "the trace does not say how many multiprocessors the GPU has", ""
		}
	case needPython:
		if c.python() && !c.sampled() && c.line("idle-input")+c.line("idle-gc") == 0 {
			return "warpscope's module for Python took no samples in the measured steps", c.rerun("")
		}
	case needTensorCores:
		if !c.tensorCores() {
			return "this GPU has no tensor cores that take fp32", ""
		}
	case needOperators:
		switch o := c.In.Operators; {
		case len(c.In.Account.Rows) > 1:
			return "sampled operators of several processes or GPUs are not told apart", ""
		case o != nil && o.Sampled > 0:
		case c.python():
			return "no step's operators were sampled", c.rerun("") + "   # for 100 steps or more"
		default:
			return "shapes are known of PyTorch's operators only", ""
		}
	case needLimits:
		_, text, again = c.limits()
		return text, again
	}
	return "", ""
}

// Rule looks for one cause of lost time.
type Rule struct {
	ID string
	// What says in a few words what the rule looks for.
	What  string
	needs []need
	// judge returns a finding, or nil and what speaks against it.
	judge func(c *Case) (*Finding, string)
}

// Rules returns all rules, each in a file of its own.
func Rules() []Rule {
	return []Rule{
		launchBound(), synchronisation(), input(), interpreterLock(), collector(), warmup(), allocator(), pageableCopy(), copyOverlap(), communication(),
		serialised(), throttled(), tensorCoresIdle(), tensorShapes(), unfusedAttention(), unfused(), bandwidth(), compute(),
	}
}

// Known says whether a rule has the identifier.
func Known(id string) bool {
	return slices.ContainsFunc(Rules(), func(r Rule) bool { return r.ID == id }) ||
		slices.ContainsFunc(MemoryRules(), func(r MemoryRule) bool { return r.ID == id })
}
