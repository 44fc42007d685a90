package doctor_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/doctor"
	"github.com/warpscope/warpscope/agent/event"
)

const gib = 1 << 30

// code writes a stack as the module does, innermost first: "file:function file:function".
func code(text string) (out []event.CodeLine) {
	for i, part := range strings.Fields(text) {
		file, function, _ := strings.Cut(part, ":")
		out = append(out, event.CodeLine{SourceLine: event.SourceLine{Function: function, File: file, Line: int32(10 + i)}})
	}
	return out
}

const (
	torchModule = "/site-packages/torch/nn/modules/linear.py:__init__"
	torchAdam   = "/site-packages/torch/optim/adam.py:_init_group"
	torchCall   = "/site-packages/torch/nn/modules/module.py:_call_impl"
)

// result finds a rule's outcome in a diagnosis.
func result(d *doctor.Diagnosis, id string) string {
	for i, f := range d.Findings {
		if f.ID == id {
			return string(rune('1'+i)) + " " + string(f.Severity)
		}
	}
	if slices.ContainsFunc(d.RuledOut, func(c doctor.Clear) bool { return c.ID == id }) {
		return "ruled out"
	}
	return "not known"
}

// TestMemoryTraining: what a snapshot says of loading, gradients and steps.
func TestMemoryTraining(t *testing.T) {
	const total = 80 * gib
	steps := func(n uint64, applied bool, zeroed, kept uint64) *event.Progress {
		return &event.Progress{Steps: n, Every: 1, Applied: applied, Zeroed: zeroed, Kept: kept}
	}
	growing := func(by uint64) *event.Progress {
		p := &event.Progress{Steps: 40, Every: 1, Zeroed: 40, StackSteps: 4}
		for i := range uint64(40) {
			p.Live = append(p.Live, 10*gib+i*by)
		}
		return p
	}
	forward := torchCall + user
	for _, c := range []struct {
		name  string
		wants map[string]string // rule → place and severity
		says  string
		run   func(p *tensors) event.SnapshotFailure
	}{
		{"a model that does not fit", map[string]string{"memory.model-load": "1 error", "memory.accumulation": "ruled out"}, "does not fit", func(p *tensors) event.SnapshotFailure {
			for range 70 {
				p.alloc(gib, torchModule+user)
			}
			return event.SnapshotFailure{Requested: gib, Limit: total, Total: total, Stack: code(torchModule + user), Progress: steps(0, false, 0, 0)}
		}},
		{"a checkpoint beside the model", map[string]string{"memory.model-load": "1 error", "memory.parameters": "2 error"}, "twice while it is loaded", func(p *tensors) event.SnapshotFailure {
			for range 40 {
				p.alloc(gib, torchModule+user)
			}
			for range 30 {
				p.alloc(gib, "load.py:load_checkpoint"+user)
			}
			return event.SnapshotFailure{Requested: gib, Limit: total, Total: total, Stack: code("load.py:load_checkpoint" + user), Progress: steps(0, false, 0, 0)}
		}},
		{"loading inside from_pretrained is the model", map[string]string{"memory.model-load": "1 error"}, "does not fit", func(p *tensors) event.SnapshotFailure {
			stack := "/site-packages/safetensors/torch.py:load_file /site-packages/transformers/modeling_utils.py:from_pretrained" + user
			for range 70 {
				p.alloc(gib, stack)
			}
			return event.SnapshotFailure{Requested: gib, Limit: total, Total: total, Stack: code(stack)}
		}},
		{"a trained model is not loading", map[string]string{"memory.model-load": "ruled out"}, "", func(p *tensors) event.SnapshotFailure {
			for range 70 {
				p.alloc(gib, torchModule+user)
			}
			return event.SnapshotFailure{Requested: gib, Limit: total, Total: total, Stack: code(forward), Progress: steps(5, false, 5, 0)}
		}},
		{"gradients that were used", map[string]string{"memory.accumulation": "1 error", "memory.gradients": "ruled out"}, "zero_grad is never called", func(p *tensors) event.SnapshotFailure {
			r := append(roles("parameters", p.alloc(12*gib, torchModule+user)), roles("gradients", p.alloc(12*gib, ""))...)
			r = append(r, roles("optimizer state", p.alloc(12*gib, torchAdam+user), p.alloc(12*gib, torchAdam+user))...)
			p.alloc(25*gib, forward)
			return event.SnapshotFailure{Requested: gib, Limit: total, Total: total, Stack: code(forward), Roles: r, Complete: true, Progress: steps(1, true, 0, 0)}
		}},
		{"gradients set to zero keep their memory", map[string]string{"memory.accumulation": "1 error"}, "set_to_none=False", func(p *tensors) event.SnapshotFailure {
			r := roles("gradients", p.alloc(12*gib, ""))
			p.alloc(50*gib, forward)
			return event.SnapshotFailure{Requested: gib, Limit: total, Total: total, Stack: code(forward), Roles: r, Complete: true, Progress: steps(3, true, 3, 3)}
		}},
		{"gradients that are accumulated on purpose", map[string]string{"memory.accumulation": "ruled out", "memory.gradients": "2 warning"}, "", func(p *tensors) event.SnapshotFailure {
			r := roles("gradients", p.alloc(12*gib, ""))
			p.alloc(50*gib, forward)
			return event.SnapshotFailure{Requested: gib, Limit: total, Total: total, Stack: code(forward), Roles: r, Complete: true, Progress: steps(3, false, 3, 0)}
		}},
		{"the optimizer's first step, though parameters take more", map[string]string{"memory.optimizer-state": "1 error", "memory.parameters": "2 error"}, "first step", func(p *tensors) event.SnapshotFailure {
			r := append(roles("parameters", p.alloc(30*gib, torchModule+user)), roles("optimizer state", p.alloc(15*gib, torchAdam+user))...)
			return event.SnapshotFailure{Requested: gib, Limit: total, Total: total, Stack: code(torchAdam + user), Roles: r, Complete: true, Progress: steps(0, false, 0, 0)}
		}},
		{"a leak told from what is live after steps, that ends in a step", map[string]string{"memory.leak": "1 error", "memory.optimizer-state": "not known"}, "data.py:10 in keep", func(p *tensors) event.SnapshotFailure {
			for range 4 {
				p.alloc(gib, "data.py:keep"+user)
			}
			for range 50 {
				p.alloc(gib, "")
			}
			return event.SnapshotFailure{Requested: gib, Limit: total, Total: total, Stack: code(torchAdam + user), Progress: growing(gib)}
		}},
		{"no leak where nothing grows", map[string]string{"memory.leak": "ruled out"}, "", func(p *tensors) event.SnapshotFailure {
			p.alloc(60*gib, forward)
			return event.SnapshotFailure{Requested: gib, Limit: total, Total: total, Stack: code(forward), Progress: growing(0)}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := program()
			d := doctor.DiagnoseMemory("", []*analyze.Tensors{p.observed(c.run(p))}, nil)
			for id, want := range c.wants {
				if got := result(d, id); got != want {
					t.Errorf("%s: %s, want %s; findings %+v", id, got, want, d.Findings)
				}
			}
			if !strings.Contains(d.Verdict, c.says) {
				t.Errorf("verdict %q does not say %q", d.Verdict, c.says)
			}
			for _, f := range d.Findings {
				for _, fix := range f.Fix {
					if fix.Change == "" || fix.Gain == "" || fix.Direction == "" {
						t.Errorf("%s: fix %+v", f.ID, fix)
					}
				}
			}
		})
	}
}

// used returns an account of one GPU of 80 GiB with one process.
func used(lines ...analyze.MemoryLine) *analyze.MemoryAccount {
	n, own := int64(79*gib), int64(20*gib)
	residual := int64(0)
	p := analyze.ProcessAccount{Key: analyze.Key{PID: 100}, Inner: 100, NVML: &own, Lines: lines}
	return &analyze.MemoryAccount{GPUs: []analyze.GPUAccount{{
		GPU: "GPU 0", Total: 80 * gib, Used: &n, Traced: []analyze.ProcessAccount{p}, Others: []analyze.OtherAccount{}, Residual: &residual, Before: &residual, Calibrated: "driver 1",
	}}}
}

// failed is the memory of a trace in which a call of the driver failed.
func failed() *analyze.MemorySummary {
	return &analyze.MemorySummary{Processes: []analyze.ProcessMemory{{
		Key: analyze.Key{PID: 100}, Failures: []analyze.FailedCall{{API: "cuMemAlloc_v2", Result: 2, Bytes: 4 * gib, GPU: "GPU 0", LastNS: 5}},
	}}}
}

func TestRunsAreJudgedByTheirAccount(t *testing.T) {
	others := used()
	others.GPUs[0].Others = []analyze.OtherAccount{{PID: 7, Bytes: 59 * gib, Command: "hog", Container: "docker 0123"}}
	contexts := used(analyze.MemoryLine{ID: analyze.LineContext, Bytes: 4 * 600 << 20, Count: 4})
	libraries := used(
		analyze.MemoryLine{ID: analyze.LineDriver, Name: "NCCL's buffers", Library: "libnccl.so.2", Bytes: 6 * gib, Count: 30},
		analyze.MemoryLine{ID: analyze.LineDriver, Name: "allocations of app", Library: "app", Bytes: 9 * gib, Count: 3})
	host := func(kills int64, limit, peak int64) *analyze.MemoryAccount {
		a := used()
		a.Host = &analyze.HostAccount{Kills: kills, KillsIn: "/job", Limit: limit, PeakUsed: peak, Total: 512 * gib, Available: 400 * gib, PeakBytes: peak}
		return a
	}
	for _, c := range []struct {
		name, id, want, says string
		run                  doctor.Run
	}{
		{"another program", "memory.other-process", "1 error", "cuMemAlloc_v2 could not get 4.00 GiB on GPU 0", doctor.Run{Trace: failed(), Account: others}},
		{"nobody else", "memory.other-process", "ruled out", "", doctor.Run{Trace: failed(), Account: used()}},
		{"contexts", "memory.contexts", "1 note", "", doctor.Run{Trace: failed(), Account: contexts}},
		{"libraries", "memory.libraries", "1 note", "", doctor.Run{Trace: failed(), Account: libraries}},
		{"no libraries", "memory.libraries", "ruled out", "", doctor.Run{Trace: failed(), Account: used()}},
		{"killed for the host's memory", "memory.host", "1 error", "The program was killed", doctor.Run{Account: host(1, 8*gib, 8*gib), Killed: true}},
		{"a worker was killed", "memory.host", "1 warning", "", doctor.Run{Account: host(1, 8*gib, 8*gib)}},
		{"killed by somebody", "memory.host", "ruled out", "", doctor.Run{Account: host(0, 8*gib, 2*gib), Killed: true}},
		{"killed, and nobody counts", "memory.host", "not known", "", doctor.Run{Account: host(-1, 8*gib, 2*gib), Killed: true}},
		{"nearly full", "memory.host", "1 note", "", doctor.Run{Trace: failed(), Account: host(0, 8*gib, 8*gib-gib/2)}},
		{"room on the host", "memory.host", "ruled out", "", doctor.Run{Trace: failed(), Account: host(0, 8*gib, 2*gib)}},
		{"without a trace", "memory.host", "not known", "", doctor.Run{Killed: true}},
	} {
		d := doctor.DiagnoseRun(&c.run)
		if got := result(d, c.id); got != c.want {
			t.Errorf("%s: %s is %s, want %s: %+v", c.name, c.id, got, c.want, d.Findings)
		}
		if !strings.Contains(d.Verdict, c.says) {
			t.Errorf("%s: verdict %q", c.name, d.Verdict)
		}
	}
	for _, c := range []struct {
		name string
		run  doctor.Run
		want bool
	}{
		{"failed", doctor.Run{Trace: failed()}, true}, {"failed, and went on to a good end", doctor.Run{Trace: failed(), Ended: true}, false},
		{"failed long before the end", doctor.Run{Trace: failed(), EndNS: 60e9}, false}, {"failed at the end", doctor.Run{Trace: failed(), EndNS: 6e9}, true},
		{"killed", doctor.Run{Killed: true}, true}, {"a worker was killed", doctor.Run{Account: host(1, 0, 0)}, true}, {"nothing", doctor.Run{Trace: &analyze.MemorySummary{}}, false},
	} {
		if got := c.run.RanOut(); got != c.want {
			t.Errorf("%s: ran out %v", c.name, got)
		}
	}
}

func TestSurvivedFailuresStandBesideTime(t *testing.T) {
	var d doctor.Diagnosis
	(&doctor.Run{Trace: failed(), Ended: true}).Survived(&d)
	if len(d.Findings) != 1 || d.Findings[0].ID != "memory.survived-oom" || d.Findings[0].Severity != doctor.NoteSev {
		t.Errorf("%+v", d.Findings)
	}
	d = doctor.Diagnosis{}
	(&doctor.Run{Trace: failed()}).Survived(&d)
	(&doctor.Run{Ended: true}).Survived(&d)
	if len(d.Findings) != 0 {
		t.Errorf("%+v", d.Findings)
	}
}

func TestTheFirstRankToRunOutIsNamed(t *testing.T) {
	rank := func(pid int32, at int64) *analyze.Tensors {
		p := program()
		p.alloc(70*gib, torchCall+user)
		return p.observed(event.SnapshotFailure{PID: pid, Time: at, Requested: gib, Limit: 80 * gib, Total: 80 * gib, Stack: code(torchCall + user)})
	}
	account := &analyze.MemoryAccount{}
	for i := range int32(2) {
		number := i
		account.GPUs = append(account.GPUs, analyze.GPUAccount{GPU: "GPU 0", Traced: []analyze.ProcessAccount{{
			Key: analyze.Key{PID: 100 + i, Rank: &number}, Inner: 100 + i, TorchBytes: 70 * gib,
		}}})
	}
	d := doctor.DiagnoseRun(&doctor.Run{Tensors: []*analyze.Tensors{rank(100, 9e9), rank(101, 7e9)}, Account: account})
	if !strings.HasPrefix(d.Verdict, "Rank 1 (process 101, GPU 0) ran out first; Rank 0 (process 100, GPU 0) 2.00 s later.") {
		t.Errorf("verdict %q", d.Verdict)
	}
	for _, f := range d.Findings {
		if f.ID == "memory.activations" && f.Cost.Bytes != 70*gib {
			t.Errorf("%+v", f.Cost)
		}
	}
	if n := len(slices.DeleteFunc(slices.Clone(d.Findings), func(f doctor.Finding) bool { return f.ID != "memory.activations" })); n != 1 {
		t.Errorf("%d findings of one cause", n)
	}
}
