package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/doctor"
	"github.com/warpscope/warpscope/agent/session"
)

// What doctor is asked about, of a trace.
const (
	aboutMemory = "memory"
	aboutTime   = "time"
)

// memoryRun reads what a trace tells of memory: all of it, and the account at the last failure, or at the peak. Only
// records about memory are read.
func (i *inspection) memoryRun(file string) (*doctor.Run, error) {
	part := *i
	part.config = analyze.Config{Parts: analyze.PartMemory, Window: i.config.Window}
	part.only, part.overview = memoryKinds(), false
	in := &input{file: file}
	r, err := part.analyzeInput(in)
	if err != nil {
		return nil, err
	}
	run := &doctor.Run{
		File: file, Trace: r.Memory, EndNS: r.Range.DurationNS, Ended: r.Provenance.ExitCode != nil && *r.Provenance.ExitCode == 0 && r.Provenance.Signal == 0,
		Killed: r.Provenance.Signal == 9 || r.Provenance.ExitCode != nil && *r.Provenance.ExitCode == 128+9,
	}
	if len(r.Memory.Accounts) > 0 {
		run.Account = r.Memory.Accounts[0] // of the end
	}
	host := run.Account.Host
	if r.Range.Window || len(r.Memory.Moments) == 0 {
		return run, nil
	}
	m := r.Memory.Moments[0]
	account, err := part.accountAt(in, analyze.Moment{Set: true, NS: m.TimeNS})
	if err != nil {
		return nil, err
	}
	account.When, account.FailureNS = "at the "+m.What, m.FailureNS
	account.Host = host // the last look says whether somebody was killed
	run.Account = account
	return run, nil
}

// failureSnapshotsBeside returns the last snapshot of each process that ran out of memory in a trace.
func failureSnapshotsBeside(file string) []string {
	return lastSnapshots(slices.DeleteFunc(snapshotsBeside(file), func(name string) bool { return !session.FailureSnapshot(name) }))
}

// traceBeside returns the trace that a run has left with a snapshot; "": there is none.
func traceBeside(snapshot string) string {
	name := filepath.Base(snapshot)
	for _, kind := range []string{".oom-", ".end-"} {
		if at := strings.LastIndex(name, kind); at > 0 {
			trace := filepath.Join(filepath.Dir(snapshot), name[:at]+".wscope")
			if info, err := os.Stat(trace); err == nil && info.Mode().IsRegular() {
				return trace
			}
		}
	}
	return ""
}
