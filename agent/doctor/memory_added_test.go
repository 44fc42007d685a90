package doctor_test

import (
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/doctor"
	"github.com/warpscope/warpscope/agent/event"
)

// observed makes a program's snapshot one of warpscope's own module, without a history, at a failure.
func (p *tensors) observed(a event.SnapshotFailure) *analyze.Tensors {
	p.judge()
	if a.Stack == nil {
		a.Stack = []event.CodeLine{{SourceLine: event.SourceLine{Function: "main", File: "train.py", Line: 7}, Text: "make()"}}
	}
	p.s.Devices[0].Events, p.s.Added = nil, &a
	return analyze.TensorsOf(p.s)[0]
}

// roles says what tensors are for.
func roles(role string, list ...*tensor) (out []event.RoleRange) {
	for _, t := range list {
		out = append(out, event.RoleRange{Address: t.address, Size: t.size, Role: role})
	}
	return out
}

// TestMemoryObserved: what our own module adds decides, and stacks of live tensors count without a history.
func TestMemoryObserved(t *testing.T) {
	const total = 8 << 30
	for _, c := range []struct {
		name, id string
		severity doctor.Severity
		says     string // in the verdict
		run      func(p *tensors) event.SnapshotFailure
	}{
		{"larger than the GPU", "memory.request", doctor.Error, "train.py:7 in main", func(p *tensors) event.SnapshotFailure {
			p.alloc(100*mib, "data.py:load"+user)
			return event.SnapshotFailure{Requested: 9 << 30, Limit: total, Total: total, Free: 7 << 30}
		}},
		{"a limit whose place is known", "memory.limit", doctor.Error, "2.00 GiB, stopped it", func(p *tensors) event.SnapshotFailure {
			p.alloc(100*mib, "data.py:load"+user)
			limited := []event.CodeLine{{SourceLine: event.SourceLine{Function: "setup", File: "serve.py", Line: 3}}}
			return event.SnapshotFailure{Requested: 1 << 30, Limit: 2 << 30, Total: total, Free: 7 << 30, Limited: limited}
		}},
		{"one line", "memory.line", doctor.Error, "80 tensors made at data.py:10 in load hold 6.25 GiB", func(p *tensors) event.SnapshotFailure {
			for range 50 {
				p.alloc(80*mib, "data.py:load"+user)
			}
			for range 30 {
				p.alloc(80*mib, "data.py:load other.py:warm"+user)
			}
			return event.SnapshotFailure{Requested: 1 << 30, Limit: total, Total: total, Free: 512 << 20}
		}},
		{"one line, most of it made while stacks were off", "memory.line", doctor.Error, "2 tensors made at data.py:10 in load hold 160 MiB; others of the same size, recorded without a stack, hold 6.09 GiB", func(p *tensors) event.SnapshotFailure {
			for i := range 80 {
				stack := "data.py:load" + user
				if i > 1 {
					stack = ""
				}
				p.alloc(80*mib, stack)
			}
			return event.SnapshotFailure{Requested: 1 << 30, Limit: total, Total: total, Free: 512 << 20}
		}},
		{"the model, known by addresses", "memory.parameters", doctor.Error, "parameters take 4.00 GiB", func(p *tensors) event.SnapshotFailure {
			r := append(roles("parameters", p.alloc(4096*mib, "data.py:load"+user)), roles("gradients", p.alloc(1024*mib, ""))...)
			return event.SnapshotFailure{Requested: 4 << 30, Limit: total, Total: total, Free: 2 << 30, Roles: r, Complete: true}
		}},
		{"the optimizer, known by addresses", "memory.optimizer-state", doctor.Error, "optimizer holds 6.00 GiB", func(p *tensors) event.SnapshotFailure {
			r := roles("optimizer state", p.alloc(3072*mib, ""), p.alloc(3072*mib, ""))
			return event.SnapshotFailure{Requested: 4 << 30, Limit: total, Total: total, Free: 1 << 30, Roles: r, Complete: true}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := program()
			tensors := p.observed(c.run(p))
			d := doctor.DiagnoseMemory("", []*analyze.Tensors{tensors}, nil)
			if len(d.Findings) == 0 {
				t.Fatalf("no finding; %s; ruled out %+v; notes %+v", d.Verdict, d.RuledOut, d.Notes)
			}
			f := d.Findings[0]
			if f.ID != c.id || f.Severity != c.severity || (f.Confidence != doctor.High) != strings.Contains(f.Title, "without a stack") {
				t.Errorf("first is %s (%s, %s): %s", f.ID, f.Severity, f.Confidence, f.Title)
			}
			if !strings.Contains(d.Verdict, c.says) || !strings.Contains(d.Verdict, "train.py:7 in main") {
				t.Errorf("verdict %q", d.Verdict)
			}
			if c.id == "memory.limit" && !strings.Contains(f.Fix[0].Change, "serve.py:3 in setup") {
				t.Errorf("fix %+v", f.Fix[0])
			}
			// A program that ended well has nothing to repair.
			tensors.WentOn = true
			d = doctor.DiagnoseMemory("", []*analyze.Tensors{tensors}, nil)
			for _, f := range d.Findings {
				if f.Severity != doctor.NoteSev {
					t.Errorf("survived, and yet %s %s", f.Severity, f.ID)
				}
			}
			if find(d, "memory.survived-oom") == nil || !strings.Contains(d.Verdict, "went on after one failure") {
				t.Errorf("it does not say that the program went on: %s %+v", d.Verdict, d.Findings)
			}
		})
	}
}

// TestMemoryRolesOfStacks: a role known by the address counts more than what the stack suggests.
func TestMemoryRolesOfStacks(t *testing.T) {
	p := program()
	weight := p.alloc(64*mib, layer) // it looks like an activation
	p.alloc(64*mib, layer)
	h := p.observed(event.SnapshotFailure{Requested: 1 << 30, Limit: 1 << 30, Total: 1 << 30, Roles: roles("parameters", weight)}).Failed
	if r := h.Role(analyze.RoleParameters); r.Bytes != 64*mib || r.Known != r.Bytes {
		t.Errorf("parameters: %+v", r)
	}
	if r := h.Role(analyze.RoleForward); r.Bytes != 64*mib || r.Known != 0 {
		t.Errorf("activations: %+v", r)
	}
}

// TestMemoryBeside: NVML's readings in the trace say who holds the rest of the GPU.
func TestMemoryBeside(t *testing.T) {
	for _, c := range []struct {
		name, id, says string
		free           uint64
		others         []analyze.OtherProcess
	}{
		{"another program", "memory.other-process", "python serve.py", 512 << 20, []analyze.OtherProcess{{PID: 9001, Bytes: 6 << 30, Command: "python serve.py"}}},
		{"libraries", "memory.contexts", "free at the failure", 512 << 20, nil},
		{"neither", "", "", 6 << 30, nil},
		{"readings of another moment", "", "", 6 << 30, []analyze.OtherProcess{{PID: 9001, Bytes: 6 << 30}}},
	} {
		p := program()
		p.alloc(1024*mib, layer)
		tensors := p.observed(event.SnapshotFailure{Requested: 7 << 30, Limit: 8 << 30, Total: 8 << 30, Free: c.free})
		tensors.OthersKnown, tensors.Others = true, c.others
		d := doctor.DiagnoseMemory("", []*analyze.Tensors{tensors}, nil)
		for _, id := range []string{"memory.other-process", "memory.contexts"} {
			f := find(d, id)
			if (f != nil) != (id == c.id) {
				t.Errorf("%s: %s is %+v; ruled out %+v", c.name, id, f, d.RuledOut)
			}
			if f == nil {
				continue
			}
			text := ""
			for _, e := range f.Evidence {
				text += e.What + " " + e.Where + "\n"
			}
			if f.Severity != doctor.Error || !strings.Contains(text, c.says) {
				t.Errorf("%s: %s %s", c.name, f.Severity, text)
			}
		}
	}
}

// TestLossOfTheFailingLine: the call that fails is a conversion, and the line that makes it computes a loss.
func TestLossOfTheFailingLine(t *testing.T) {
	for text, want := range map[string]string{"loss = F.cross_entropy(scores.float(), y)": "memory.logits", "scores = scores.float()": "memory.activations"} {
		p := program()
		p.alloc(2048*mib, layer)
		at := []event.CodeLine{{SourceLine: event.SourceLine{Function: "main", File: "train.py", Line: 7}, Text: text}}
		tensors := p.observed(event.SnapshotFailure{Requested: 4 << 30, Limit: 8 << 30, Total: 8 << 30, Free: 1 << 30, Stack: at})
		d := doctor.DiagnoseMemory("", []*analyze.Tensors{tensors}, nil)
		if len(d.Findings) == 0 || d.Findings[0].ID != want {
			t.Errorf("%s: %s; %+v", text, d.Verdict, d.Findings)
		}
	}
}
