package doctor_test

import (
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/doctor"
	"github.com/warpscope/warpscope/agent/event"
)

const mib = uint64(1) << 20

// tensors is a made-up program on an allocator that gives each tensor a segment of its own, and uses it
// again for the same size.
type tensors struct {
	s      *event.Snapshot
	d      event.DeviceSnapshot
	stacks map[string]uint32
	free   map[uint64][]*tensor
	all    []*tensor
	next   uint64
	time   int64
	pool   uint32
}

type tensor struct {
	address, size, segment uint64
	stack, pool            uint32
	state                  event.BlockState
}

func program() *tensors {
	return &tensors{
		s: &event.Snapshot{
			Settings: event.AllocatorSettings{Known: true}, Texts: []string{""}, Stacks: [][]uint32{nil}, Streams: []uint64{0}, Pools: []event.PoolKey{{}, {First: 0, Second: 3}},
		},
		stacks: map[string]uint32{}, free: map[uint64][]*tensor{}, next: 1 << 40,
	}
}

// stack returns the number of a stack, written innermost first: "file:function file:function".
func (p *tensors) stack(text string) uint32 {
	if id, ok := p.stacks[text]; ok || text == "" {
		return id
	}
	var ids []uint32
	for i, part := range strings.Fields(text) {
		file, function, _ := strings.Cut(part, ":")
		p.s.Lines = append(p.s.Lines, event.SourceLine{Function: function, File: file, Line: int32(10 + i)})
		ids = append(ids, uint32(len(p.s.Lines)-1))
	}
	p.s.Stacks = append(p.s.Stacks, ids)
	p.stacks[text] = uint32(len(p.s.Stacks) - 1)
	return p.stacks[text]
}

func (p *tensors) add(a event.TensorAction, address, size uint64, stack uint32) {
	p.time += 1000
	p.d.Events = append(p.d.Events, event.TensorEvent{Action: a, Address: address, Size: size, Stack: stack, Pool: p.pool, Time: p.time})
}

func (p *tensors) alloc(size uint64, stack string) *tensor {
	id := p.stack(stack)
	if list := p.free[size]; len(list) > 0 && p.pool == 0 {
		t := list[len(list)-1]
		p.free[size] = list[:len(list)-1]
		t.stack, t.state = id, event.BlockLive
		p.add(event.TensorAlloc, t.address, size, id)
		return t
	}
	t := &tensor{address: p.next, size: size, segment: (size + 2*mib - 1) / (2 * mib) * 2 * mib, stack: id, state: event.BlockLive, pool: p.pool}
	p.next += t.segment + 2*mib
	p.all = append(p.all, t)
	p.add(event.TensorSegmentAlloc, t.address, t.segment, id)
	p.add(event.TensorAlloc, t.address, size, id)
	return t
}

func (p *tensors) release(t *tensor) {
	p.request(t)
	p.add(event.TensorFreeCompleted, t.address, t.size, t.stack)
	t.state = event.BlockFree
	p.free[t.size] = append(p.free[t.size], t)
}

func (p *tensors) request(t *tensor) {
	p.add(event.TensorFreeRequested, t.address, t.size, t.stack)
	t.state = event.BlockPending
}

// fail records an allocation that the device has no room for.
func (p *tensors) fail(size uint64, stack string) {
	p.add(event.TensorOOM, size/2, size, p.stack(stack))
}

func (p *tensors) judge(messages ...event.Failure) *doctor.Diagnosis {
	p.d.Segments = nil
	for _, t := range p.all {
		blocks := []event.TensorBlock{{Address: t.address, Size: t.size, State: t.state, Stack: t.stack}}
		if t.state != event.BlockFree {
			blocks[0].Requested = t.size
		}
		if rest := t.segment - t.size; rest > 0 {
			blocks = append(blocks, event.TensorBlock{Address: t.address + t.size, Size: rest})
		}
		p.d.Segments = append(p.d.Segments, event.TensorSegment{Address: t.address, Size: t.segment, Small: t.segment == 2*mib, Pool: t.pool, Blocks: blocks})
	}
	p.s.Devices = []event.DeviceSnapshot{p.d}
	return doctor.DiagnoseMemory("made up", analyze.TensorsOf(p.s), messages)
}

const (
	user  = " train.py:main"
	layer = "/opt/torch/nn/modules/linear.py:forward model.py:forward" + user
	loss  = "/opt/torch/nn/functional.py:cross_entropy loss.py:compute" + user
	adam  = "/opt/torch/optim/adamw.py:_init_group /opt/torch/optim/adamw.py:step" + user
	cache = "/opt/site-packages/transformers/cache_utils.py:update /opt/site-packages/transformers/llama.py:forward generate.py:main"
	zero  = "/opt/torch/optim/optimizer.py:zero_grad" + user
)

// train runs steps that allocate, free, and do what extra does.
func train(p *tensors, steps int, extra func(i int)) {
	p.alloc(64*mib, "/opt/torch/nn/modules/linear.py:__init__ model.py:__init__"+user)
	for i := range steps {
		input := p.alloc(3*mib, "data.py:load"+user)
		var kept []*tensor
		for range 6 {
			kept = append(kept, p.alloc(8*mib, layer))
		}
		if extra != nil {
			extra(i)
		}
		for _, t := range kept {
			p.release(t)
		}
		grad := p.alloc(5*mib, "")
		p.release(grad)
		p.release(input)
	}
}

var memoryScenarios = []struct {
	name, id string // the finding that comes first; "": none above a note
	severity doctor.Severity
	line     string // in its title or evidence
	run      func(p *tensors)
}{
	{"losses kept", "memory.leak", doctor.Warning, "history.py:10 in keep", func(p *tensors) {
		train(p, 40, func(int) { p.alloc(2*mib, "history.py:keep"+user) })
	}},
	{"losses kept to the end", "memory.leak", doctor.Error, "history.py:10 in keep", func(p *tensors) {
		train(p, 40, func(int) { p.alloc(12*mib, "history.py:keep"+user) })
		p.fail(8*mib, layer)
	}},
	{"activations", "memory.activations", doctor.Error, "model.py:11 in forward", func(p *tensors) {
		for range 40 {
			p.alloc(16*mib, layer)
		}
		p.fail(16*mib, layer)
	}},
	{"logits", "memory.logits", doctor.Error, "loss.py:11 in compute", func(p *tensors) {
		p.alloc(100*mib, layer)
		p.alloc(600*mib, loss)
		p.fail(600*mib, loss)
	}},
	{"first step of the optimizer", "memory.optimizer-state", doctor.Error, "train.py:12 in main", func(p *tensors) {
		p.alloc(400*mib, "/opt/torch/nn/modules/module.py:_apply"+user)
		for range 10 {
			p.alloc(40*mib, adam)
		}
		p.fail(40*mib, adam)
	}},
	{"keys and values", "memory.kv-cache", doctor.Error, "generate.py:12 in main", func(p *tensors) {
		p.alloc(100*mib, "/opt/torch/nn/modules/module.py:_apply"+user)
		for range 30 {
			p.alloc(20*mib, cache)
		}
		p.fail(20*mib, cache)
	}},
	{"waiting for another stream", "memory.pending-free", doctor.Error, "", func(p *tensors) {
		p.alloc(100*mib, "data.py:load"+user)
		for range 10 {
			p.request(p.alloc(40*mib, "data.py:load"+user))
		}
		p.fail(40*mib, "data.py:load"+user)
	}},
	{"private pools", "memory.graph-pools", doctor.Error, "", func(p *tensors) {
		p.alloc(200*mib, "data.py:load"+user)
		p.pool = 1
		for range 10 {
			p.release(p.alloc(60*mib, "graph.py:capture"+user))
		}
		p.pool = 0
		p.fail(300*mib, "data.py:load"+user)
	}},
	{"in pieces", "memory.fragmentation", doctor.Error, "data.py:10 in load", func(p *tensors) {
		for range 60 {
			p.alloc(21*mib, "data.py:load"+user).segment = 32 * mib
		}
		for i := range p.d.Events {
			if p.d.Events[i].Action == event.TensorSegmentAlloc {
				p.d.Events[i].Size = 32 * mib
			}
		}
		p.fail(64*mib, "data.py:load"+user)
	}},

	// Innocent ones.
	{"steady training", "", "", "", func(p *tensors) { train(p, 40, nil) }},
	{"warm-up", "", "", "", func(p *tensors) {
		train(p, 40, func(i int) {
			if i < 8 {
				p.alloc(8*mib, "warm.py:up"+user)
			}
		})
	}},
	{"a cache that fills and stays", "", "", "", func(p *tensors) {
		train(p, 60, func(i int) {
			if i < 30 {
				p.alloc(4*mib, "table.py:fill"+user)
			}
		})
	}},
	{"one forward pass of many layers", "", "", "", func(p *tensors) {
		for range 60 {
			p.release(p.alloc(3*mib, layer))
			p.alloc(8*mib, layer)
		}
	}},
	{"varying lengths", "", "", "", func(p *tensors) {
		train(p, 60, func(i int) { p.release(p.alloc(uint64(i*7%13+1)*2*mib, "pad.py:batch"+user)) })
	}},
	{"keys and values of a server, allocated at once", "", "", "", func(p *tensors) {
		p.alloc(2000*mib, "/opt/site-packages/vllm/cache_engine.py:_allocate server.py:main")
		train(p, 20, nil)
	}},
}

// TestMemoryScenarios: the cause is named first, with its line; the innocent have nothing above a note.
func TestMemoryScenarios(t *testing.T) {
	for _, c := range memoryScenarios {
		t.Run(c.name, func(t *testing.T) {
			p := program()
			c.run(p)
			d := p.judge()
			if c.id == "" {
				for _, f := range d.Findings {
					if f.Severity != doctor.NoteSev {
						t.Errorf("%s %s: %s", f.Severity, f.ID, f.Title)
					}
				}
				return
			}
			if len(d.Findings) == 0 {
				t.Fatalf("no finding; ruled out %+v; notes %+v", d.RuledOut, d.Notes)
			}
			f := d.Findings[0]
			if f.ID != c.id || f.Severity != c.severity {
				t.Errorf("first is %s (%s), want %s (%s): %s", f.ID, f.Severity, c.id, c.severity, f.Title)
			}
			text := f.Title
			for _, e := range f.Evidence {
				text += "\n" + e.What
			}
			if !strings.Contains(text, c.line) {
				t.Errorf("no %q in %s", c.line, text)
			}
			if f.Cost.Bytes == 0 || len(f.Fix) == 0 || len(f.Evidence) == 0 {
				t.Errorf("incomplete: %+v", f)
			}
			if c.id != "memory.leak" && find(d, "memory.leak") != nil {
				t.Errorf("a leak as well: %+v", find(d, "memory.leak"))
			}
			if !strings.Contains(d.Verdict, f.Title) {
				t.Errorf("the verdict leaves it out: %s", d.Verdict)
			}
		})
	}
}

// failure is a message of PyTorch with some figures.
func failure(change func(f *event.Failure)) event.Failure {
	f := event.Failure{
		Framework: "PyTorch", Style: "2.x", Device: 0, Asked: 2 << 30, Capacity: 80 << 30, Free: 1 << 30, Allowed: -1, Allocated: 70 << 30, Private: -1,
		Reserved: 71 << 30, Idle: 1 << 30, Needed: -1, Available: -1, Limit: -1, Fits: -1,
	}
	change(&f)
	return f
}

// TestMemoryMessages: what a message alone shows, and what it rules out.
func TestMemoryMessages(t *testing.T) {
	for _, c := range []struct {
		name, id, out string // the first finding; a rule that is ruled out
		f             event.Failure
	}{
		{"in pieces", "memory.fragmentation", "", failure(func(f *event.Failure) { f.Idle, f.Allocated = 20<<30, 51<<30 })},
		{"no pieces, whatever the hint", "", "memory.fragmentation", failure(func(f *event.Failure) { f.Hint = "expandable_segments:True" })},
		{"another program", "memory.other-process", "memory.fragmentation", failure(func(f *event.Failure) {
			f.Allocated, f.Reserved = 30<<30, 31<<30
			f.Processes = []event.FailureProcess{{PID: 7, Bytes: 47 << 30}, {Bytes: 32 << 30, Self: true}}
		})},
		{"itself by the host's number", "", "memory.other-process", failure(func(f *event.Failure) {
			f.Processes = []event.FailureProcess{{PID: 7, Bytes: 72 << 30}}
		})},
		{"libraries", "memory.contexts", "memory.other-process", failure(func(f *event.Failure) {
			f.Allocated, f.Reserved = 60<<30, 61<<30
			f.Processes = []event.FailureProcess{{Bytes: 72 << 30, Self: true}}
		})},
		{"private pools", "memory.graph-pools", "", failure(func(f *event.Failure) { f.Private = 6 << 30 })},
		{"a server's cache", "memory.kv-budget", "", failure(func(f *event.Failure) {
			*f = event.Failure{Framework: "vLLM", Device: -1, Asked: -1, Capacity: -1, Free: -1, Allowed: -1, Allocated: -1, Private: -1, Reserved: -1, Idle: -1,
				Needed: 24 << 30, Available: 3 << 30, Limit: 262144, Fits: -1}
		})},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := doctor.DiagnoseMemory("", nil, []event.Failure{c.f})
			if c.id != "" && (len(d.Findings) == 0 || d.Findings[0].ID != c.id) || c.id == "" && len(d.Findings) > 0 {
				t.Errorf("findings %+v, want %q first", d.Findings, c.id)
			}
			if c.id == "memory.kv-budget" && !strings.Contains(d.Findings[0].Fix[0].Paste, "--max-model-len 32768") {
				t.Errorf("fix: %+v", d.Findings[0].Fix[0])
			}
			found := c.out == ""
			for _, r := range d.RuledOut {
				found = found || r.ID == c.out
			}
			if !found {
				t.Errorf("%s is not ruled out: %+v", c.out, d.RuledOut)
			}
		})
	}
}

// TestMemoryUnknown: what there is no evidence for is said, and nothing made up.
func TestMemoryUnknown(t *testing.T) {
	p := program()
	p.alloc(100*mib, "")
	p.d.Events = nil
	d := p.judge()
	text := d.Verdict
	for _, n := range d.Notes {
		text += "\n" + n.Text
	}
	for _, want := range []string{"Nothing failed", "no history", "cannot be judged: the tensors have no stacks"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	if len(d.Findings) > 0 {
		t.Errorf("findings: %+v", d.Findings)
	}
	if d := doctor.DiagnoseMemory("", nil, nil); !strings.Contains(d.Verdict, "holds nothing") {
		t.Error(d.Verdict)
	}
	ids := map[string]bool{}
	for _, r := range doctor.MemoryRules() {
		if ids[r.ID] || !doctor.Known(r.ID) || !strings.HasPrefix(r.ID, "memory.") || r.What == "" {
			t.Errorf("rule %+v", r)
		}
		ids[r.ID] = true
	}
}
