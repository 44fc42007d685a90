package bench

import (
	"errors"
	"fmt"

	"github.com/warpscope/warpscope/agent/bench/result"
)

// Suite is a family of measurements.
type Suite struct {
	Name string
	// Cases lists the suite's measurements on a GPU, in the order of the table. It may load kernels, but runs and
	// allocates nothing.
	Cases func(g *GPU, o Options) ([]Case, error)
}

// Suites are all suites, in the order in which they run.
func Suites() []Suite {
	return []Suite{
		{Name: "memory", Cases: memoryCases},
		{Name: "transfer", Cases: transferCases},
		{Name: "matmul", Cases: matmulCases},
		{Name: "attention", Cases: attentionCases},
		{Name: "latency", Cases: latencyCases},
	}
}

// Options narrow what suites measure.
type Options struct {
	Bytes    uint64   // of an array of the memory and transfer suites; 0: the suite's own size
	Shape    [3]int   // M, N, K of products, or the length of sequences first; zeros: the suite's own
	Elements []string // only these types of products, see ElementNames; none: all
}

// Case is one measurement that is to be made.
type Case struct {
	Row     result.Row                  // what is known before it runs
	Sustain bool                        // it is also run for a while without a pause; at most 12 in all suites
	Needs   uint64                      // bytes of device memory, about
	Prepare func(g *GPU) (*Work, error) // takes memory and makes inputs; what g.Alloc gave is freed by the engine
}

// Work is a case made ready on the GPU.
type Work struct {
	// Run puts n runs into g.Stream, without waiting.
	Run func(n int) error
	// Verify poisons the result, has run make it once, waits, and compares. The engine passes Run, or a partner's.
	Verify func(run func(n int) error) (result.Verification, error)
	// Time, where it is set, measures instead of the engine's events: seconds of one step, several times. It is for what
	// only the host's clock sees.
	Time func() ([]float64, error)
	// Before, where it is set, is put into the stream before each timed run: what makes caches cold.
	Before func() error
	// Problem is what a partner needs to do the same on the same buffers, such as a kernels.Product; nil: there is no partner.
	Problem any
	// After, where it is set, completes the row once it is timed.
	After func(r *result.Row) error
}

// Partner is a library that does the same on the same buffers. ErrNoPartner: it has nothing for this problem.
type Partner interface {
	Name() string
	Prepare(g *GPU, problem any) (Prepared, error)
}

// Prepared is a library made ready.
type Prepared struct {
	Run func(n int) error
	// First, where it is set, is what the library itself would have chosen: Run is another of its ways, which is faster here.
	First   func(n int) error
	Release func() error
}

// ErrNoPartner is what a Partner returns for a problem that it does not know.
var ErrNoPartner = errors.New("the library has nothing for this problem")

// Watcher sees each row's timed parts from outside, as a profiler does: each burst begins and ends with an idle stream. What ran in it is nothing
// where the host's clock timed it.
type Watcher interface {
	Begin(r *result.Row) error
	End(r *result.Row, ran Burst) error
}

// errUnsupported says that a GPU does not run a case; the row is skipped, not failed.
var errUnsupported = errors.New("this GPU does not run it")

// errLittleMemory says that a case does not fit; the row is skipped, not failed.
var errLittleMemory = errors.New("too little free memory")

func unsupported(format string, v ...any) error {
	return fmt.Errorf("%w: %s", errUnsupported, fmt.Sprintf(format, v...))
}
