package session

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/collect"
	"github.com/warpscope/warpscope/agent/event"
)

func TestReport(t *testing.T) {
	r := &Result{
		Path: "my run.wscope", Size: 3 << 20, Processes: make([]collect.Status, 2),
		Summary: event.Summary{
			Recorded: map[event.Kind]uint64{event.KindKernel: 1234567, event.KindCopy: 5},
			Losses: []event.Loss{
				{Process: 1, Kind: event.KindKernel, Cause: event.LossRingFull, Count: 1000},
				{Process: 2, Kind: event.KindKernel, Cause: event.LossRingFull, Count: 500},
				{Process: 2, Kind: event.KindSet, Cause: event.LossRingFull, Count: 1},
				{Process: 2, Kind: event.KindCopy, Cause: event.LossCUPTI, Count: 0},
			},
		},
	}
	got := strings.Join(r.Report(), "\n")
	for _, want := range []string{
		"recorded 1,234,567 kernels, 5 copies of 2 processes\n",
		"lost or incomplete: 1,500 kernels and 1 set (ring full",
		"; cost not measured\n",
		"trace my run.wscope, 3.0 MiB, 2.5 bytes a kernel\n",
		"next: warpscope inspect 'my run.wscope'",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it does not say %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "copies (") {
		t.Errorf("it speaks of a loss of nothing:\n%s", got)
	}
	r.Summary.Losses, r.Size = nil, -1
	if got := strings.Join(r.Report(), "\n"); !strings.Contains(got, "nothing lost") || strings.Contains(got, "bytes a kernel") {
		t.Errorf("without losses, to a pipe:\n%s", got)
	}
}

func TestEveryReasonIsExplained(t *testing.T) {
	seen := map[string]bool{}
	for reason := event.ReasonNoCUPTI; reason <= event.ReasonBuffersTaken; reason++ {
		r := &Result{Processes: []collect.Status{
			{PID: 7, Command: []string{"python", "train.py"}, State: event.StateFinished},
			{PID: 8, Executable: "/usr/bin/worker", State: event.StateRefused, Reason: 1 << reason},
		}}
		notes := r.findings(true)
		if len(notes) != 1 || !strings.HasPrefix(notes[0], "process 8 (/usr/bin/worker): ") || seen[notes[0]] ||
			strings.Contains(notes[0], "capture is reduced") {
			t.Errorf("reason %d: %q", reason, notes)
		}
		seen[notes[0]] = true
	}
}

func TestFindings(t *testing.T) {
	many := make([]collect.Status, 9)
	for i := range many {
		many[i] = collect.Status{PID: int32(i), State: event.StateRefused, Reason: 1 << event.ReasonNoCUPTI, Simulated: true}
	}
	ended := []collect.Status{{State: event.StateFinished}}
	for _, c := range []struct {
		name   string
		result Result
		window bool
		want   []string // what each note contains
	}{
		{"no CUDA", Result{}, true, []string{"no process of the program used CUDA"}},
		{"another tool", Result{Foreign: "/opt/tool.so"}, true, nil},
		{"in order", Result{Processes: ended}, false, nil},
		{"never began", Result{Processes: make([]collect.Status, 1)}, false, []string{"not recorded, the capture never began"}},
		{"goes on", Result{Processes: []collect.Status{{Running: true}}}, false, nil},
		{"beside the window", Result{Processes: ended}, true, []string{"no kernel ran while the timeline was recorded"}},
		{"many", Result{Processes: many}, true, []string{"and 6 more: nothing was captured", "simulated device"}},
	} {
		notes := c.result.findings(c.window)
		if len(notes) != len(c.want) {
			t.Errorf("%s: %q", c.name, notes)
			continue
		}
		for i, want := range c.want {
			if !strings.Contains(notes[i], want) {
				t.Errorf("%s: %q, want %q", c.name, notes[i], want)
			}
		}
	}
}

func TestKindWord(t *testing.T) {
	for kind, want := range map[event.Kind]string{
		event.KindCopy: "copy", event.KindGraph: "graph launch", event.KindSync: "sync", event.KindKernel: "kernel",
	} {
		if got := kindWord(kind, 1); got != want {
			t.Errorf("1 %s, want 1 %s", got, want)
		}
	}
	if got := kindWord(event.KindCopy, 2); got != "copies" {
		t.Errorf("2 %s", got)
	}
}

func TestStatus(t *testing.T) {
	for _, c := range []struct {
		result Result
		want   int
	}{
		{Result{ExitCode: 7}, 7},
		{Result{ExitCode: -1, Signal: unix.SIGKILL}, 137},
		{Result{ExitCode: -1}, 1},
	} {
		if got := c.result.Status(); got != c.want {
			t.Errorf("%+v: %d, want %d", c.result, got, c.want)
		}
	}
}
