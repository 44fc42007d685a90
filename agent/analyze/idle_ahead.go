package analyze

import (
	"sort"

	"github.com/warpscope/warpscope/agent/event"
)

const (
	// smallResult is up to which size, in KiB, a copy to pageable memory is taken for a value that the program
	// reads: what it costs is the wait, not the bytes.
	smallResult = 64
	// blocked is how long a call that copies must take to count as a wait; where nothing has to be waited for, they take
	// 5 to 20 µs.
	blocked = 40_000
)

// runAhead is by how much the CPU would be ahead of where it is, had it not waited for the GPU: idleness that such a
// lead would have covered is the wait's fault, and the rest is the launches'. A wait adds what it took while the GPU
// worked; idleness of any cause that comes from the CPU uses it up.
type runAhead struct {
	walk  *cpuWalk
	ns    int64
	most  int64 // no program runs ahead further: a step's wall time
	cause cause
	call  event.StringID
	read  map[uint32]int        // by thread: how many of its calls were looked at
	until map[uint32]event.Time // and up to when its waits are counted: calls of the runtime hold those of the driver
	last  [causes]cpuWork       // the last wait of each cause
	parts []part
}

func newRunAhead() *runAhead { return &runAhead{until: make(map[uint32]event.Time)} }

// begin begins with a part of the calls.
func (l *runAhead) begin(w *cpuWalk) { l.walk, l.read = w, make(map[uint32]int) }

// settle divides launch-bound parts of a gap that began at g0 among the waits before and the launches.
func (l *runAhead) settle(parts []part, g0, g1 event.Time) []part {
	l.parts = l.parts[:0]
	var last uint32
	for i := range parts {
		if p := &parts[i]; p.thread != 0 && (i == 0 || p.thread != last) {
			l.waits(p.thread, g0, g1)
			last = p.thread
		}
	}
	for _, p := range parts {
		switch {
		case p.cause == causeGap, p.cause == causeDependency, p.cause == causeUnrecorded:
			l.add(p)
			continue // the GPU's own: a CPU that is ahead would not shorten it
		case p.cause == causeSync && !p.after:
			l.add(p)
			continue // in the wait itself
		case p.cause == causeLaunch, p.after:
			covered := min(p.ns, l.ns)
			rest := p
			if covered > 0 {
				p.cause, p.call, p.ns, p.after = l.cause, l.call, covered, false
				l.add(p)
			}
			if rest.ns -= covered; rest.ns > 0 {
				if rest.after {
					rest.cause, rest.after = rest.otherwise, false
				}
				l.add(rest)
			}
		case p.cause == l.cause:
			l.add(p)
			continue // without the calls, the CPU and the GPU would both be ahead by this
		default:
			l.add(p)
		}
		l.ns = max(l.ns-p.ns, 0)
	}
	return l.parts
}

func (l *runAhead) add(p part) {
	if n := len(l.parts); n > 0 && l.parts[n-1].cause == p.cause && l.parts[n-1].call == p.call {
		l.parts[n-1].ns += p.ns
		return
	}
	l.parts = append(l.parts, p)
}

// waits adds the waits of a thread that ended before a gap did, as far as the GPU worked meanwhile.
func (l *runAhead) waits(thread uint32, g0, g1 event.Time) {
	list, cpu := l.walk.byThread[thread], l.walk.calls.cpu
	at := l.read[thread]
	// What is long ago no longer counts, but for the most that a lead can be.
	if at < len(list) && cpu[list[at]].start < g0-event.Time(l.most) {
		at += sort.Search(len(list)-at, func(i int) bool { return cpu[list[at+i]].start >= g0-event.Time(l.most) })
	}
	for ; at < len(list); at++ {
		c := &cpu[list[at]]
		if c.start >= g1 || c.end > g1 {
			break
		}
		if c.kind != cpuSync && c.kind != cpuAlloc && (c.kind != cpuCopy || c.end-c.start < blocked) {
			continue
		}
		if c.kind != cpuAlloc { // these are short, and many: where the GPU is idle in them is where they hurt
			l.last[causeOf(c.kind)] = *c
		}
		if worked := int64(min(c.end, g0) - max(c.start, l.until[thread])); worked > 0 {
			l.ns = min(l.ns+worked, l.most)
			l.cause, l.call, l.until[thread] = causeOf(c.kind), c.name, c.end
		}
	}
	l.read[thread] = at
}

// results makes waits of the calls that copy a value to the host: the program reads it, and the call returns when it
// is there.
func (l *timeline) results() {
	var small map[uint32]bool
	for i := range l.gpu {
		w := &l.gpu[i]
		if w.kind == workCopy && w.how == copyPageable && event.CopyKind(w.id) == event.CopyDeviceToHost && w.kib <= smallResult && w.correlation != 0 {
			if small == nil {
				small = make(map[uint32]bool)
			}
			small[w.correlation] = true
		}
	}
	if small == nil {
		return
	}
	for i := range l.cpu {
		if c := &l.cpu[i]; c.kind == cpuCopy && small[c.correlation] {
			c.kind = cpuSync
		}
	}
}
