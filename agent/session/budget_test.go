package session

import (
	"math"
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/budget"
	"github.com/warpscope/warpscope/agent/collect"
	"github.com/warpscope/warpscope/agent/event"
)

func TestBudgetNotes(t *testing.T) {
	good := budget.Measured{
		PID: 7, Call: "cuCtxSynchronize", Active: 74e9, On: 14e8, Windows: 9, Loss: 4e8, LossBound: 5e8, Slowdown: 0.0052, Bound: 0.0071, Idle: 0.0001,
	}
	over, few, none := good, good, good
	over.Bound = 0.02
	few.Windows, few.Bound = 2, 0.009
	none.Windows = 0
	lasting := good
	lasting.ResidueKnown, lasting.Residue, lasting.ResidueLow, lasting.ResidueHigh = true, 0.03, 0.02, 0.04
	for _, test := range []struct {
		name    string
		result  budget.Result
		want    []string
		without []string
	}{
		{"kept", budget.Result{Share: 0.01, Processes: []budget.Measured{good}}, []string{"budget 1 % kept", "0.52 %", "at most 0.71 %", "9 windows of 1.4 s", "of 74 s", "cuCtxSynchronize"}, []string{"certain"}},
		{"not kept", budget.Result{Share: 0.01, Processes: []budget.Measured{over}}, []string{"NOT kept", "at most 2 %"}, nil},
		{"few windows", budget.Result{Share: 0.01, Processes: []budget.Measured{few}}, []string{"too short, nothing certain", "2 windows"}, []string{" kept"}},
		{"no window", budget.Result{Share: 0.01, Processes: []budget.Measured{none}}, []string{"too short", "nothing certain", "no kernels"}, nil},
		{"nothing regular", budget.Result{Share: 0.005, Processes: []budget.Measured{{PID: 7}}}, []string{"budget 0.50 %", "no regular calls", "only allocations"}, []string{"too short"}},
		{"lasting", budget.Result{Share: 0.01, Processes: []budget.Measured{lasting}, Stopped: "it went on more slowly"},
			[]string{"3 % (2 % to 4 %)", "it went on more slowly, so the timeline was left off", "ledger"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := strings.Join(budgetNotes(&test.result, func(pid int32) string { return "process 7 (train)" }), "\n")
			for _, part := range test.want {
				if !strings.Contains(text, part) {
					t.Errorf("%q lacks %q", text, part)
				}
			}
			for _, part := range test.without {
				if strings.Contains(text, part) {
					t.Errorf("%q has %q", text, part)
				}
			}
			if strings.ContainsAny(text, "\t") || strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
				t.Errorf("%q", text)
			}
		})
	}
}

// TestWindowsWaitForTheirProcess: rows of a process that is not in the trace yet are kept.
func TestWindowsWaitForTheirProcess(t *testing.T) {
	kept := &keptBatches{}
	server, err := collect.Listen(collect.Config{Sink: kept})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	p, err := newPacer(0.01)
	if err != nil {
		t.Fatal(err)
	}
	p.server = server
	p.held = []budget.Window{{PID: 7, Begin: 5, Length: 3, Planned: 3, SpanBegin: 1, Span: 30, Work: 3, SpanWork: 29, Loss: -1, Measured: true}, {PID: 8}}
	p.write(nil)
	if len(p.held) != 2 || len(kept.windows) != 0 {
		t.Fatalf("%d held, %d written", len(p.held), len(kept.windows))
	}
	p.write([]collect.Status{{PID: 7, ID: 4}})
	if len(p.held) != 1 || len(kept.windows) != 1 || kept.process != 4 {
		t.Fatalf("%d held, %d written for %d", len(p.held), len(kept.windows), kept.process)
	}
	w := kept.windows[0]
	if w.Begin[0] != 5 || w.Length[0] != 3 || w.Planned[0] != 3 || w.Start[0] != 1 || w.Span[0] != 30 || w.Work[0] != 3 || w.SpanWork[0] != 29 || w.Loss[0] != -1 || !w.Measured[0] {
		t.Errorf("%+v", w)
	}
}

type keptBatches struct {
	process event.ProcessID
	windows []event.Windows
}

func (k *keptBatches) Define(*event.Definitions) error { return nil }
func (k *keptBatches) Live(*event.LiveSet) error       { return nil }
func (k *keptBatches) Batch(b *event.Batch) error {
	if len(b.Windows.Start) > 0 {
		k.process, k.windows = b.Process, append(k.windows, b.Windows)
	}
	return nil
}

func TestImpossibleBudgetIsRefused(t *testing.T) {
	for _, share := range []float64{-1, 1, math.NaN()} {
		if _, err := newPacer(share); err == nil {
			t.Errorf("a budget of %g was taken", share)
		}
	}
}
