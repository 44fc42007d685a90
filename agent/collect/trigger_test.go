package collect

import (
	"strings"
	"testing"

	"github.com/warpscope/warpscope/cupti/abi"
)

func TestParseTrigger(t *testing.T) {
	long := strings.Repeat("x", abi.RangeName-1)
	for _, text := range []string{"always", "cuda-profiler-api", "nvtx:decode", "nvtx:a b@c", "nvtx:@", "nvtx:" + long, "steps:1-1", "steps:3-500", "call"} {
		trigger, err := ParseTrigger(text)
		if err != nil || trigger.String() != text {
			t.Errorf("%s: %v, %v", text, trigger, err)
		}
	}
	if trigger, err := ParseTrigger("steps:7"); err != nil || trigger != (Trigger{Kind: TriggerSteps, First: 7, Last: 7}) {
		t.Errorf("steps:7: %+v, %v", trigger, err)
	}
	for _, text := range []string{
		"", "never", "nvtx", "nvtx:", "nvtx:" + long + "x", "nvtx:a\x00b", "steps", "steps:", "steps:-", "steps:0", "steps:0-3", "steps:5-2",
		"steps:1-2-3", "steps:a-b", "steps: 1-2", "steps:+1-2", "steps:1-99999999999999999999", "call:", "Call", "cuda-profiler-api:1",
	} {
		if trigger, err := ParseTrigger(text); err == nil {
			t.Errorf("%q is taken for %v", text, trigger)
		}
	}
}

func TestTriggerTravels(t *testing.T) {
	var w abi.Welcome
	Trigger{Kind: TriggerRange, Range: "wanted@mine"}.welcome(&w)
	if w.Trigger != abi.TriggerRange || w.Range[0] != 'w' || w.Range[10] != 'e' || w.Range[11] != 0 {
		t.Errorf("%+v", w)
	}
	Trigger{Kind: TriggerRange, Range: strings.Repeat("x", 1000)}.welcome(&w)
	if w.Range[len(w.Range)-1] != 0 {
		t.Error("the range's name has no end")
	}
	Trigger{Kind: TriggerSteps, First: 3, Last: 5}.welcome(&w)
	if w.Trigger != abi.TriggerSteps || w.First_step != 3 || w.Last_step != 5 {
		t.Errorf("%+v", w)
	}
}
