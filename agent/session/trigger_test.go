package session

import (
	"slices"
	"testing"

	"github.com/warpscope/warpscope/agent/collect"
)

func TestUntriggered(t *testing.T) {
	profiler := collect.Trigger{Kind: collect.TriggerProfiler}
	nvtx := collect.Trigger{Kind: collect.TriggerRange, Range: "decode"}
	steps := collect.Trigger{Kind: collect.TriggerSteps, First: 5, Last: 9}
	for _, test := range []struct {
		name      string
		processes []collect.Status
		want      string
	}{
		{"no process", nil, ""},
		{"always", []collect.Status{{}}, ""},
		{"profiler", []collect.Status{{Trigger: profiler}}, "the program never called cudaProfilerStart (torch.cuda.profiler.start): no timeline was recorded"},
		{"in one of two", []collect.Status{{Trigger: nvtx}, {Trigger: nvtx, Openings: 1}}, ""},
		{"in none of two", []collect.Status{{Trigger: nvtx}, {Trigger: nvtx}}, "the range decode never began: no timeline was recorded"},
		{"no steps", []collect.Status{{Trigger: steps}}, "the program never called warpscope_step, which counts steps: no timeline was recorded"},
		{"too few steps", []collect.Status{{Trigger: steps, Steps: 1}, {Trigger: steps, Steps: 3}}, "step 5 never began, the program ended in step 4: no timeline was recorded"},
		{"no call", []collect.Status{{Trigger: collect.Trigger{Kind: collect.TriggerCall}}}, "the program never called warpscope_start: no timeline was recorded"},
	} {
		if got := Untriggered(test.processes); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestTriggerEnviron(t *testing.T) {
	for _, test := range []struct {
		environ []string
		trigger collect.Trigger
		want    []string
	}{
		{[]string{"A=1"}, collect.Trigger{}, []string{"A=1"}},
		{[]string{"A=1"}, collect.Trigger{Kind: collect.TriggerRange, Range: "x@y"}, []string{"A=1", "WARPSCOPE_CAPTURE=nvtx:x@y"}},
		// The command line decides, not what the environment has for another use.
		{[]string{"WARPSCOPE_CAPTURE=call", "A=1"}, collect.Trigger{}, []string{"A=1", "WARPSCOPE_CAPTURE=always"}},
	} {
		if got := triggerEnviron(test.environ, test.trigger); !slices.Equal(got, test.want) {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
