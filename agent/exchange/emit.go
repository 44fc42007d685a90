package exchange

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/version"
)

// flush hands the waiting rows on. last: there will be no more.
func (k *reader) flush(last bool) error {
	empty := last && k.flushes == 0 // nothing at all: one flush says so
	if len(k.rows) == 0 && !empty {
		return nil
	}
	k.flushes++
	k.keys = inOrder(k.rows, k.keys)
	k.assign()
	if k.flushes == 1 && k.options.Provenance != nil {
		p := k.provenance()
		k.options.Provenance(&p)
	}
	k.define(last)
	if d := &k.names.fresh; len(d.Strings)+len(d.Launches)+len(d.GPUs)+len(d.Processes) > 0 {
		if err := k.out.sink.Define(d); err != nil {
			return err
		}
		*d = event.Definitions{}
	}
	async := k.asyncCalls()
	for _, at := range k.keys {
		r := &k.rows[at.at]
		p := event.ProcessID(0)
		if r.owner != noOwner {
			p = k.owners.list[r.owner].defined
		}
		is := false
		if r.kind == rowCopy {
			var known bool
			if is, known = async[call{r.owner, r.correlation}]; !known {
				k.found.unlaunched++
			}
		}
		if err := k.out.add(p, r, is); err != nil {
			return err
		}
	}
	k.rows = k.rows[:0]
	return k.out.flush()
}

// call names a call: its correlation is unique in its process.
type call struct{ owner, correlation uint32 }

// assign turns the labels that rows of GPU work have into processes. Where several processes could
// have started it, the launching call tells, if only one of them has a call of that correlation.
func (k *reader) assign() {
	type whose struct {
		at      uint32
		several bool
	}
	known := make(map[uint32]whose)
	var launchers map[uint32]uint32
	for i := range k.rows {
		r := &k.rows[i]
		if r.kind > rowOverhead {
			continue
		}
		label := r.owner
		w, ok := known[label]
		if !ok {
			w.at, w.several = k.owners.candidates(label)
			if w.at == noOwner && !w.several {
				w.at = k.owners.at(ownerKey{label, -1}, false)
			}
			if w.several && launchers == nil {
				launchers = k.launchers()
			}
			known[label] = w
		}
		r.owner = w.at
		if !w.several {
			continue
		}
		if at, ok := launchers[r.correlation]; ok && at != noOwner && (label == 0 || k.owners.list[at].label == label) {
			r.owner = at
		}
		if r.owner == noOwner && r.kind != rowOverhead {
			k.found.unowned++
		}
	}
}

// launchers says which process made a call, by correlation; noOwner: more than one did.
func (k *reader) launchers() map[uint32]uint32 {
	by := make(map[uint32]uint32)
	for i := range k.rows {
		r := &k.rows[i]
		if r.kind != rowCall || r.correlation == 0 {
			continue
		}
		if was, ok := by[r.correlation]; ok && was != r.owner {
			by[r.correlation] = noOwner
		} else {
			by[r.correlation] = r.owner
		}
	}
	return by
}

// asyncCalls says of the calls that waiting copies came from whether they were asynchronous.
func (k *reader) asyncCalls() map[call]bool {
	wanted := make(map[call]bool)
	for i := range k.rows {
		if r := &k.rows[i]; r.kind == rowCopy && r.correlation != 0 {
			wanted[call{r.owner, r.correlation}] = false
		}
	}
	found := make(map[call]bool, len(wanted))
	if len(wanted) == 0 {
		return found
	}
	for i := range k.rows {
		r := &k.rows[i]
		if r.kind != rowCall {
			continue
		}
		if _, ok := wanted[call{r.owner, r.correlation}]; ok {
			found[call{r.owner, r.correlation}] = k.names.async[event.StringID(r.what)]
		}
	}
	return found
}

// define describes the processes that are new, and with the first of them their GPUs.
func (k *reader) define(last bool) {
	d := &k.names.fresh
	used, users := k.used()
	for i := range k.owners.list {
		p := &k.owners.list[i]
		if p.defined != 0 {
			continue
		}
		k.defined++
		p.defined = event.ProcessID(k.defined)
		q := event.Process{
			PID: int32(max(min(p.pid, 1<<31-1), 0)), Executable: k.found.executables[p.ownerKey], StartTime: k.started(),
			Mode: "timeline", API: "all", Graphs: "node", CUPTIVersion: k.head.cupti, DriverVersion: k.head.driver, Rank: -1,
		}
		if last && !p.calls {
			q.API = "none"
		}
		if label := k.owners.labels[p.label]; label != "" {
			q.Executable = strings.TrimSuffix(label+" "+q.Executable, " ")
		}
		// Which GPU a number means, and whose rank the trace's is, is clear for a single process.
		if users == 1 && used[uint32(i)] != nil || users == 0 && len(k.owners.list) == 1 {
			q.Rank = k.head.rank
			q.Devices = k.describe(d, used[uint32(i)])
		}
		d.Processes = append(d.Processes, q)
	}
}

// used returns the GPUs that each process used in the waiting rows, and how many processes did.
func (k *reader) used() (by map[uint32]map[uint32]bool, users int) {
	by = make(map[uint32]map[uint32]bool)
	for i := range k.rows {
		r := &k.rows[i]
		if r.kind > rowSet || r.device >= maxDevices {
			continue
		}
		if by[r.owner] == nil {
			by[r.owner] = make(map[uint32]bool)
		}
		by[r.owner][r.device] = true
	}
	return by, len(by)
}

// describe describes GPUs, and returns their identifiers by the process's numbers.
func (k *reader) describe(d *event.Definitions, used map[uint32]bool) []event.GPUID {
	var ids []event.GPUID
	for _, ordinal := range slices.Sorted(maps.Keys(used)) {
		g, ok := k.head.devices[ordinal]
		if !ok {
			continue
		}
		d.GPUs = append(d.GPUs, g)
		k.gpus++
		for len(ids) <= int(ordinal) {
			ids = append(ids, 0)
		}
		ids[ordinal] = event.GPUID(k.gpus)
	}
	return ids
}

// started returns when the recording began: at the first event at the latest.
func (k *reader) started() event.Time {
	t := k.found.start
	for _, at := range k.keys {
		if first := k.rows[at.at].time; first > 0 {
			if t > first {
				t = first
			}
			break
		}
	}
	return t
}

// provenance says where the trace comes from, as far as is known by now.
func (k *reader) provenance() event.Provenance {
	tool := Profiler
	if k.head.schema >= 0 {
		tool += fmt.Sprintf(" (Kineto schema %d)", k.head.schema)
	}
	p := event.Provenance{Tool: tool + ", imported by warpscope " + version.String(), Hostname: k.head.host}
	imported := "imported from a PyTorch profiler trace"
	if k.head.name != "" {
		imported += ", written as " + k.head.name
	}
	if k.head.rank >= 0 && k.head.world > 0 {
		imported += fmt.Sprintf(": rank %d of %d", k.head.rank, k.head.world)
	}
	p.Notes = append(p.Notes, imported,
		"such a trace does not tell, and nothing here is said of: memory of the driver's, NVML readings, results of calls, stacks, "+
			"Python's garbage collection and GIL, records that were lost; shared memory is static and dynamic together")
	// Without a base, times are since 1970, or since nobody knows what.
	switch {
	case k.head.base > 0:
		p.MonoTime, p.WallTime = zero, k.head.base
	case k.found.timed && k.found.least > 1e18:
		p.MonoTime, p.WallTime = zero+event.Time(k.found.least), k.found.least
	}
	return p
}

// summary closes the result.
func (k *reader) summary() event.Summary {
	s := event.Summary{Recorded: k.out.recorded, LossesUnknown: true, End: k.found.end, ExitCode: -1}
	note := func(n uint64, format string) {
		if n > 0 {
			s.Notes = append(s.Notes, fmt.Sprintf(format, n))
		}
	}
	if text := k.report.skipped(); text != "" {
		s.Notes = append(s.Notes, text)
	}
	for _, device := range slices.Sorted(maps.Keys(k.found.allocator)) {
		p := k.found.allocator[device]
		s.Notes = append(s.Notes, fmt.Sprintf("PyTorch's allocator on GPU %d: at most %d bytes allocated, %d reserved", device, p.allocated, p.reserved))
	}
	if k.found.timed && !k.found.fine && len(k.out.recorded) > 0 {
		s.Notes = append(s.Notes, "its times are whole microseconds: what takes less may count as nothing")
	}
	note(k.found.undated, "%d events have no time")
	note(k.found.unowned, "%d kernels, copies, fills and waits are of processes that cannot be told apart")
	note(k.found.uncounted, "%d copies do not say how many bytes")
	note(k.found.unlaunched, "%d copies have no call beside them, and count as not asynchronous")
	note(k.names.dropped, "%d names or launch configurations are beyond what is kept of one trace")
	for _, m := range k.head.messages {
		s.Notes = append(s.Notes, "the profiler said: "+m)
	}
	if more := k.head.told - len(k.head.messages); more > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("the profiler said %d more things", more))
	}
	return s
}
