package analyze

import (
	"strings"

	"github.com/warpscope/warpscope/agent/event"
)

// longestChain is how many kernels in a row are taken for one formula: more are several formulas, one after the other,
// which nobody makes one kernel.
const longestChain = 16

// trait is what a kernel's name says of it beyond its class.
type trait uint8

const (
	traitSoftmax trait = 1 << iota
	traitLoss          // part of a loss: its softmax is not attention's
)

// traitTable remembers the traits of names.
type traitTable map[event.StringID]trait

func (t traitTable) of(a *Analysis, w *gpuWork) trait {
	if w.kind != workKernel || w.class != ClassReduction {
		return 0
	}
	id := a.tables.Launch(event.LaunchID(w.id)).Name
	known, ok := t[id]
	if !ok {
		name := strings.ToLower(a.tables.String(id))
		if contains(name, []string{"softmax"}) {
			known = traitSoftmax
		}
		if contains(name, []string{"logsoftmax", "log_softmax", "nll_loss", "cross_entropy", "crossentropy"}) {
			known |= traitLoss
		}
		t[id] = known
	}
	return known
}

// chain is kernels on one stream that follow one another and could be one.
type chain struct {
	count        uint64
	sum, longest int64
	traits       trait
	product      int64 // the time of the matrix product right before it; 0: something else was
}

// fusable says whether work is done element by element or row by row, so that it can be made part of the
// kernel before or after it: a copy on the GPU, too, is a tensor that is written anew.
func fusable(w *gpuWork) bool {
	return w.kind == workCopy && w.how == copyDevice || w.kind == workKernel && (w.class == ClassElementwise || w.class == ClassReduction || w.class == ClassMemory)
}

func (c *chain) add(w *gpuWork, t trait, f *AccountFacts) {
	ns := int64(w.end - w.start)
	switch {
	case w.kind == workSet: // a library clears its counters; what comes before and after it is one row
	case fusable(w):
		if c.count == longestChain {
			c.close(f)
			*c = chain{}
		}
		c.count++
		c.sum += ns
		c.longest = max(c.longest, ns)
		c.traits |= t
	case w.kind == workKernel && w.class == ClassMatmul:
		if c.product > 0 && c.traits == traitSoftmax {
			// A product, a softmax and another product: attention whose scores pass through memory.
			f.Scores++
			f.ScoresNS += c.sum
			f.ScoreProductsNS += c.product + ns
		} else {
			c.close(f)
		}
		*c = chain{product: ns}
	default:
		c.close(f)
		*c = chain{}
	}
}

func (c *chain) close(f *AccountFacts) {
	if c.count > 1 {
		f.Chains++
		f.ChainKernels += c.count
		f.ChainNS += c.sum
		f.ChainFusedNS += c.longest
	}
}
