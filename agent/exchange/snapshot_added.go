package exchange

import (
	"slices"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/exchange/pickle"
)

const (
	maxAddedLines  = 256
	maxAddedRanges = 1 << 20
	maxAddedLive   = 1 << 12
)

// added reads what warpscope's Python module has put beside PyTorch's own.
func (l *layout) added(root pickle.Value) {
	v, ok := l.h.Get(root, "warpscope")
	if !ok {
		return
	}
	v = l.h.Resolve(v)
	if v.Kind() != pickle.Dict {
		l.note("what is under \"warpscope\" is not understood, and was left out")
		return
	}
	if n, _ := l.number(v, "layout"); n != 1 {
		l.note("\"warpscope\" has layout %d, and was left out: it takes another version of warpscope", n)
		return
	}
	if _, asked := l.h.Get(v, "step"); asked { // nothing had failed
		l.out.Roles = l.roles(v)
		return
	}
	device, _ := l.number(v, "device")
	pid, _ := l.number(v, "pid")
	at, _ := l.number(v, "monotonic_ns")
	f := &event.SnapshotFailure{Device: int32(device & 0xffff), PID: int32(pid & 0x7fffffff), Time: int64(at & (1<<63 - 1))}
	f.Requested, _ = l.number(v, "requested_bytes")
	f.Limit, _ = l.number(v, "limit_bytes")
	f.Total, _ = l.number(v, "device_total_bytes")
	f.Free, _ = l.number(v, "device_free_bytes")
	f.Elsewhere = l.flag(v, "stack_of_main_thread")
	f.Complete = l.flag(v, "roles_complete")
	if version, ok := l.h.Get(v, "torch"); ok {
		f.Framework, _ = l.h.Text(version)
	}
	f.Stack, f.Limited = l.lines(v, "stack"), l.lines(v, "limit_stack")
	f.Roles = l.roles(v)
	f.Progress = l.progress(v)
	l.out.Added = f
}

func (l *layout) flag(v pickle.Value, key string) bool {
	n, _ := l.number(v, key)
	return n != 0
}

// lines reads a stack of the module's, which has the text of its lines.
func (l *layout) lines(v pickle.Value, key string) []event.CodeLine {
	list, _ := l.h.Get(v, key)
	var out []event.CodeLine
	for _, item := range l.h.Items(l.h.Resolve(list)) {
		item = l.h.Resolve(item)
		if item.Kind() != pickle.Dict || len(out) == maxAddedLines {
			l.note("a line of the failing stack is not understood")
			break
		}
		text := func(name string) string {
			field, _ := l.h.Get(item, name)
			t, _ := l.h.Text(field)
			return t
		}
		n, _ := l.number(item, "line")
		out = append(out, event.CodeLine{
			SourceLine: event.SourceLine{Function: text("function"), File: text("file"), Line: int32(min(n, 1<<31-1))}, Text: text("text"),
		})
	}
	return out
}

// progress reads how far training was; nil: an older module did not say.
func (l *layout) progress(v pickle.Value) *event.Progress {
	steps, ok := l.number(v, "steps")
	if !ok {
		return nil
	}
	p := &event.Progress{Steps: steps, Applied: l.flag(v, "gradients_applied")}
	p.Every, _ = l.number(v, "live_every")
	p.Zeroed, _ = l.number(v, "zero_grad_calls")
	p.Kept, _ = l.number(v, "zero_grad_keeps")
	p.StackSteps, _ = l.number(v, "stack_steps")
	list, _ := l.h.Get(v, "live_bytes")
	for _, item := range l.h.Items(l.h.Resolve(list)) {
		n, ok := l.h.Uint(item)
		if !ok || len(p.Live) == maxAddedLive {
			l.note("the figures of live memory by step are not understood to their end")
			break
		}
		p.Live = append(p.Live, n)
	}
	return p
}

// roles reads the lists of addresses and sizes by role.
func (l *layout) roles(v pickle.Value) []event.RoleRange {
	field, ok := l.h.Get(v, "roles")
	if !ok {
		return nil
	}
	var out []event.RoleRange
	pairs := l.h.Items(l.h.Resolve(field))
	for i := 0; i+1 < len(pairs); i += 2 {
		role, _ := l.h.Text(pairs[i])
		if !slices.Contains([]string{"parameters", "gradients", "optimizer state"}, role) {
			l.note("the role %.40q of tensors is not known", role)
			continue
		}
		list := l.h.Items(l.h.Resolve(pairs[i+1]))
		for k := 0; k+1 < len(list); k += 2 {
			address, ok1 := l.h.Uint(list[k])
			size, ok2 := l.h.Uint(list[k+1])
			if !ok1 || !ok2 || len(out) == maxAddedRanges {
				l.note("a list of tensors with a role is not understood to its end")
				break
			}
			out = append(out, event.RoleRange{Address: address, Size: size, Role: role})
		}
	}
	return out
}
