package exchange

import (
	"github.com/warpscope/warpscope/agent/event"
)

// zero is where a trace's own zero lies, so that its first moment is not 0, which means unknown.
const zero event.Time = 1e9

// fields are an event's members, as they stand in the file; nil: it has none.
type fields struct {
	ph, cat, name, pid, tid, ts, dur, args []byte
}

// category is what an event is.
type category uint8

const (
	catOther category = iota
	catKernel
	catCopy
	catSet
	catSync
	catRuntime
	catDriver
	catOverhead
	catAnnotation
	catOperator
	catPython
	catSpan
)

// categoryOf knows the names that PyTorch gave categories since 1.8.
func categoryOf(cat []byte) category {
	switch string(cat) {
	case "kernel", "Kernel":
		return catKernel
	case "gpu_memcpy", "Memcpy":
		return catCopy
	case "gpu_memset", "Memset":
		return catSet
	case "cuda_sync":
		return catSync
	case "cuda_runtime", "Runtime":
		return catRuntime
	case "cuda_driver":
		return catDriver
	case "overhead":
		return catOverhead
	case "user_annotation":
		return catAnnotation
	case "cpu_op", "Operator":
		return catOperator
	case "python_function":
		return catPython
	case "Trace":
		return catSpan
	}
	return catOther
}

// wants says whether complete events of a category are looked into.
func (o *Options) wants(c category) bool {
	switch c {
	case catOther:
		return false
	case catOperator:
		return o.Operators
	case catPython:
		return o.Python
	}
	return true
}

// event takes an event.
func (k *reader) event(b []byte) {
	var f fields
	k.report.Events++
	m := object(b)
	for m.next() {
		switch string(m.key) {
		case "ph":
			f.ph = inner(m.value)
		case "cat":
			f.cat = inner(m.value)
		case "name":
			f.name = inner(m.value)
		case "pid":
			f.pid = m.value
		case "tid":
			f.tid = m.value
		case "ts":
			f.ts = m.value
		case "dur":
			f.dur = m.value
		case "args":
			f.args = m.value
		default:
			continue
		}
		// PyTorch writes these two first: most events need no more.
		if len(f.ph) == 1 && f.cat != nil && f.ph[0] == 'X' && !k.options.wants(categoryOf(f.cat)) {
			k.begun = true
			k.report.skip(f.cat)
			return
		}
	}
	if m.bad {
		k.report.damage(k.in.position()-int64(len(b)-m.p), "in an event")
		k.report.LostBytes += int64(len(b))
		return
	}
	if len(f.ph) != 1 {
		k.report.skip([]byte("objects that are no events"))
		return
	}
	k.begun = true
	switch f.ph[0] {
	case 'X':
		k.complete(&f)
	case 'M':
		k.metadata(&f)
	case 'i', 'I', 'R':
		k.instant(&f)
	case 's', 't', 'f':
		switch string(f.cat) {
		case "ac2g", "async_gpu", "async_cpu_to_gpu": // correlations say the same
		default:
			k.report.skip(f.cat)
		}
	default:
		k.report.skip(f.cat)
	}
}

// complete takes an event with a duration.
func (k *reader) complete(f *fields) {
	r := row{time: k.time(f.ts), duration: -1}
	if n, ok := k.nanoseconds(f.dur); ok && n >= 0 {
		r.duration = n
	}
	cat := categoryOf(f.cat)
	if r.time == 0 && k.options.wants(cat) {
		k.found.undated++
	}
	switch cat {
	case catKernel:
		k.kernel(f, &r)
	case catCopy:
		k.copied(f, &r)
	case catSet:
		k.set(f, &r)
	case catSync:
		k.sync(f, &r)
	case catRuntime:
		k.call(f, &r, event.DomainRuntime)
	case catDriver:
		k.call(f, &r, event.DomainDriver)
	case catOverhead:
		k.overhead(f, &r)
	case catAnnotation:
		k.ranged(f, &r, "")
	case catOperator, catPython:
		if !k.options.wants(cat) {
			k.report.skip(f.cat)
			return
		}
		domain := "cpu_op"
		if cat == catPython {
			domain = "python_function"
		}
		k.ranged(f, &r, domain)
	case catSpan:
		k.span(&r)
	default:
		k.report.skip(f.cat)
	}
}

// time returns when an event was; 0 unknown.
func (k *reader) time(ts []byte) event.Time {
	n, ok := k.nanoseconds(ts)
	if !ok || n >= 1<<61 {
		return 0
	}
	if !k.found.timed || n < k.found.least {
		k.found.timed, k.found.least = true, n
	}
	return max(zero+event.Time(n), 0)
}

// nanoseconds reads microseconds, as they are written: floating point would lose the last digits
// of times since 1970.
func (k *reader) nanoseconds(v []byte) (int64, bool) {
	if v == nil {
		return 0, false
	}
	d, ok := parseDecimal(v)
	if !ok {
		return 0, false
	}
	n, ok := d.scaled(3)
	if n%1000 != 0 {
		k.found.fine = true
	}
	return n, ok
}

// thread returns the thread that an event names; 0 unknown.
func thread(tid []byte) uint32 { return number(tid, 0) }

// call takes the CPU side of a call.
func (k *reader) call(f *fields, r *row, domain event.Domain) {
	r.kind, r.domain = rowCall, uint32(domain)
	r.what = uint32(k.names.call(f.name))
	r.other = thread(f.tid)
	r.owner = k.owners.process(f.pid, true)
	if isObject(f.args) {
		for m := object(f.args); m.next(); {
			if string(m.key) == "correlation" {
				r.correlation = number(m.value, 0)
			}
		}
	}
	k.rows = append(k.rows, *r)
}

// ranged takes a range of the CPU's side.
func (k *reader) ranged(f *fields, r *row, domain string) {
	if r.time == 0 || r.duration < 0 {
		k.report.skip(append([]byte("without time: "), f.cat...))
		return
	}
	k.ranges++
	r.kind = rowBegin
	r.graph = k.ranges
	r.what = uint32(k.names.quoted(f.name))
	r.domain = uint32(k.names.of(domain))
	r.other = thread(f.tid)
	r.owner = k.owners.process(f.pid, false)
	end := *r
	r.size = uint64(r.time) + uint64(r.duration)
	end.kind, end.size, end.time = rowEnd, uint64(r.time), r.time+event.Time(r.duration)
	r.duration, end.duration = -1, -1
	k.rows = append(k.rows, *r, end)
}

// overhead takes time that CUPTI or the driver took for itself.
func (k *reader) overhead(f *fields, r *row) {
	r.kind = rowOverhead
	r.owner, _ = k.owners.split(f.pid)
	r.other = thread(f.tid)
	switch string(plain(f.name)) {
	case "Driver Compiler":
		r.what = 1
	case "Buffer Flush":
		r.what = 1 << 16
	case "Instrumentation":
		r.what = 2 << 16
	case "Resource":
		r.what = 3 << 16
	case "Runtime Triggered Module Loading":
		r.what = 4 << 16
	case "Lazy Function Loading":
		r.what = 5 << 16
	case "Command Buffer Full":
		r.what = 6 << 16
	case "Activity Buffer Request":
		r.what = 7 << 16
	}
	k.rows = append(k.rows, *r)
}

// span takes the time that the profiler was on.
func (k *reader) span(r *row) {
	if r.time > 0 && (k.found.start == 0 || r.time < k.found.start) {
		k.found.start = r.time
	}
}

// metadata takes what is said of processes.
func (k *reader) metadata(f *fields) {
	if string(plain(f.name)) != "process_name" || !isObject(f.args) {
		return
	}
	for m := object(f.args); m.next(); {
		if string(m.key) == "name" && len(k.found.executables) < maxOwners {
			label, pid := k.owners.split(f.pid)
			k.found.executables[ownerKey{label, pid}] = text(inner(m.value), 1<<10)
		}
	}
}

// instant takes a moment.
func (k *reader) instant(f *fields) {
	switch string(plain(f.name)) {
	case "Record Window End":
		k.found.end = max(k.found.end, k.time(f.ts))
	case "[memory]":
		k.found.memory(f.args)
		k.report.skip([]byte("memory"))
	default:
		if len(f.cat) > 0 { // without one they are the profiler's own
			k.report.skip(f.cat)
		}
	}
}
