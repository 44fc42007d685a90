package cli_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/event/scene"
	"github.com/warpscope/warpscope/agent/trace"
)

// step plays a training step: launch-bound or not, by the length of its kernels.
func step(th *scene.Thread, ns int64) {
	th.Launch("embedding_kernel", ns)
	for range 20 {
		th.Launch("sm90_xmma_gemm_bf16", ns)
	}
	th.Launch("multi_tensor_apply_kernel<FusedAdam>", ns)
}

// lost takes every n-th row of the kernels away, and returns how many those are.
func lost(b *event.Batch, n int) uint64 {
	k, kept := &b.Kernels, 0
	for i := range k.Start {
		if i%n == n-1 {
			continue
		}
		k.Start[kept], k.Duration[kept], k.Launch[kept], k.Correlation[kept] = k.Start[i], k.Duration[i], k.Launch[i], k.Correlation[i]
		kept++
	}
	gone := uint64(len(k.Start) - kept)
	k.Start, k.Duration, k.Launch, k.Correlation = k.Start[:kept], k.Duration[:kept], k.Launch[:kept], k.Correlation[:kept]
	k.Device, k.Context, k.Stream, k.Graph, k.GraphNode = k.Device[:kept], k.Context[:kept], k.Stream[:kept], k.Graph[:kept], k.GraphNode[:kept]
	return gone
}

// state adds a change of the capture's state.
func state(b *event.Batch, at event.Time, s event.State) {
	b.States.Time, b.States.State, b.States.Reason = append(b.States.Time, at), append(b.States.State, s), append(b.States.Reason, 0)
}

// TestTimeOfBadTraces holds the reports about time to a clear sentence for each trace that cannot be taken as it is: in every
// report that the trouble touches, and with no certainty that is not there.
func TestTimeOfBadTraces(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(p *scene.Program, s *event.Summary)
		open bool // it is never closed
		// inspect must stand in each of --steps, --account, --idle and --diff; doctor in the diagnosis.
		inspect, doctor []string
		never           []string // in the diagnosis
	}{
		{name: "losses", make: func(p *scene.Program, s *event.Summary) {
			th := p.Thread()
			for range 30 {
				step(th, 30_000)
			}
			n := lost(&p.Events, 5)
			s.Losses = []event.Loss{{Process: 1, Kind: event.KindKernel, Cause: event.LossRingFull, Count: n}}
			s.Recorded = map[event.Kind]uint64{event.KindKernel: uint64(len(p.Events.Kernels.Start))}
		}, inspect: []string{"in doubt: 132 kernels (20.0%) are missing from the trace"}, doctor: []string{"in doubt: 132 kernels (20.0%) are missing from the trace"}, never: []string{"high, read off"}},
		{name: "never closed", open: true, make: func(p *scene.Program, _ *event.Summary) {
			th := p.Thread()
			for range 30 {
				step(th, 3_000)
			}
		}, inspect: []string{"in doubt: the trace was not closed"}, doctor: []string{"in doubt: the trace was not closed"}, never: []string{"high, read off"}},
		{name: "undelivered", make: func(p *scene.Program, s *event.Summary) {
			th := p.Thread()
			for range 30 {
				step(th, 3_000)
			}
			s.Losses = []event.Loss{{Process: 1, Cause: event.LossUndelivered}}
		}, inspect: []string{"in doubt: the last moments of a process are missing"}, doctor: []string{"in doubt: the last moments"}},
		{name: "a pause of the recording", make: func(p *scene.Program, _ *event.Summary) {
			th := p.Thread()
			state(&p.Events, th.Now, event.StateArmed)
			for i := range 30 {
				if i == 15 {
					state(&p.Events, p.Done(), event.StatePaused)
					th.Until(p.Done() + 400_000)
					state(&p.Events, th.Now, event.StateArmed)
				}
				step(th, 30_000)
			}
		}, inspect: []string{"interrupted recording"}},
		{name: "clocks that jump", make: func(p *scene.Program, _ *event.Summary) {
			th := p.Thread()
			for range 30 {
				step(th, 3_000)
			}
			for i := range p.Events.Kernels.Start[:330] {
				p.Events.Kernels.Start[i] -= 80_000_000
			}
		}, inspect: []string{"pieces of work begin before the call that launched them: the clocks of CPU and GPU disagree"}, doctor: []string{"the clocks of CPU and GPU disagree"}, never: []string{"high, read off"}},
		{name: "one step", make: func(p *scene.Program, _ *event.Summary) { step(p.Thread(), 30_000) },
			inspect: []string{}, doctor: []string{"what repeats may be less than a step: no optimizer's kernels come three times or more"}},
		{name: "no steps", make: func(p *scene.Program, _ *event.Summary) {
			th := p.Thread()
			for i := range 400 {
				th.Launch(fmt.Sprintf("kernel_%d", i*i%397), 20_000)
			}
		}, doctor: []string{"no step was found"}, never: []string{" error "}},
		{name: "nothing on a GPU", make: func(p *scene.Program, _ *event.Summary) { p.Thread().Alloc(1000) },
			inspect: []string{"none: nothing ran on a GPU"}, doctor: []string{"Nothing ran on a GPU while this trace was recorded"}},
		{name: "a server without steps", make: func(p *scene.Program, _ *event.Summary) {
			th := p.Thread()
			random := rand.New(rand.NewPCG(1, 2))
			for range 40 { // requests of any kind, at any time
				th.Host(random.Int64N(15_000_000))
				for range 1 + random.IntN(13) {
					th.Launch(fmt.Sprintf("gemm_%d", random.IntN(11)), 50_000)
					th.Launch(fmt.Sprintf("attention_%d", random.IntN(9)), 20_000)
				}
				th.Sync()
			}
		}, doctor: []string{"no step was found"}},
		{name: "a server of two models", make: func(p *scene.Program, _ *event.Summary) {
			th := p.Thread()
			random := rand.New(rand.NewPCG(1, 2))
			for range 200 { // their layers are alike, and nothing else repeats
				th.Host(random.Int64N(3_000_000))
				model, layers := "llama", 4
				if random.IntN(2) == 1 {
					model, layers = "bert", 7
				}
				th.Launch(model+"_embedding_kernel", 5_000)
				for range layers {
					th.Launch(model+"_gemm", 20_000)
					th.Launch(model+"_flash_fwd", 10_000)
				}
				th.Sync()
			}
		}, doctor: []string{"A repetition takes", "in doubt: what repeats takes"}, never: []string{" error ", "token"}},
		{name: "two models in turn", make: func(p *scene.Program, _ *event.Summary) {
			th := p.Thread()
			for range 40 {
				step(th, 30_000)
				th.Launch("critic_embedding_kernel", 20_000)
				for range 5 {
					th.Launch("critic_gemm", 20_000)
				}
				th.Launch("multi_tensor_apply_kernel<FusedAdam>", 20_000)
			}
		}, doctor: []string{"A training step takes 829 µs"}}, // of both
		{name: "durations that are negative or huge", make: func(p *scene.Program, _ *event.Summary) {
			th := p.Thread()
			for range 30 {
				step(th, 30_000)
			}
			d := p.Events.Kernels.Duration
			for i := range d {
				if i%9 == 4 {
					d[i] = []int64{-5, -1 << 62, 1<<63 - 1}[i%3]
				}
			}
		}, inspect: []string{"in doubt: 73 pieces of work have no usable times"}, doctor: []string{"in doubt: 73 pieces of work have no usable times"}},
		{name: "no calls", make: func(p *scene.Program, _ *event.Summary) {
			p.Silent, p.Info.API = true, "none"
			th := p.Thread()
			for range 30 {
				th.Host(300_000)
				step(th, 30_000)
			}
		}, doctor: []string{"cannot be judged", "--api launch"}, never: []string{"launches work more slowly"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := scene.New()
			s := event.Summary{}
			c.make(p, &s)
			file := filepath.Join(t.TempDir(), "bad.wscope")
			var out bytes.Buffer
			w, err := trace.NewWriter(&out, event.Provenance{Command: []string{"python3", "train.py"}})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Feed(w); err != nil {
				t.Fatal(err)
			}
			s.End = p.Done()
			if c.open {
				err = w.Flush()
			} else {
				err = w.Close(s)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			check := func(want, never []string, args ...string) {
				t.Helper()
				status, stdout, stderr := world{columns: 400}.run(t, append(args, file)...)
				if status != 0 || stderr != "" {
					t.Fatalf("%s: status %d, %s", args, status, stderr)
				}
				for _, text := range want {
					if !strings.Contains(stdout, text) {
						t.Errorf("%s does not say %q:\n%s", args, text, stdout)
					}
				}
				for _, text := range never {
					if strings.Contains(stdout, text) {
						t.Errorf("%s says %q:\n%s", args, text, stdout)
					}
				}
			}
			for _, flag := range []string{"--steps", "--account", "--idle"} {
				if c.name == "a pause of the recording" && flag != "--steps" || c.name == "clocks that jump" && flag == "--steps" {
					continue
				}
				check(c.inspect, nil, "inspect", flag)
			}
			check(c.doctor, c.never, "doctor")
		})
	}
}
