package analyze

import (
	"cmp"
	"slices"
	"strings"
)

// symbol is one piece of work in a sequence that is searched for a period.
type symbol struct {
	fine   uint64 // what it is and how it was launched
	coarse uint64 // what it is
	ns     int64  // how long it ran
	class  Class
	embed  bool // looks up embeddings
	kernel bool // or a graph of them; else a copy or a fill
	result bool // a copy to the host
}

// period is where the steps of a sequence begin.
type period struct {
	starts []int
	// training: the steps have an optimizer's kernels, and begin after them.
	training bool
	// once: an optimizer ran, but less often than steps must come: what repeats is less than a step.
	once bool
	// named: an optimizer, or an embedding lookup, says that it is steps or tokens that repeat.
	named bool
	mark  mark
}

// mark is what steps begin with.
type mark struct {
	key  uint64 // of a symbol; 0: nothing
	fine bool   // symbol.fine, else coarse
	each bool   // each piece in a row of the same work, not only the first
}

const (
	// minRepeats is how often something must come back to be a step.
	minRepeats = 3
	// spacing is how far the distance between two occurrences may be from the median one, and
	// mostEven the share of them that must keep to it. Warm-up, evaluations and the first token
	// are the others.
	spacing  = 0.25
	mostEven = 0.7
	// minCoverage is the share of all work that must lie between a candidate's first occurrence and
	// its last.
	minCoverage = 0.5
	// A step has a beginning and an end of its own: at least this share of its work, or of its time,
	// comes once a step. What comes once in ten steps (a log line, a metric) has less.
	minOwnWork = 0.002
	minOwnTime = 0.01
	// enough is how much of two steps' work must be the same, by name.
	enough = 0.6
)

// candidate is something that comes back at even distances.
type candidate struct {
	at    []int32
	gap   int64 // median distance
	even  float64
	fine  bool
	ns    int64
	embed bool
}

// level is candidates that come back equally often: one of the loops that a program consists of
// (layers, micro-batches, steps, epochs).
type level struct {
	members   []*candidate
	count     int // occurrences of most of them
	gap       int64
	work      float64 // shares that come once a repetition
	time      float64
	embedding bool
}

// findPeriod finds the steps in a sequence of work from the sequence alone. A kernel that comes once
// a step comes back at even distances; those of a layer do so more often, those of a log line less.
func findPeriod(seq []symbol) period {
	if len(seq) < 2*minRepeats || !slices.ContainsFunc(seq, func(s symbol) bool { return s.kernel }) {
		return period{}
	}
	short, where := collapse(seq)
	levels := levelsOf(short, candidatesOf(short))
	optimizers := bursts(seq)
	training := slices.ContainsFunc(seq, func(s symbol) bool { return s.class == ClassOptimizer })
	l := chooseLevel(levels, optimizers)
	first := l.begin(short, training)
	// Several models may have an optimizer each, that run in turn in each step.
	for models := 2; first == nil && models <= mostModels && optimizers/models >= minRepeats; models++ {
		l = optimizerLevel(levels, optimizers/models)
		first = l.begin(short, training)
	}
	if first == nil {
		return period{}
	}
	p := period{training: training, named: l.embedding || optimizers >= minRepeats, once: optimizers > 0 && optimizers < minRepeats, mark: mark{key: short[first.at[0]].coarse, fine: first.fine, each: len(short) == len(seq) && rows(seq)}}
	if first.fine {
		p.mark.key = short[first.at[0]].fine
	}
	for _, at := range first.at {
		p.starts = append(p.starts, where[at])
	}
	return p
}

// collapse makes a row of the same work one piece, and returns where each began. A sequence of nothing
// else stays as it is.
func collapse(seq []symbol) (short []symbol, where []int) {
	for i := range seq {
		// A graph is replayed for each step: two in a row are two.
		if n := len(short); n > 0 && short[n-1].fine == seq[i].fine && seq[i].class != ClassGraph {
			short[n-1].ns += seq[i].ns
			continue
		}
		short, where = append(short, seq[i]), append(where, i)
	}
	if len(short) >= 2*minRepeats {
		return short, where
	}
	short, where = seq, make([]int, len(seq))
	for i := range where {
		where[i] = i
	}
	return short, where
}

// rows says whether the same work comes twice in a row.
func rows(seq []symbol) bool {
	for i := 1; i < len(seq); i++ {
		if seq[i].fine == seq[i-1].fine {
			return true
		}
	}
	return false
}

// repeats says whether what lies between the occurrences of a step's beginning is mostly the same:
// in noise, something comes back at even distances by chance.
func repeats(seq []symbol, at []int32) bool {
	const sample = 32
	stride := max(1, len(at)/sample)
	alikes, all := 0, 0
	for i := stride; i+1 < len(at); i += stride {
		all++
		if similar(seq[at[i-1]:at[i]], seq[at[i]:at[i+1]]) >= enough {
			alikes++
		}
	}
	return alikes*2 >= all
}

// similar returns how much of the work in two pieces of a sequence is the same.
func similar(x, y []symbol) float64 {
	counts := make(map[uint64]int)
	for i := range x {
		counts[x[i].coarse]++
	}
	same := 0
	for i := range y {
		if counts[y[i].coarse] > 0 {
			counts[y[i].coarse]--
			same++
		}
	}
	return float64(same) / float64(len(x)+len(y)-same)
}

// candidatesOf finds what comes back at even distances.
func candidatesOf(seq []symbol) []*candidate {
	where := make(map[uint64][]int32)
	for i := range seq {
		where[seq[i].fine] = append(where[seq[i].fine], int32(i))
		where[seq[i].coarse] = append(where[seq[i].coarse], int32(i))
	}
	var total int64
	until := make([]int64, len(seq)+1)
	for i := range seq {
		total += seq[i].ns
		until[i+1] = total
	}
	var out []*candidate
	for key, at := range where {
		if len(at) < minRepeats {
			continue
		}
		first, last := int(at[0]), int(at[len(at)-1])
		gaps := make([]int64, len(at)-1)
		for i := range gaps {
			gaps[i] = int64(at[i+1] - at[i])
		}
		gap := median(gaps)
		work := float64(int64(last-first)+gap) / float64(len(seq))
		time := 0.0
		if total > 0 {
			time = float64(until[last+1]-until[first]) / float64(total) * float64(len(at)) / float64(len(at)-1)
		}
		if max(work, time) < minCoverage {
			continue
		}
		near := 0
		for _, g := range gaps {
			if d := float64(g - gap); max(d, -d) <= spacing*float64(gap) {
				near++
			}
		}
		even := float64(near) / float64(len(gaps))
		if even < mostEven {
			continue
		}
		c := &candidate{at: at, gap: gap, even: even, fine: key&(1<<48) == 0}
		for _, i := range at {
			c.ns += seq[i].ns
			c.embed = c.embed || seq[i].embed
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(x, y *candidate) int {
		return cmp.Or(cmp.Compare(y.gap, x.gap), cmp.Compare(x.at[0], y.at[0]), cmp.Compare(len(y.at), len(x.at)))
	})
	return out
}

// levelsOf groups candidates that come back equally often, the rarest first.
func levelsOf(seq []symbol, candidates []*candidate) []*level {
	var total int64
	for i := range seq {
		total += seq[i].ns
	}
	var out []*level
	var l *level
	for _, c := range candidates {
		if l == nil || float64(l.gap-c.gap) > 0.06*float64(l.gap) {
			l = &level{gap: c.gap}
			out = append(out, l)
		}
		l.members = append(l.members, c)
	}
	for _, l := range out {
		var work, ns [2]int64
		counts := make(map[int]int)
		for _, c := range l.members {
			i := 0
			if c.fine {
				i = 1
			}
			work[i] += int64(len(c.at))
			ns[i] += c.ns
			counts[len(c.at)]++
			l.embedding = l.embedding || c.embed
		}
		most := 0
		for n, members := range counts {
			if members > most || members == most && n > l.count {
				l.count, most = n, members
			}
		}
		l.work = float64(max(work[0], work[1])) / float64(len(seq))
		if total > 0 {
			l.time = float64(max(ns[0], ns[1])) / float64(total)
		}
	}
	return out
}

// bursts counts how often an optimizer ran: from one of its kernels to the next there is no other
// heavy work.
func bursts(seq []symbol) int {
	n, inside := 0, false
	for i := range seq {
		switch seq[i].class {
		case ClassOptimizer:
			if !inside {
				n++
			}
			inside = true
		case ClassMatmul, ClassAttention, ClassConvolution, ClassGraph:
			inside = false
		}
	}
	return n
}

// mostModels is how many optimizers of one step are told apart.
const mostModels = 4

// begin returns what the steps of a level begin with, nil if it is no loop.
func (l *level) begin(seq []symbol, training bool) *candidate {
	if l == nil {
		return nil
	}
	first := l.first(seq, training)
	if first == nil || !repeats(seq, first.at) {
		return nil
	}
	return first
}

// optimizerLevel returns the loop that comes as often as optimizers run, nil if there is none.
func optimizerLevel(levels []*level, optimizers int) *level {
	var best *level
	for _, l := range levels {
		if d := l.count - optimizers; optimizers >= minRepeats && max(d, -d) <= max(1, optimizers/20) && (best == nil || l.work > best.work) {
			best = l
		}
	}
	return best
}

// chooseLevel chooses the loop that people call a step: that of the optimizer where there is one;
// else that of the embedding lookup, which begins each token; else the rarest that has a share of the work.
func chooseLevel(levels []*level, optimizers int) *level {
	best := optimizerLevel(levels, optimizers)
	if best != nil {
		return best
	}
	own := func(l *level) bool { return l.work >= minOwnWork || l.time >= minOwnTime }
	for _, l := range levels { // from the rarest
		if l.embedding && own(l) {
			best = l
		}
	}
	if best != nil {
		return best
	}
	for _, l := range levels {
		if own(l) {
			return l
		}
	}
	return nil
}

// first returns the member that steps begin with: of training steps the one soonest after the
// optimizer; else the one that came first of all, since a program enters its loop at the beginning.
func (l *level) first(seq []symbol, training bool) *candidate {
	var best *candidate
	var bestScore int64
	since := sinceOptimizer(seq, training)
	for _, c := range l.members {
		// A copy to the host brings the result of the step before.
		whole := len(c.at) == l.count || training && l.wholly(c)
		if !whole || seq[c.at[0]].result {
			continue
		}
		score := int64(c.at[0])
		if training {
			values := make([]int64, len(c.at))
			for i, at := range c.at {
				values[i] = int64(since[at])
			}
			score = median(values)
		}
		if best == nil || score < bestScore || score == bestScore && c.at[0] < best.at[0] {
			best, bestScore = c, score
		}
	}
	return best
}

// wholly says whether a member comes once in each repetition: as often as most members, or once more
// or less, where a trace begins or ends within a step.
func (l *level) wholly(c *candidate) bool {
	n := len(c.at)
	if n == l.count {
		return true
	}
	if d := n - l.count; max(d, -d) > 1 || n < minRepeats {
		return false
	}
	// One that was used once before the first step, or after the last, stands out.
	fits := func(gap int32) bool { return int64(gap)*2 >= c.gap && int64(gap) <= 2*c.gap }
	return fits(c.at[1]-c.at[0]) && fits(c.at[n-1]-c.at[n-2])
}

// sinceOptimizer returns for each position how much work came since the optimizer's last kernel.
func sinceOptimizer(seq []symbol, training bool) []int32 {
	if !training {
		return nil
	}
	out := make([]int32, len(seq))
	n := int32(len(seq))
	for i := range seq {
		n++
		out[i] = n
		if seq[i].class == ClassOptimizer {
			n = 0
			out[i] = int32(len(seq)) // never a beginning
		}
	}
	return out
}

// embedding says whether a kernel of ClassGather looks rows up, rather than sorting or routing.
func embedding(symbol string) bool {
	return contains(strings.ToLower(symbol), []string{"embed", "indexselect", "index_select", "vectorized_gather", "gather_kernel"}) &&
		!contains(strings.ToLower(symbol), []string{"backward", "grad"})
}
