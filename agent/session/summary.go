package session

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/collect"
	"github.com/warpscope/warpscope/agent/event"
)

// opening is the note at the start: what is recorded, and where.
func (s *session) opening() string {
	c := &s.config
	var what []string
	if s.foreign == "" {
		what = append(what, "allocations")
		if c.Mode == collect.Timeline {
			what = append(what, "kernels", "copies", "waits")
			if c.API != collect.APINone {
				what = append(what, "calls")
			}
		}
	}
	if s.system != nil {
		what = append(what, plural(uint64(len(s.system.GPUs())), "GPU's samples", "GPUs' samples"))
	}
	if len(what) == 0 {
		return "recording nothing to " + s.output.path
	}
	note := "recording " + list(what) + " to " + s.output.path
	var when string
	if c.Duration > 0 {
		when += fmt.Sprintf(" for %v", c.Duration)
	}
	if c.StartAfter > 0 {
		when += fmt.Sprintf(" after %v", c.StartAfter)
	}
	if when += c.triggered(); when != "" {
		note += ", the timeline" + when
	}
	return note
}

// findings are what the user must know about the capture itself. window tells that the timeline
// was recorded for a part of the run only.
func (r *Result) findings(window bool) []string {
	if r.Foreign != "" {
		return nil // said at the start
	}
	if len(r.Processes) == 0 {
		return []string{"no process of the program used CUDA while it ran (none initialised the driver, or said above why it is not recorded): there are no kernels and no allocations in the trace"}
	}
	var notes []string
	for reason := event.ReasonNoCUPTI; reason <= event.ReasonBuffersTaken; reason++ {
		var who []string
		for i := range r.Processes {
			if r.Processes[i].Reason&(1<<reason) != 0 {
				who = append(who, describe(&r.Processes[i]))
			}
		}
		if len(who) > 0 {
			notes = append(notes, some(who)+": "+explain(reason))
		}
	}
	var never []string
	for i := range r.Processes {
		if p := &r.Processes[i]; p.State == event.StateEmpty && !p.Running {
			never = append(never, describe(p))
		}
	}
	if len(never) > 0 {
		notes = append(notes, some(never)+": not recorded, the capture never began (a message of its own says why, or it ended at once)")
	}
	if window && len(notes) == 0 && r.Summary.Recorded[event.KindKernel] == 0 {
		notes = append(notes, "no kernel ran while the timeline was recorded: --start-after and --duration count from the start of the program")
	}
	simulated := func(p collect.Status) bool { return p.Simulated }
	if slices.ContainsFunc(r.Processes, simulated) {
		notes = append(notes, "simulated device: these are no measurements of a GPU")
	}
	return notes
}

// deviceMemory says, for the trace, what the timeline may take of the GPUs' memory.
func (r *Result) deviceMemory() []string {
	var most uint64
	for i := range r.Processes {
		most = max(most, r.Processes[i].DeviceMost)
	}
	if most == 0 {
		return nil
	}
	return []string{fmt.Sprintf("CUPTI takes up to %s of each context's GPU memory for the times of kernels, less while few are under way; NVML counts it as the process's", inBytes(int64(most)))}
}

// explain says why a capture is missing something, and what to do.
func explain(reason event.Reason) string {
	switch reason {
	case event.ReasonNoCUPTI:
		return "nothing was captured, no libcupti was found; install it (pip install nvidia-cuda-cupti-cu12, or nvidia-cuda-cupti for CUDA 13) or name it in WARPSCOPE_CUPTI"
	case event.ReasonCUPTITooOld:
		return "CUPTI lacks a function that capture needs; name a newer libcupti (11.8 or later) in WARPSCOPE_CUPTI"
	case event.ReasonSubscriberTaken:
		return "no allocations were recorded, another tool holds CUPTI's callbacks; run without it (nsys, ncu, compute-sanitizer, an in-program profiler)"
	case event.ReasonActivityFailed:
		return "no timeline was recorded, CUPTI refused activity records; is another profiler at work in the program?"
	case event.ReasonNoPrivilege:
		return "the driver restricts profiling to administrators; run as root, or load the nvidia module with NVreg_RestrictProfilingToAdminUsers=0"
	case event.ReasonCallsUnwatched:
		return "CUPTI would not watch all driver calls: allocations and releases are missing, and what is live at the end may be wrong"
	case event.ReasonKindsMissing:
		return "CUPTI refused some kinds of records: waits, NVTX ranges, graph launches, calls or overheads are missing"
	case event.ReasonUndelivered:
		return "CUPTI did not hand over all that it had, or the program went on after it had called exit: kernels, copies and calls are missing, how many is not known"
	case event.ReasonNoClock:
		return "CUPTI's clock could not be read: kernels and copies are placed in time by the wall clock"
	case event.ReasonNoThread:
		return "nothing was captured, no thread could be started (ulimit -u, ulimit -v)"
	case event.ReasonLate:
		return "the capture began when CUDA was in use already: what was allocated or launched before is unknown"
	case event.ReasonBuffersTaken:
		return "another tool in the program took CUPTI's records for itself: kernels, copies and calls are missing from then on"
	case event.ReasonForeignInjection:
		return "nothing was captured, " + injectionVariable + " names another tool there"
	default:
		return fmt.Sprintf("capture is reduced (reason %d)", reason)
	}
}

// Report returns the lines at the end: recorded, lost, cost, the file, what to type next.
func (r *Result) Report() []string {
	var lines []string
	lines = append(lines, "recorded "+r.recorded())
	lines = append(lines, r.lost()+"; "+r.cost())
	file := "trace " + r.Path
	if r.Size >= 0 {
		file += ", " + inBytes(r.Size)
	}
	if kernels := r.Summary.Recorded[event.KindKernel]; kernels > 0 && r.Size >= 0 {
		file += fmt.Sprintf(", %.1f bytes a kernel", float64(r.Size)/float64(kernels))
	}
	if dropped := r.dropped(); dropped > 0 {
		file += fmt.Sprintf(", %s older than --keep dropped", plural(dropped, "record", "records"))
	}
	lines = append(lines, file)
	if r.Err != nil {
		lines = append(lines, "the trace is not complete: "+strings.ReplaceAll(r.Err.Error(), "\n", "; "))
	}
	return append(lines, "next: warpscope inspect "+quote(r.Path))
}

// cost says what the recording cost, where that was measured.
func (r *Result) cost() string {
	if r.Budget != nil {
		for i := range r.Budget.Processes {
			if r.Budget.Processes[i].Certain() {
				return "cost measured, see above"
			}
		}
	}
	return "cost not measured"
}

// process names the process with a PID.
func (r *Result) process(pid int32) string {
	for i := range r.Processes {
		if r.Processes[i].PID == pid {
			return describe(&r.Processes[i])
		}
	}
	return fmt.Sprintf("process %d", pid)
}

// dropped counts what was older than the trace was to keep.
func (r *Result) dropped() uint64 {
	n := uint64(0)
	for _, l := range r.Summary.Losses {
		if l.Cause == event.LossAged {
			n += l.Count
		}
	}
	return n
}

// recorded lists the kinds that were recorded.
func (r *Result) recorded() string {
	var parts []string
	for kind := event.KindKernel; kind <= event.KindActivity; kind++ {
		if n := r.Summary.Recorded[kind]; n > 0 {
			parts = append(parts, group(n)+" "+kindWord(kind, n))
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	if n := len(r.Processes); n > 0 {
		return strings.Join(parts, ", ") + " of " + plural(uint64(n), "process", "processes")
	}
	return strings.Join(parts, ", ")
}

// kindWord names n records of a kind.
func kindWord(kind event.Kind, n uint64) string {
	name := analyze.KindName(kind)
	switch {
	case n != 1:
		return name
	case strings.HasSuffix(name, "ies"):
		return strings.TrimSuffix(name, "ies") + "y"
	case strings.HasSuffix(name, "ches"):
		return strings.TrimSuffix(name, "es")
	default:
		return strings.TrimSuffix(name, "s")
	}
}

// lost lists what was lost or is incomplete, by cause.
func (r *Result) lost() string {
	counts := map[event.LossCause]map[event.Kind]uint64{}
	cut := 0 // processes whose end is missing
	for _, l := range r.Summary.Losses {
		if l.Cause == event.LossAged {
			continue // asked for; the file's line says it
		}
		if l.Cause == event.LossUndelivered {
			cut++
		}
		if l.Count == 0 {
			continue
		}
		if counts[l.Cause] == nil {
			counts[l.Cause] = map[event.Kind]uint64{}
		}
		counts[l.Cause][l.Kind] += l.Count
	}
	var causes []string
	if cut > 0 {
		causes = append(causes, "what CUPTI still held when "+plural(uint64(cut), "process", "processes")+" ended without flushing (how much is not known)")
	}
	if len(counts) == 0 && cut == 0 {
		if slices.ContainsFunc(r.Processes, func(p collect.Status) bool { return p.Reason != 0 || p.State == event.StateEmpty && !p.Running }) {
			return "nothing lost but what is said above"
		}
		return "nothing lost"
	}
	for _, cause := range slices.Sorted(maps.Keys(counts)) {
		var kinds []string
		for _, kind := range slices.Sorted(maps.Keys(counts[cause])) {
			n := counts[cause][kind]
			kinds = append(kinds, group(n)+" "+kindWord(kind, n))
		}
		causes = append(causes, fmt.Sprintf("%s (%s)", list(kinds), analyze.CauseName(cause)))
	}
	return "lost or incomplete: " + strings.Join(causes, ", ")
}

// describe names a process.
func describe(p *collect.Status) string {
	name := p.Executable
	if len(p.Command) > 0 {
		name = strings.Join(p.Command, " ")
	}
	if runes := []rune(name); len(runes) > 60 {
		name = string(runes[:57]) + "..."
	}
	return fmt.Sprintf("process %d (%s)", p.PID, strings.ToValidUTF8(name, "?"))
}

// some lists the first of many.
func some(who []string) string {
	const most = 3
	if len(who) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(who[:most], ", "), len(who)-most)
	}
	return list(who)
}

// list joins words as in a sentence.
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

func plural(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return group(n) + " " + many
}

// group writes a number with commas at the thousands.
func group(n uint64) string {
	digits := fmt.Sprint(n)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// inBytes writes a size in binary units.
func inBytes(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
}

// quote makes a path that can be pasted into a shell.
func quote(path string) string {
	if path != "" && !strings.ContainsFunc(path, func(r rune) bool {
		return !strings.ContainsRune("/._-+,:@%=", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
