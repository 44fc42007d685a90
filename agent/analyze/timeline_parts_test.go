package analyze

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/event/scene"
)

// inPieces hands out batches in n pieces each.
type inPieces struct {
	event.Sink
	n int
}

func (p inPieces) Batch(b *event.Batch) error {
	for i := range p.n {
		piece := *b
		columns := reflect.ValueOf(&piece).Elem()
		for f := range columns.NumField() {
			if table := columns.Field(f); table.Kind() == reflect.Struct {
				for c := range table.NumField() {
					if column := table.Field(c); column.Kind() == reflect.Slice {
						column.Set(column.Slice(column.Len()*i/p.n, column.Len()*(i+1)/p.n))
					}
				}
			}
		}
		if err := p.Sink.Batch(&piece); err != nil {
			return err
		}
	}
	return nil
}

// inParts inspects a made-up program of which a timeline keeps so many records at a time.
func inParts(t *testing.T, p *scene.Program, limit, most int) *Inspection {
	t.Helper()
	a := New(Config{Parts: PartsOfSteps})
	must(t, a.Define(&event.Definitions{Processes: []event.Process{p.Info}}))
	l := a.timelines.of(a.process(1))
	l.limit, l.most = limit, most
	must(t, p.Feed(inPieces{a, 100}))
	in := a.Inspect()
	exact(t, in)
	return in
}

// follow has a thread wait, outside CUDA, until it is not far ahead of the GPU: a queue has an end.
func follow(p *scene.Program, th *scene.Thread) { th.Until(p.Done() - 200_000) }

// same reports the first element that differs.
func same[T any](t *testing.T, what string, x, y []T) {
	t.Helper()
	for i := range max(len(x), len(y)) {
		if i >= len(x) || i >= len(y) {
			t.Errorf("%s: %d as a whole, %d in parts", what, len(x), len(y))
			return
		}
		if !reflect.DeepEqual(x[i], y[i]) {
			t.Errorf("%s %d:\n%+v as a whole\n%+v in parts", what, i, x[i], y[i])
			return
		}
	}
}

// TestParts: of a trace that is gone through in parts the steps are those of the trace as a whole, and the account is
// the same to the nanosecond.
func TestParts(t *testing.T) {
	for _, c := range []struct {
		name string
		play func(p *scene.Program, th *scene.Thread)
	}{
		{"by kernels", func(p *scene.Program, th *scene.Thread) {
			for range 150 {
				follow(p, th)
				train(th, 4, 20_000)
			}
		}},
		{"by ranges, launch-bound", func(_ *scene.Program, th *scene.Thread) {
			for i := range 150 {
				end := th.Range(fmt.Sprintf("step %d", i))
				th.Host(int64(100_000 * (i % 3)))
				train(th, 4, 3_000)
				end()
			}
		}},
		{"waits", func(_ *scene.Program, th *scene.Thread) {
			for range 150 {
				train(th, 4, 30_000)
				th.Sync()
				th.Host(400_000)
			}
		}},
		{"two streams", func(p *scene.Program, th *scene.Thread) {
			for range 150 {
				follow(p, th)
				th.LaunchOn(9, "ncclDevKernel_AllReduce", 16, 300_000)
				train(th, 4, 20_000)
			}
		}},
		{"tokens after prompts", func(p *scene.Program, th *scene.Thread) {
			for range 6 {
				for i := range 30 {
					follow(p, th)
					cost := int64(4_000)
					if i == 0 {
						cost = 90_000
					}
					th.Launch("embedding_kernel", cost)
					for range 6 {
						th.Launch("qkv_gemm", cost)
						th.Launch("flash_fwd_splitkv_kernel", cost)
					}
					th.Launch("argmax_kernel", cost)
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := scene.New()
			c.play(p, p.Thread())
			whole, parts := inParts(t, p, math.MaxInt, math.MaxInt), inParts(t, p, 600, 1200)
			x, y := &whole.Steps.Rows[0], &parts.Steps.Rows[0]
			if x.Source != y.Source || x.Marker != y.Marker || x.Unit != y.Unit || x.Found != y.Found || x.Measured != y.Measured || x.Repeats != y.Repeats || y.CutNS != 0 {
				t.Errorf("whole: %s %q, %d %ss, %d measured, repeats %d\nparts: %s %q, %d %ss, %d measured, repeats %d, from %d ns on",
					x.Source, x.Marker, x.Found, x.Unit, x.Measured, x.Repeats, y.Source, y.Marker, y.Found, y.Unit, y.Measured, y.Repeats, y.CutNS)
			}
			same(t, "step", x.Steps, y.Steps)
			same(t, "line", whole.Account.Rows[0].Lines, parts.Account.Rows[0].Lines)
			same(t, "kernel", whole.Account.Rows[0].Kernels, parts.Account.Rows[0].Kernels)
			same(t, "facts", []AccountFacts{whole.Account.Rows[0].Facts}, []AccountFacts{parts.Account.Rows[0].Facts})
			same(t, "cause", whole.Idle.Rows[0].Causes, parts.Idle.Rows[0].Causes)
		})
	}
}

// TestTimelineIsBounded: of a long trace in which nothing repeats, the end is kept, and where it begins is said.
func TestTimelineIsBounded(t *testing.T) {
	p := scene.New()
	th := p.Thread()
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		follow(p, th)
		th.Launch(fmt.Sprintf("kernel_%d", random.IntN(500)), 20_000)
	}
	r := &inParts(t, p, 400, 400).Steps.Rows[0]
	if r.CutNS == 0 || r.Source != StepsByNone || r.Phases[0].Kernels.Median > 400 {
		t.Errorf("by %s, from %d ns on, %+v; want the end", r.Source, r.CutNS, r.Phases)
	}
}

// TestPartsOfSomethingElse: a long trace that becomes another program's is that program's steps.
func TestPartsOfSomethingElse(t *testing.T) {
	p := scene.New()
	th := p.Thread()
	for range 60 {
		follow(p, th)
		train(th, 4, 20_000)
	}
	for range 2000 {
		follow(p, th)
		th.Launch("embedding_kernel_2", 20_000)
		for range 3 {
			th.Launch("other_gemm", 20_000)
			th.Launch("other_softmax", 20_000)
		}
	}
	r := &inParts(t, p, 600, 1200).Steps.Rows[0]
	if r.Unit != "step" || r.Found < 1000 || r.CutNS == 0 {
		t.Errorf("%d %ss from %d ns on, marked by %s; want those of the second program", r.Found, r.Unit, r.CutNS, r.Marker)
	}
}

// TestInOrder: any list is brought in order, and what is of one time stays as it was.
func TestInOrder(t *testing.T) {
	type record struct {
		t event.Time
		n int
	}
	random := rand.New(rand.NewPCG(3, 4))
	for _, disorder := range []int{0, 1, 30, 100_000} {
		var list []record
		for i := range 3000 {
			list = append(list, record{event.Time(i + random.IntN(disorder+1)), i})
		}
		want := slices.Clone(list)
		slices.SortStableFunc(want, func(x, y record) int { return int(x.t - y.t) })
		inOrder(list, func(r *record) event.Time { return r.t })
		if !slices.Equal(list, want) {
			t.Errorf("disorder %d: not in order", disorder)
		}
	}
}

// TestCallIndex: the first call with a number is found, whether the numbers are dense or far apart.
func TestCallIndex(t *testing.T) {
	for _, stride := range []uint32{1, 3, 1_000_003} {
		var cpu []cpuWork
		for i := range uint32(4000) {
			cpu = append(cpu, cpuWork{correlation: 7 + i/2*stride, kind: cpuLaunch})
		}
		c := callCursor{callIndex: newCallIndex(cpu)}
		for i := range cpu {
			if at := c.of(cpu[i].correlation); at != i/2*2 {
				t.Fatalf("stride %d: call %d is found at %d, want %d", stride, i, at, i/2*2)
			}
		}
		for _, none := range []uint32{0, 1, 6, 7 + 2000*stride} {
			if at := c.of(none); at != -1 {
				t.Errorf("stride %d: correlation %d is found at %d", stride, none, at)
			}
		}
	}
}
