package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/agent/ceilings"
	"github.com/warpscope/warpscope/cuda"
	"github.com/warpscope/warpscope/kernels"
)

// Rounds are chosen so that a launch takes about a millisecond on a Hopper GPU.
const (
	l2Rounds     = 8
	l1Rounds     = 1000
	sharedRounds = 4000
)

// levelCases are the bandwidths of the levels above memory.
func levelCases(g *GPU, _ Options) []Case {
	s, n := kernels.Streams{Multiprocessors: g.Info.Multiprocessors}, uint64(g.Info.Multiprocessors)
	// Half of L2: on GPUs with two partitions, what one of them holds.
	const unit = 4 * kernels.L2Threads
	l2 := max(g.Info.L2/2/wordBytes/unit, 1) * unit
	l1 := n * kernels.L1Words
	row := func(what, shape, kernel string, k ceilings.Kind, words uint64, limit string) result.Row {
		return result.Row{Suite: "memory", What: what, Shape: shape, Kernel: kernel, Bytes: float64(words * wordBytes), Memory: k, Limit: limit}
	}
	return []Case{
		{
			Row: row("L2, read", size(l2*wordBytes), "memory_l2", ceilings.L2, n*l2*l2Rounds, "L2"), Needs: l2 * wordBytes,
			Prepare: func(g *GPU) (*Work, error) {
				return g.reading(l2*wordBytes, 0, 4*l2, uint32(n*l2Rounds), func(x, sum cuda.Pointer) kernels.Launch { return s.L2(x, l2, l2Rounds, sum) })
			},
		},
		{
			Row: row("L1, read", size(kernels.L1Words*wordBytes)+" each", "memory_l1", ceilings.L1, l1*l1Rounds, "L1"), Needs: l1 * wordBytes,
			Prepare: func(g *GPU) (*Work, error) {
				return g.reading(l1*wordBytes, 0, 4*l1, l1Rounds, func(x, sum cuda.Pointer) kernels.Launch { return s.L1(x, l1Rounds, sum) })
			},
		},
		{
			Row: row("shared, read", size(kernels.SharedWords*wordBytes)+" each", "memory_shared", ceilings.Shared, n*kernels.SharedWords*sharedRounds, "shared memory"),
			Prepare: func(g *GPU) (*Work, error) {
				sum, err := g.Alloc(4)
				if err != nil {
					return nil, err
				}
				// Thread t reads two words of four times t a round.
				want := uint32(n * sharedRounds * 8 * (kernels.L2Threads * (kernels.L2Threads - 1) / 2))
				run, err := g.Runs(kernels.Memory(), s.Shared(sharedRounds, sum))
				return &Work{Run: run, Verify: g.summed(sum, want, "sum of all words, modulo 2^32")}, err
			},
		},
	}
}

// chase is a walk along links, each load after the one before.
type chase struct {
	what   string
	bytes  uint64 // that are walked over
	steps  int
	pastL1 bool
	shared bool
	cold   bool // what was walked over before must not be in a cache
}

// lineBytes is how far apart links lie at least: a line of the caches.
const lineBytes = 128

func chaseCases(g *GPU, o Options) []Case {
	const usual, least = 1 << 30, 4 << 20 // far more lines than a walk has steps
	want := uint64(usual)
	if o.Bytes > 0 {
		want = max(o.Bytes, least)
	}
	far, note := g.Fit(want, 2)
	var cases []Case
	for _, c := range []chase{
		{what: "shared, latency", bytes: 32 << 10, steps: 8192, shared: true},
		{what: "L1, latency", bytes: 32 << 10, steps: 65536}, // each line misses once, a 256th of the walk
		{what: "L2, latency", bytes: 8 << 20, steps: 8192, pastL1: true},
		{what: "memory, latency", bytes: far, steps: 4096, pastL1: true, cold: true},
	} {
		kernel := "memory_chase"
		if c.shared {
			kernel = "memory_chase_shared"
		}
		r := result.Row{Suite: "memory", What: c.what, Shape: size(c.bytes), Kernel: kernel, Steps: c.steps, Limit: "latency"}
		if c.cold && note != "" {
			r.Notes = append(r.Notes, note)
		}
		cases = append(cases, Case{Row: r, Needs: 2 * c.bytes, Prepare: c.prepare})
	}
	return cases
}

// links chooses a cycle of lines without order through the region, of at most one line more than there are steps: where each
// one leads, by the number of a u32. The walk begins at 0 and after all steps stands at end.
func (c chase) links(random *rand.Rand) (next map[uint32]uint32, end uint32) {
	lines := uint32(c.bytes / lineBytes)
	count := min(lines, uint32(c.steps)+1)
	order, seen := make([]uint32, 1, count), map[uint32]bool{0: true}
	for uint32(len(order)) < count {
		if line := random.Uint32N(lines); !seen[line] {
			seen[line] = true
			order = append(order, line)
		}
	}
	const words = lineBytes / 4
	next = make(map[uint32]uint32, count)
	for i, line := range order {
		next[line*words] = order[(i+1)%len(order)] * words
	}
	return next, order[c.steps%len(order)] * words
}

func (c chase) prepare(g *GPU) (*Work, error) {
	next, end := c.links(rand.New(rand.NewPCG(g.Seed(), g.Seed())))
	at, err := g.Alloc(c.bytes)
	if err != nil {
		return nil, err
	}
	stands, err := g.Alloc(16)
	if err != nil {
		return nil, err
	}
	clocks := stands + 8
	if err := errors.Join(g.zero(at, c.bytes), g.Stream.Synchronize()); err != nil {
		return nil, err
	}
	// Without waiting for each: on a busy GPU that would be a turn of the others' for every link.
	words := make([]byte, 0, 4*len(next))
	for from, to := range next {
		words = binary.LittleEndian.AppendUint32(words, to)
		if err := g.Stream.CopyToDevice(at+cuda.Pointer(4*from), words[len(words)-4:]); err != nil {
			return nil, err
		}
	}
	if err := g.Stream.Synchronize(); err != nil {
		return nil, err
	}
	runtime.KeepAlive(words)
	launch := kernels.Chase(at, c.steps, c.pastL1, stands, clocks)
	if c.shared {
		launch = kernels.ChaseShared(at, int(c.bytes/4), c.steps, stands, clocks)
	}
	run, err := g.Runs(kernels.Memory(), launch)
	if err != nil {
		return nil, err
	}
	w := &Work{Run: run, Verify: func(run func(int) error) (result.Verification, error) {
		if err := errors.Join(g.poison(stands, 16), g.Once(run)); err != nil {
			return result.Verification{}, err
		}
		got, err := g.word(stands)
		return exactly("where the walk ends", got, end), err
	}, After: func(r *result.Row) error {
		var b [8]byte
		err := g.Driver.CopyToHost(b[:], clocks)
		r.Notes = append(r.Notes, fmt.Sprintf("%.0f clocks a load", float64(binary.LittleEndian.Uint64(b[:]))/float64(c.steps)))
		return err
	}}
	if c.cold {
		// Twice the cache goes through it, so that nothing of the last walk is left there.
		flush, err := g.Alloc(2 * g.Info.L2)
		if err != nil {
			return nil, err
		}
		w.Before = func() error { return g.zero(flush, 2*g.Info.L2) }
	}
	return w, nil
}
