package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/exchange"
	"github.com/warpscope/warpscope/agent/report"
)

// inspectMemoryFlags are the flags of inspect that are about memory.
type inspectMemoryFlags struct {
	fragmentation, leaks, allocEvents bool
	at                                string
}

func (f *inspectMemoryFlags) register(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.at, "at", "", "the account of memory at this time: 1.5s from the start of the trace, or 2026-01-31T12:00:00Z")
	flags.BoolVar(&f.leaks, "leaks", false, "what grows and stays, by line of code where PyTorch left a history, else by the driver's callers")
	flags.BoolVar(&f.fragmentation, "fragmentation", false, "of a PyTorch memory snapshot: free memory between tensors, and what other settings would do")
	flags.BoolVar(&f.allocEvents, "alloc-events", false, "every allocation and release: of the driver in a trace, of PyTorch's allocator in a snapshot; see --format")
}

// validate makes sense of the flags; it comes before it is settled what else is asked for.
func (f *inspectMemoryFlags) validate(i *inspection) error {
	i.pieces, i.leaks = f.fragmentation, f.leaks
	if f.allocEvents {
		i.allocations, i.only = true, []event.Kind{event.KindAllocation}
	}
	if f.at == "" {
		return nil
	}
	var err error
	if i.at, err = parseMoment("--at", f.at); err != nil {
		return err
	}
	i.config.Parts |= analyze.PartMemory
	return nil
}

// memoryKinds are the records that an account of memory is made of.
func memoryKinds() []event.Kind {
	return []event.Kind{event.KindAllocation, event.KindPool, event.KindGPUSample, event.KindUsage, event.KindModule, event.KindFact, event.KindContext, event.KindState}
}

// accounts adds to what was computed of a trace the accounts of memory at the moments that matter: the one that
// was asked for, else the last failure and the peak. Each is a reading of the trace up to that moment.
func (i *inspection) accounts(in *input, r *analyze.Inspection) error {
	if r.Memory == nil || in.stream != nil || in.format == exchange.Kineto || r.Range.Window {
		return nil // a stream is read once: the account is of its end
	}
	if i.at.Set {
		account, err := i.accountAt(in, i.at)
		if err != nil {
			return err
		}
		account.When = "at the time asked for"
		r.Memory.Accounts, r.GPUMemory = []*analyze.MemoryAccount{account}, account.GPUs
		return nil
	}
	list := []*analyze.MemoryAccount{}
	for _, m := range r.Memory.Moments {
		account, err := i.accountAt(in, analyze.Moment{Set: true, NS: m.TimeNS})
		if err != nil {
			return err
		}
		account.When, account.FailureNS = "at the "+m.What, m.FailureNS
		if m.What == "failure" {
			for _, file := range snapshotsBeside(in.file) {
				i.joinSnapshot(account, file)
			}
		}
		list = append(list, account)
	}
	if len(list) > 0 {
		r.Memory.Accounts, r.GPUMemory = list, list[0].GPUs
	}
	return nil
}

// accountAt computes the account at a moment.
func (i *inspection) accountAt(in *input, at analyze.Moment) (*analyze.MemoryAccount, error) {
	part := *i
	at.NS++ // what happened at that moment has happened
	part.config = analyze.Config{Parts: analyze.PartMemory, Window: analyze.Window{To: at}}
	part.only, part.overview, part.events = memoryKinds(), false, false
	r, err := part.analyzeInput(in)
	if err != nil {
		return nil, err
	}
	return r.Memory.Accounts[0], nil
}

// snapshotsBeside returns the memory snapshots that a run left with its trace.
func snapshotsBeside(file string) []string {
	stem := strings.TrimSuffix(file, ".wscope")
	var out []string
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil {
		return nil
	}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), filepath.Base(stem)+".")
		if ok && (strings.HasPrefix(rest, "oom-") || strings.HasPrefix(rest, "end-")) && strings.HasSuffix(rest, ".pickle") {
			out = append(out, filepath.Join(filepath.Dir(file), e.Name()))
		}
	}
	slices.Sort(out)
	return out
}

// joinSnapshot puts PyTorch's account of a failure into that of the GPU.
func (i *inspection) joinSnapshot(account *analyze.MemoryAccount, file string) {
	tensors, err := i.snapshot(&input{file: file, format: exchange.Pickle})
	if err != nil {
		say(i.env, err)
		return
	}
	for _, t := range tensors {
		account.TensorsJoin(t)
	}
}

// inspectLeaks prints what grows in a trace.
func (i *inspection) inspectLeaks(in *input) error {
	if in.stream != nil || in.format == exchange.Kineto {
		return fmt.Errorf("%s: --leaks reads a trace twice: give it as a file of warpscope's", in.name())
	}
	var tensors []*analyze.Tensors
	for _, file := range snapshotsBeside(in.file) {
		more, err := i.snapshot(&input{file: file, format: exchange.Pickle})
		if err != nil {
			say(i.env, err)
			continue
		}
		tensors = append(tensors, more...)
	}
	first, err := i.analyzeInput(in)
	if err != nil {
		return err
	}
	leaks := &report.Leaks{File: in.name(), Tensors: tensors}
	if last := first.Memory; last != nil {
		// The first quarter is warm-up; the rest in halves tells what goes on from what fills and stays.
		from, to := tracedTime(first)
		for _, at := range []int64{from + (to-from)/4, from + (to-from)*5/8, to} {
			part := *i
			part.config = analyze.Config{Parts: analyze.PartMemory, Window: analyze.Window{To: analyze.Moment{Set: true, NS: at + 1}}}
			part.only, part.overview = memoryKinds(), false
			r, err := part.analyzeInput(in)
			if err != nil {
				return err
			}
			leaks.Driver = append(leaks.Driver, r.Memory)
			leaks.Times = append(leaks.Times, at)
		}
	}
	if i.json {
		return report.JSON(i.env.Stdout, leaks.Rows())
	}
	if err := leaks.Document().Write(i.env.Stdout, i.style); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// tracedTime returns from when to when processes were traced, since the start of the trace.
func tracedTime(r *analyze.Inspection) (from, to int64) {
	from, to = r.Range.DurationNS, 0
	for i := range r.Processes {
		from, to = min(from, r.Processes[i].FirstNS), max(to, r.Processes[i].LastNS)
	}
	if to <= from {
		return 0, r.Range.DurationNS
	}
	return from, to
}
