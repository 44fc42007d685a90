package session

import (
	"errors"
	"strings"
	"testing"
)

func TestNamesExpand(t *testing.T) {
	names := Names{Rank: "3", Host: "node7", PID: 42}
	for _, c := range []struct{ pattern, want, err string }{
		{pattern: DefaultOutput, want: "warpscope-42.wscope"},
		{pattern: "out/%h-rank%r.wscope", want: "out/node7-rank3.wscope"},
		{pattern: "100%%-%p%p", want: "100%-4242"},
		{pattern: "plain", want: "plain"},
		{pattern: "a%", err: "ends in a single %"},
		{pattern: "a%x", err: "%x is none of"},
	} {
		got, err := names.Expand(c.pattern)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q: error %v, want one with %q", c.pattern, err, c.err)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%q became %q, %v, want %q", c.pattern, got, err, c.want)
		}
	}
	if _, err := (Names{}).Expand("%p"); !errors.Is(err, errNeedsPID) {
		t.Errorf("%%p without a PID: %v", err)
	}
}

func TestRank(t *testing.T) {
	for _, c := range []struct {
		environ []string
		want    int
	}{
		{nil, -1},
		{[]string{"RANK=2", "SLURM_PROCID=5"}, 2},
		{[]string{"SLURM_PROCID=5"}, 5},
		{[]string{"OMPI_COMM_WORLD_RANK=6"}, 6},
		{[]string{"PMI_RANK=7"}, 7},
		{[]string{"RANK=../../etc", "PMI_RANK=7"}, 7},
		{[]string{"RANK=-1"}, -1},
		{[]string{"RANK=1", "RANK=4"}, 4},
	} {
		if got := Rank(c.environ); got != c.want {
			t.Errorf("%v: rank %d, want %d", c.environ, got, c.want)
		}
	}
}
