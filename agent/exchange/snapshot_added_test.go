package exchange_test

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/exchange"
)

// TestSnapshotAdded: what warpscope's Python module adds is read from real snapshots.
func TestSnapshotAdded(t *testing.T) {
	for _, c := range []struct {
		name             string
		requested, limit uint64
		line             int32
		lines            int
	}{
		{"oom-plain", 200 << 30, 85017493504, 19, 1},
		{"oom-fraction", 256 << 20, 4250874675, 8, 2},
		{"oom-caught", 200 << 30, 85017493504, 11, 1},
	} {
		s := readSnapshot(t, c.name+".pickle")
		a := s.Added
		if a == nil || len(s.Notes) > 0 || len(s.Devices) != 1 {
			t.Fatalf("%s: added %+v, notes %q, %d devices", c.name, a, s.Notes, len(s.Devices))
		}
		if a.Requested != c.requested || a.Limit != c.limit || a.Framework != "2.11.0+cu130" || a.Time == 0 || a.PID == 0 || a.Free < 70<<30 {
			t.Errorf("%s: %+v", c.name, a)
		}
		if len(a.Stack) != c.lines || a.Stack[0].Line != c.line || a.Stack[0].File != "oom.py" || !strings.Contains(a.Stack[0].Text, "torch.empty(") {
			t.Errorf("%s: stack %+v", c.name, a.Stack)
		}
	}
}

// TestSnapshotAddedDamaged: what is not as the module writes it is named and left out, not made up.
func TestSnapshotAddedDamaged(t *testing.T) {
	const head = "(dS'segments'\n(lsS'device_traces'\n(lsS'warpscope'\n"
	for _, c := range []struct{ name, value, note string }{
		{"no dict", "I1\n", "is not understood"},
		{"another layout", "(dS'layout'\nI2\ns", "has layout 2"},
		{"an unknown role", "(dS'layout'\nI1\nsS'roles'\n(dS'magic'\n(lss", "magic"},
		{"a list that is none", "(dS'layout'\nI1\nsS'roles'\n(dS'parameters'\n(lI1\naS'x'\nass", "not understood to its end"},
		{"live memory that is no numbers", "(dS'layout'\nI1\nsS'steps'\nI9\nsS'live_bytes'\n(lI7\naS'x'\nas", "by step are not understood"},
		{"a stack of numbers", "(dS'layout'\nI1\nsS'stack'\n(lI1\nas", "a line of the failing stack"},
	} {
		s, err := exchange.ReadSnapshot(context.Background(), strings.NewReader(head+c.value+"s."))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !strings.Contains(strings.Join(s.Notes, "\n"), c.note) {
			t.Errorf("%s: notes %q, want %q", c.name, s.Notes, c.note)
		}
		if s.Added != nil && len(s.Added.Roles)+len(s.Added.Stack) > 0 {
			t.Errorf("%s: %+v", c.name, s.Added)
		}
	}
}

// TestSnapshotProgress: how far training was.
func TestSnapshotProgress(t *testing.T) {
	const text = "(dS'segments'\n(lsS'device_traces'\n(lsS'warpscope'\n(dS'layout'\nI1\nsS'steps'\nI9\nsS'live_every'\nI2\nsS'live_bytes'\n(lI7\naI8\nas" +
		"S'gradients_applied'\nI01\nsS'zero_grad_calls'\nI5\nsS'zero_grad_keeps'\nI4\nsS'stack_steps'\nI3\nss."
	s, err := exchange.ReadSnapshot(context.Background(), strings.NewReader(text))
	if err != nil || s.Added == nil || s.Added.Progress == nil {
		t.Fatalf("%+v, %v", s, err)
	}
	want := event.Progress{Steps: 9, Every: 2, Live: []uint64{7, 8}, Applied: true, Zeroed: 5, Kept: 4, StackSteps: 3}
	if p := s.Added.Progress; !reflect.DeepEqual(*p, want) {
		t.Errorf("%+v, want %+v", *p, want)
	}
}
