package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/doctor"
	"github.com/warpscope/warpscope/agent/exchange"
	"github.com/warpscope/warpscope/agent/report"
	"github.com/warpscope/warpscope/agent/session"
)

// judged checks --doctor and --fail-on, and asks for what they need.
func (f *runFlags) judged(c *session.Config) error {
	for _, on := range f.failOn {
		if !doctor.IsSeverity(on) && !doctor.Known(on) {
			return usagef("--fail-on %q: neither a severity (error, warning, note) nor the identifier of a rule", on)
		}
		if strings.HasPrefix(on, "memory.") {
			if f.noPython {
				return usagef("--fail-on %s needs PyTorch's memory snapshots, which --no-python leaves out", on)
			}
			c.MemoryHistory = true
		}
	}
	return nil
}

// judge returns what judges a run: nothing, unless it was asked for.
func (f *runFlags) judge(ctx context.Context, env *Env) func(r *session.Result, w *os.File) int {
	return func(r *session.Result, w *os.File) int {
		if !f.doctor && len(f.failOn) == 0 {
			return statusDone
		}
		stderr := *env
		stderr.Stdout, stderr.Stderr = w, w // the program's output is its own
		j := &runJudge{i: &inspection{ctx: ctx, env: &stderr, style: stderr.Style(false)}, r: r, failOn: f.failOn, print: f.doctor, why: map[string]string{}}
		j.i.config.Parts = doctor.Parts
		return j.all()
	}
}

// runJudge judges what a run has left: its memory snapshots, or its trace.
type runJudge struct {
	i      *inspection
	r      *session.Result
	failOn []string
	print  bool
	found  []string // the members of failOn that matched
	judged []string // that a diagnosis had an opinion on
	why    map[string]string
	failed bool // something could not be judged
}

func (j *runJudge) note(format string, v ...any) {
	fmt.Fprintf(j.i.env.Stdout, "warpscope: %s\n", oneLine(fmt.Sprintf(format, v...)))
}

func (j *runJudge) all() int {
	memory := slices.ContainsFunc(j.failOn, func(on string) bool { return strings.HasPrefix(on, "memory.") })
	last := lastSnapshots(j.r.Snapshots)
	ranOut := slices.ContainsFunc(last, session.FailureSnapshot)
	j.snapshots(last)
	if memory && len(last) == 0 {
		j.note("no process left a memory snapshot (none used PyTorch with CUDA, or it was ended from outside): --fail-on %s was not judged", strings.Join(j.failOn, ","))
		j.failed = true
	}
	time := slices.ContainsFunc(j.failOn, func(on string) bool { return !strings.HasPrefix(on, "memory.") })
	if !ranOut && (j.print || time) {
		j.trace()
	}
	for _, on := range j.failOn {
		if why, ok := j.why[on]; ok && !slices.Contains(j.judged, on) {
			j.note("--fail-on %s was not judged: %s", on, why)
			j.failed = true
		}
	}
	for _, on := range j.found {
		j.note("--fail-on %s: found", on)
	}
	switch {
	case len(j.found) > 0:
		return statusFound
	case j.failed && len(j.failOn) > 0 && j.r.Status() == statusDone:
		return statusFailed // what was not judged has not passed
	}
	return statusDone
}

// snapshots judges processes by their last snapshots, the first to run out of memory first.
func (j *runJudge) snapshots(files []string) {
	type read struct {
		file    string
		tensors []*analyze.Tensors
		at      int64
	}
	var list []read
	for _, file := range files {
		tensors, err := j.i.snapshot(&input{file: file, format: exchange.Pickle})
		if err != nil {
			j.note("%v", err)
			j.failed = true
			continue
		}
		s := read{file: file, tensors: tensors}
		for _, t := range tensors {
			t.WentOn = j.r.Status() == statusDone && session.FailureSnapshot(file)
			if t.Added == nil {
				continue
			}
			s.at = t.Added.MonotonicNS
			if j.r.Size < 0 {
				continue // a pipe
			}
			if err := others(j.r.Path, t); err != nil {
				j.note("what else was on the GPU is not known: %v", err)
			}
		}
		list = append(list, s)
	}
	slices.SortStableFunc(list, func(x, y read) int { return cmp.Compare(x.at, y.at) })
	run := j.memory()
	failed := false
	for _, s := range list {
		if !session.FailureSnapshot(s.file) {
			j.show(doctor.DiagnoseMemory(filepath.Base(s.file), s.tensors, nil), false)
			continue
		}
		if !failed {
			failed, run.File = true, filepath.Base(s.file)
		}
		run.Tensors = append(run.Tensors, s.tensors...)
	}
	if failed {
		j.show(doctor.DiagnoseRun(run), true)
	}
}

// memory reads what the trace tells of memory. Without it snapshots tell less.
func (j *runJudge) memory() *doctor.Run {
	if j.r.Size < 0 {
		return &doctor.Run{Ended: j.r.Status() == statusDone} // a pipe
	}
	run, err := j.i.memoryRun(j.r.Path)
	if err != nil {
		j.note("what else was on the GPU is not known: %v", err)
		return &doctor.Run{Ended: j.r.Status() == statusDone}
	}
	return run
}

// trace judges the trace.
func (j *runJudge) trace() {
	if j.r.Size < 0 {
		j.note("%s is no file that can be read again: warpscope doctor reads it where it went", j.r.Path)
		j.failed = true
		return
	}
	d, err := j.i.diagnose(j.r.Path, nil, "")
	if err != nil {
		j.note("%v", err)
		j.failed = true
		return
	}
	j.show(d, true)
}

// show prints a diagnosis if it was asked for or decides the status. worth: it is of what the run is about.
func (j *runJudge) show(d *doctor.Diagnosis, worth bool) {
	decides := false
	for _, on := range j.failOn {
		if why := unjudged(d, on); why == "" {
			j.judged = append(j.judged, on)
		} else {
			j.why[on] = why
		}
		if d.Fails(on) {
			decides = true
			if !slices.Contains(j.found, on) {
				j.found = append(j.found, on)
			}
		}
	}
	if !decides && (!j.print || !worth) {
		return
	}
	fmt.Fprintln(j.i.env.Stdout)
	if err := report.Diagnosis(d).Write(j.i.env.Stdout, j.i.style); err != nil {
		j.failed = true
	}
}

// unjudged says why a rule had no opinion; "" if it had one.
func unjudged(d *doctor.Diagnosis, on string) string {
	if doctor.IsSeverity(on) || d.Fails(on) || slices.ContainsFunc(d.RuledOut, func(c doctor.Clear) bool { return c.ID == on }) {
		return ""
	}
	for _, n := range d.Notes {
		if n.ID == on {
			return strings.TrimPrefix(n.Text, "cannot be judged: ")
		}
	}
	return "nothing that was recorded bears on it"
}

// lastSnapshots keeps the last one of each process: their names end in the process and a number.
func lastSnapshots(files []string) []string {
	last := map[string]string{}
	for _, file := range files {
		stem := file[:max(strings.LastIndexByte(file, '-'), 0)]
		if old := last[stem]; len(file) > len(old) || len(file) == len(old) && file > old {
			last[stem] = file
		}
	}
	var out []string
	for _, file := range files {
		if last[file[:max(strings.LastIndexByte(file, '-'), 0)]] == file {
			out = append(out, file)
		}
	}
	return out
}
