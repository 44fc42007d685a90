package bench

import (
	"os"
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/agent/event"
)

func TestBusyIsSomebodyElseAtWork(t *testing.T) {
	other := []result.Process{{PID: 1}}
	for _, c := range []struct {
		found start
		want  bool
	}{
		{start{utilization: 80, others: other}, true},
		{start{utilization: 0, others: other}, false}, // it holds memory only
		{start{utilization: 80}, false},               // it has gone
		{start{utilization: -1, others: other}, false},
		{start{utilization: 80, used: 600 << 20}, true}, // in another container
		{start{utilization: 80, used: 4 << 20}, false},
	} {
		if got := c.found.busy(); got != c.want {
			t.Errorf("%+v is busy: %v", c.found, got)
		}
	}
	pid := int32(os.Getpid())
	u := event.Usages{GPU: []event.GPUID{1, 1, 2}, PID: []int32{pid, pid + 1, pid + 2}, Bytes: []int64{5, -1, 7}}
	if got := processes(&u, 1); len(got) != 1 || got[0] != (result.Process{PID: pid + 1}) {
		t.Errorf("%+v", got)
	}
}

func TestConditionsAreOfTheirSpan(t *testing.T) {
	m := &meter{times: []event.Time{10, 20, 30, 40}, samples: []result.Sample{{Clock: 1}, {Clock: 2}, {Clock: 3, Reasons: 4}, {Clock: 4}}}
	for _, c := range []struct {
		from, to event.Time
		samples  int
		clock    int32
		flags    string
	}{
		{15, 35, 2, 3, "power cap"},
		{21, 22, 1, 3, "power cap"}, // none in between: the next one
		{1, 12, 1, 1, ""},
		{50, 60, 0, 0, ""},
	} {
		got := m.between(c.from, c.to)
		if got.Samples != c.samples || got.Clock != c.clock || strings.Join(got.Throttled, ", ") != c.flags {
			t.Errorf("from %d to %d: %+v", c.from, c.to, got)
		}
	}
	if got := (*meter)(nil).between(0, 100); got.Samples != 0 {
		t.Errorf("without NVML: %+v", got)
	}
}
