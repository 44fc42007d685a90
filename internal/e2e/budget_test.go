package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sampled is what `inspect --json` says of a trace that was recorded under a budget.
type sampled struct {
	Range struct {
		StartUnixNS int64 `json:"start_unix_ns"`
	} `json:"range"`
	Sampling *struct {
		Windows   int     `json:"windows"`
		WorkShare float64 `json:"work_share"`
		FromNS    int64   `json:"from_ns"`
		Estimated bool    `json:"estimated"`
	} `json:"sampling"`
	Kernels struct {
		Groups []struct {
			Name      string `json:"name"`
			Count     uint64 `json:"count"`
			Estimated *struct {
				Count struct {
					Value float64  `json:"value"`
					Low   float64  `json:"low"`
					High  *float64 `json:"high"`
				} `json:"count"`
			} `json:"estimated"`
		} `json:"groups"`
	} `json:"kernels"`
	Provenance struct {
		Notes []string `json:"notes"`
	} `json:"provenance"`
}

// budget runs a program under a budget.
func (w *tool) budget(b *build, share string, program ...string) result {
	w.t.Helper()
	return w.command(w.environ(&build{}), w.bin, w.under(b, []string{"--budget", share}, nil, program...)...)
}

func (w *tool) sampled(trace string) *sampled {
	w.t.Helper()
	var s sampled
	if err := json.Unmarshal([]byte(w.ok("inspect", "--json", "--kernels", "--top", "0", trace)), &s); err != nil {
		w.t.Fatal(err)
	}
	return &s
}

// stepsSince adds up what steps.c wrote of its steps from a moment on; the step under way then counts for
// the part of it that was left.
func (w *tool) stepsSince(file string, from int64) (names [3]float64) {
	w.t.Helper()
	f, err := os.Open(w.path(file))
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	var last int64
	var before [3]float64
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var at int64
		var n [3]float64
		if _, err := fmt.Sscan(lines.Text(), &at, &n[0], &n[1], &n[2]); err != nil {
			w.t.Fatalf("%s: %v", lines.Text(), err)
		}
		if at >= from && last != 0 && last < from {
			for i := range before {
				names[i] += before[i] * float64(at-from) / float64(at-last)
			}
		}
		if at >= from {
			for i := range n {
				names[i] += n[i]
			}
		}
		last, before = at, n
	}
	return names
}

// TestBudgetEstimatesWhatTheProgramDid: the totals of a trace recorded in windows, against the program's own account.
func TestBudgetEstimatesWhatTheProgramDid(t *testing.T) {
	t.Parallel()
	w, b := newTool(t), newBuild(t)
	program := b.compile("steps")
	r := w.budget(b, "20%", program, "steps", "0", "4000", "4000", "steps.txt")
	if r.status != 0 {
		t.Fatalf("exit status %d\n%s", r.status, r.stderr)
	}
	if !strings.Contains(r.stderr, "budget 20 %") || !strings.Contains(r.stderr, "cuCtxSynchronize") {
		t.Errorf("nothing is said of the slowdown:\n%s", r.stderr)
	}
	s := w.sampled("t.wscope")
	if s.Sampling == nil || !s.Sampling.Estimated || s.Sampling.Windows < 4 {
		t.Fatalf("sampling %+v\n%s", s.Sampling, r.stderr)
	}
	if s.Sampling.WorkShare <= 0 || s.Sampling.WorkShare >= 0.6 {
		t.Errorf("%.2f of the work was recorded", s.Sampling.WorkShare)
	}
	w.estimates(s)
	for _, g := range s.Kernels.Groups {
		if e := g.Estimated; e != nil && float64(g.Count) > 0.7*e.Count.Value {
			t.Errorf("%s: %d of %.0f were recorded", g.Name, g.Count, e.Count.Value)
		}
	}
	text := w.ok("inspect", "t.wscope")
	for _, part := range []string{"RECORDED IN WINDOWS", "estimated", "±"} {
		if !strings.Contains(text, part) {
			t.Errorf("the overview does not say %q", part)
		}
	}
	for _, args := range [][]string{{"--group-by", "stream", "--kernels"}, {"--from", "2s", "--kernels"}, {"--streams"}, {"--steps"}, {"--nvtx"}} {
		if text := w.ok(append(append([]string{"inspect"}, args...), "t.wscope")...); !strings.Contains(text, "RECORDED IN WINDOWS") {
			t.Errorf("inspect %v does not say that the trace was recorded in windows:\n%s", args, text)
		}
	}
}

// estimates compares the estimated totals of steps.c with its own account, from the moment on that they are of.
func (w *tool) estimates(s *sampled) {
	t := w.t
	t.Helper()
	truth := w.stepsSince("steps.txt", s.Range.StartUnixNS+s.Sampling.FromNS)
	want := map[string]float64{"every": truth[0], "seldom": truth[1], "often": truth[2]}
	found := 0
	for _, g := range s.Kernels.Groups {
		n, ok := want[g.Name]
		if !ok {
			continue
		}
		found++
		e := g.Estimated
		if e == nil {
			t.Errorf("%s is not estimated", g.Name)
			continue
		}
		t.Logf("%s: %d recorded, %.0f estimated [%.0f, %v], %.0f in truth", g.Name, g.Count, e.Count.Value, e.Count.Low, value(e.Count.High), n)
		// Twice the interval: one in twenty misses it once.
		half := math.Max(value(e.Count.High)-e.Count.Value, e.Count.Value-e.Count.Low)
		if math.Abs(e.Count.Value-n) > 2*half {
			t.Errorf("%s: %.0f estimated, ± %.0f, %.0f in truth", g.Name, e.Count.Value, half, n)
		}
	}
	if found != len(want) {
		t.Errorf("%d of %d kernels were seen", found, len(want))
	}
}

// TestBudgetKeepsTheNewest: with --keep, the totals are estimated for the part that was kept, and what was dropped
// is counted.
func TestBudgetKeepsTheNewest(t *testing.T) {
	t.Parallel()
	w, b := newTool(t), newBuild(t)
	program := b.compile("steps")
	flags := []string{"--budget", "20%", "--keep", "3s"}
	r := w.command(w.environ(&build{}), w.bin, w.under(b, flags, nil, program, "steps", "0", "3500", "4000", "steps.txt")...)
	w.clean(b, r)
	if r.status != 0 {
		t.Fatalf("exit status %d\n%s", r.status, r.stderr)
	}
	s, f := w.sampled("t.wscope"), w.figures("t.wscope")
	if s.Sampling == nil || !s.Sampling.Estimated || s.Sampling.FromNS < 3e9 {
		t.Fatalf("sampling %+v\n%s", s.Sampling, r.stderr)
	}
	w.estimates(s)
	if f.dropped("kernels") == 0 || f.Losses.Lost != 0 || len(f.Damage) != 0 {
		t.Errorf("losses %+v, damage %q", f.Losses, f.Damage)
	}
	w.onlyTrace()
}

func value(p *float64) float64 {
	if p == nil {
		return math.Inf(1)
	}
	return *p
}

func TestBudgetOfAShortProgramIsNotCertain(t *testing.T) {
	t.Parallel()
	w, b := newTool(t), newBuild(t)
	program := b.compile("steps")
	r := w.budget(b, "1%", program, "steps", "0", "1200", "4000", "steps.txt")
	if r.status != 0 || !strings.Contains(r.stderr, "too short") || !strings.Contains(r.stderr, "nothing certain") {
		t.Errorf("exit status %d\n%s", r.status, r.stderr)
	}
	s := w.sampled("t.wscope")
	said := false
	for _, note := range s.Provenance.Notes {
		said = said || strings.Contains(note, "nothing certain")
	}
	if !said {
		t.Errorf("the trace does not say it: %q", s.Provenance.Notes)
	}
	w.ok("inspect", "t.wscope")
}

func TestBudgetWithoutARegularCallIsALedger(t *testing.T) {
	t.Parallel()
	w, b := newTool(t), newBuild(t)
	program := b.compile("steps")
	r := w.budget(b, "10%", program, "silent", "0", "800")
	if r.status != 0 || !strings.Contains(r.stderr, "no regular calls") {
		t.Errorf("exit status %d\n%s", r.status, r.stderr)
	}
	if _, content := w.inspect("t.wscope"); kernels(content) != 0 {
		t.Errorf("%v kernels were recorded", kernels(content))
	}
}

// TestBudgetOfAKilledProgram: the windows so far are in the trace.
func TestBudgetOfAKilledProgram(t *testing.T) {
	t.Parallel()
	w, b := newTool(t), newBuild(t)
	program := b.compile("steps")
	go func() {
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			if info, err := os.Stat(w.path("tally")); err == nil && info.Size() > 0 {
				break
			}
		}
		time.Sleep(9 * time.Second)
		for _, c := range w.tallies() {
			if c.pid != 0 {
				_ = syscall.Kill(int(c.pid), syscall.SIGKILL)
			}
		}
	}()
	r := w.budget(b, "20%", program, "steps", "0", "100000", "4000", "steps.txt")
	if r.status != 128+int(syscall.SIGKILL) {
		t.Fatalf("exit status %d\n%s", r.status, r.stderr)
	}
	s := w.sampled("t.wscope")
	if s.Sampling == nil || s.Sampling.Windows == 0 {
		t.Errorf("sampling %+v\n%s", s.Sampling, r.stderr)
	}
}

func TestBudgetOnTheCommandLine(t *testing.T) {
	w := newTool(t)
	for _, test := range []struct {
		args  []string
		words []string
	}{
		{[]string{"--budget", "0"}, []string{"--budget", "from 0.05%"}},
		{[]string{"--budget", "0%"}, []string{"--budget"}},
		{[]string{"--budget", "-1%"}, []string{"--budget"}},
		{[]string{"--budget", "150%"}, []string{"--budget", "to 50%"}},
		{[]string{"--budget", "lots"}, []string{"lots", "percentage like 1%"}},
		{[]string{"--budget", ""}, []string{"percentage"}},
		{[]string{"--budget", "NaN"}, []string{"percentage"}},
		{[]string{"--budget", "inf%"}, []string{"percentage"}},
		{[]string{"--budget", "1%", "--mode", "ledger"}, []string{"--budget", "--mode ledger"}},
		{[]string{"--budget", "1%", "--capture", "cuda-profiler-api"}, []string{"--budget", "--capture"}},
		{[]string{"--budget", "1%", "--start-after", "5s"}, []string{"--budget", "--start-after"}},
		{[]string{"--budget", "1%", "--duration", "5s"}, []string{"--budget", "--duration"}},
	} {
		r := w.warpscope(append(append([]string{"run", "-o", "t.wscope"}, test.args...), "--", "true")...)
		sentence(t, r, 2, test.words...)
		if w.exists("t.wscope") {
			t.Errorf("%v left a trace", test.args)
		}
	}
	r := w.warpscope("run", "-o", "t.wscope", "--budget", "0.5", "--", "true")
	if r.status != 0 {
		t.Errorf("a program without CUDA: exit status %d\n%s", r.status, r.stderr)
	}
}
