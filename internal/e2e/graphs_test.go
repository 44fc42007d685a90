package e2e

import (
	"testing"
)

// TestGraphsSwitched makes and launches graphs while the timeline is switched off and on: the simulated CUPTI
// ends the program, as the real one does, if graphs that were made while it recorded none are recorded
// later. In the trace are those that were launched while it was on, also if they were queued when it was switched
// off, whole where they are recorded from the beginning, node by node otherwise.
func TestGraphsSwitched(t *testing.T) {
	b := newBuild(t)
	program := b.compile("graphs", "-I../../cupti/include")
	for _, test := range []struct {
		name, scenario, on string
		flags              []string
		whole              bool
	}{
		{"on from the beginning", "switched", "1", nil, true},
		{"node by node", "switched", "1", []string{"--graphs", "node"}, false},
		{"by calls", "switched", "0", []string{"--capture", "call"}, false},
		{"whole graphs by calls", "switched", "0", []string{"--capture", "call", "--graphs", "graph"}, false},
		{"queued", "queued", "", nil, true},
		{"queued, without calls", "queued", "", []string{"--api", "none"}, true},
		{"queued, node by node", "queued", "", []string{"--graphs", "node"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newTool(t)
			r := w.command(w.environ(&build{}), w.bin, w.under(b, test.flags, nil, program, test.scenario, "0", test.on)...)
			w.clean(b, r)
			f := w.figures("t.wscope")
			if r.status != 0 {
				t.Fatalf("exit status %d\n%s", r.status, r.stderr)
			}
			c := w.tallies()[0]
			graphs, kernels := c.extra, uint64(0)
			if !test.whole {
				graphs, kernels = 0, 3*c.extra
			}
			if got := f.recorded("graph launches"); got != graphs {
				t.Errorf("%d graphs in the trace, %d were to be", got, graphs)
			}
			if got := f.recorded("kernels"); got != kernels {
				t.Errorf("%d kernels in the trace, %d were to be", got, kernels)
			}
			if f.Losses.Lost != 0 || f.endUnknown() {
				t.Errorf("losses %+v", f.Losses)
			}
		})
	}
}
