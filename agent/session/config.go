package session

import (
	"os"
	"syscall"
	"time"

	"github.com/warpscope/warpscope/agent/budget"
	"github.com/warpscope/warpscope/agent/collect"
	"github.com/warpscope/warpscope/agent/event"
)

// Config says what to run and what to record.
type Config struct {
	Command []string // the program and its arguments
	Environ []string // the program's environment before capture
	// Stdin, Stdout and Stderr become the program's own.
	Stdin, Stdout, Stderr *os.File

	Output  string // the trace's name with placeholders; "": DefaultOutput
	Force   bool   // overwrite a file of that name
	MaxSize int64  // bytes of trace after which no more is recorded; 0: no limit

	Mode       collect.Mode
	API        collect.APILevel
	Graphs     collect.GraphLevel
	StartAfter time.Duration // of the program, before the timeline is recorded
	Duration   time.Duration // for which the timeline is recorded; 0: to the end
	// Trigger is when the program lets the timeline be recorded.
	Trigger collect.Trigger
	// BySignal lets SIGUSR1 and SIGUSR2, sent to this process, switch the timeline on and off, which is
	// off until the first. The program does not get them then.
	BySignal bool
	// Budget is the share of the program's time that the recording of the timeline may cost, in (0, 1): it is
	// recorded in windows that keep it; 0: all the time.
	Budget float64
	// ExactCalls keeps the times of API calls as CUPTI gives them; otherwise they are rounded to a resolution
	// below what reading the clock takes (trace.WithCallResolution).
	ExactCalls bool
	// Keep is how much of the run, up to now, stays in the trace; 0: all.
	Keep time.Duration

	// NoPython leaves out the module that runs in Python programs.
	NoPython bool
	// StackRate is how many samples a second the module takes of what Python is doing; 0: its default, negative: none,
	// and no operators either.
	StackRate float64
	// AllocStacks says which of PyTorch's allocations have Python stacks: "first" (and sampled ones), "all", "none"; "": the
	// environment's, else first.
	AllocStacks string
	// NoOperators leaves operators, modules and regions of sampled steps out.
	NoOperators bool
	// SnapshotSteps are steps of PyTorch's optimizer after which the process leaves a snapshot of its memory beside the trace.
	SnapshotSteps []int
	// MemoryHistory has PyTorch record each allocation with its stack, and leave a snapshot at the program's
	// end; otherwise there is one when memory runs out, without a history.
	MemoryHistory bool

	Tool string // what writes the trace: "warpscope 0.1.0"
	// Note takes sentences for the user, without newline; nil: nobody is told.
	Note func(string)
	// Resolve names addresses in the program's code; nil: stacks keep libraries and offsets.
	Resolve collect.Resolve

	// Self is this agent's executable, which measures what a context takes of a GPU, once for each driver; "": that is
	// not measured.
	Self string

	library string        // capture library; "": the embedded one, extracted
	grace   time.Duration // for processes that outlive the program; 0: the default
}

// Result is what came of a run.
type Result struct {
	ExitCode int            // the program's; -1 when a signal ended it
	Signal   syscall.Signal // that ended the program; 0: none

	Path    string // of the trace
	Size    int64  // of the trace, in bytes; -1 unknown (a pipe or device)
	Summary event.Summary
	// Processes are those that used CUDA.
	Processes []collect.Status
	// Snapshots are the files with PyTorch's memory that the program's processes left: at failures
	// (FailureSnapshot) and, with Config.MemoryHistory, at their ends.
	Snapshots []string
	// Budget is what came of Config.Budget; nil: there was none.
	Budget *budget.Result
	// Foreign is the tool that held the driver's injection, so that nothing was captured.
	Foreign string
	// Err says what is wrong with the trace; the program was not affected.
	Err error
}

// Status is what the agent has to exit with for the program's sake: its own status, or 128 and the
// signal's number.
func (r *Result) Status() int {
	if r.Signal != 0 {
		return 128 + int(r.Signal)
	}
	if r.ExitCode < 0 {
		return 1
	}
	return r.ExitCode
}
