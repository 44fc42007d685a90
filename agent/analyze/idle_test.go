package analyze

import (
	"testing"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/event/scene"
)

// TestIdleCauses plays programs whose GPU is idle for one known reason.
func TestIdleCauses(t *testing.T) {
	const n = 40
	for _, c := range []struct {
		name string
		play func(p *scene.Program, th *scene.Thread)
		want string  // most of the idle time
		part float64 // of it, at least
		call string
	}{
		{name: "a CPU that launches slowly", want: "launch-bound", part: 0.99, play: func(_ *scene.Program, th *scene.Thread) {
			for range n {
				for range 20 {
					th.Host(30_000)
					th.Launch("gemm", 5_000)
				}
				th.Launch("embedding_kernel", 5_000)
			}
		}},
		{name: "a full queue", want: "gaps", part: 0.99, play: func(_ *scene.Program, th *scene.Thread) {
			for range n {
				for range 20 {
					th.Launch("gemm", 50_000)
				}
				th.Launch("embedding_kernel", 5_000)
			}
		}},
		{name: "a wait in each step", want: "sync", part: 0.9, call: "cudaDeviceSynchronize", play: func(_ *scene.Program, th *scene.Thread) {
			for range n {
				for range 20 {
					th.Launch("gemm", 50_000)
				}
				th.Launch("embedding_kernel", 5_000)
				th.Sync()
				th.Host(300_000)
			}
		}},
		{name: "long host code after a wait", want: "host", part: 0.9, play: func(_ *scene.Program, th *scene.Thread) {
			for range n {
				for range 20 {
					th.Launch("gemm", 50_000)
				}
				th.Launch("embedding_kernel", 5_000)
				th.Sync()
				th.Host(9_000_000)
			}
		}},
		{name: "allocations", want: "allocator", part: 0.9, call: "cuMemAlloc_v2", play: func(_ *scene.Program, th *scene.Thread) {
			for range n {
				for range 4 {
					th.Alloc(900_000)
					th.Launch("gemm", 50_000)
				}
				th.Launch("embedding_kernel", 5_000)
			}
		}},
		{name: "code that is built in each step", want: "code", part: 0.9, play: func(_ *scene.Program, th *scene.Thread) {
			for range n {
				for range 9 {
					th.Launch("gemm", 50_000)
				}
				th.Launch("embedding_kernel", 5_000)
				th.Host(30_000_000)
				th.Load(40_000)
			}
		}},
		{name: "the tracing itself", want: "capture", part: 0.9, play: func(_ *scene.Program, th *scene.Thread) {
			for range n {
				for range 9 {
					th.Launch("gemm", 50_000)
				}
				th.Launch("embedding_kernel", 5_000)
				th.Capture(3_000_000)
			}
		}},
		{name: "copies that block", want: "copy-call", part: 0.5, play: func(_ *scene.Program, th *scene.Thread) {
			for range n {
				th.Launch("gemm", 5_000)
				th.Copy(scene.Stream, event.CopyHostToDevice, event.MemoryPageable, event.MemoryDevice, 1<<20, 40_000)
			}
		}},
		{name: "a stream that waits for another", want: "dependency", part: 0.9, play: func(p *scene.Program, th *scene.Thread) {
			for range n {
				th.LaunchOn(scene.Stream, "gemm", 1024, 500_000)
				th.LaunchOn(9, "gemm", 1024, 100_000)
				p.Delay(9, 2_000_000) // an event of another device, say
				th.WaitFor(scene.Stream, 9)
				th.LaunchOn(scene.Stream, "embedding_kernel", 1024, 500_000)
			}
		}},
		{name: "calls that were not recorded", want: "unrecorded", part: 1, play: func(p *scene.Program, th *scene.Thread) {
			p.Silent = true
			for range n {
				th.Host(90_000)
				th.Launch("gemm", 5_000)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := scene.New()
			c.play(p, p.Thread())
			in := steps(t, p, Config{})
			exact(t, in)
			idle := &in.Idle.Rows[0]
			got := idle.Cause(c.want)
			if float64(got.TotalNS) < c.part*float64(idle.IdleNS) || got.TotalNS == 0 {
				t.Fatalf("%d of %d ns idle for %s, want at least %.0f%%: %+v", got.TotalNS, idle.IdleNS, c.want, c.part*100, idle.Causes)
			}
			if c.call != "" && got.Places[0].Call != c.call {
				t.Errorf("in %q, want %q", got.Places[0].Call, c.call)
			}
		})
	}
}

// TestHandOver: a thread that launches where another one left off is late because of that one.
func TestHandOver(t *testing.T) {
	p := scene.New()
	th, other := p.Thread(), p.Thread()
	for range 40 {
		for range 10 {
			th.Launch("gemm", 50_000)
		}
		th.Sync()
		other.Until(th.Now)
		other.Host(100_000)
		for range 10 {
			other.Launch("gemm_backward", 50_000)
		}
		th.Until(other.Now)
	}
	in := steps(t, p, Config{})
	exact(t, in)
	idle := &in.Idle.Rows[0]
	if sync := idle.Cause("sync"); sync.TotalNS*4 < idle.IdleNS*3 {
		t.Errorf("%d of %d ns idle for the first thread's wait: %+v", sync.TotalNS, idle.IdleNS, idle.Causes)
	}
}

// TestBystander: a thread that waits for what another one has yet to launch is not why that one is late.
func TestBystander(t *testing.T) {
	p := scene.New()
	th, waiting := p.Thread(), p.Thread()
	for range 40 {
		th.Launch("gemm", 50_000)
		th.Host(3_000_000)
		th.Launch("gemm_backward", 50_000)
		waiting.Until(th.Now - 2_500_000)
		waiting.Sync()
	}
	in := steps(t, p, Config{})
	exact(t, in)
	idle := &in.Idle.Rows[0]
	if host := idle.Cause("host"); host.TotalNS*10 < idle.IdleNS*9 {
		t.Errorf("%d of %d ns idle for host code: %+v", host.TotalNS, idle.IdleNS, idle.Causes)
	}
}

// TestRunAhead: idle time between launches is the fault of a wait as far as the CPU would have been ahead without it.
func TestRunAhead(t *testing.T) {
	for _, c := range []struct {
		name         string
		busy         int64 // of the GPU before the wait, ns
		launches     int
		sync, launch [2]int64 // bounds of what each is blamed for in a step, ns
	}{
		// 6 ms of waiting, 10 launches 40 µs apart of kernels of 5 µs: about 0.4 ms idle.
		{"a long wait", 6_000_000, 10, [2]int64{300_000, 500_000}, [2]int64{0, 1_000}},
		// Without work there is nothing to wait for.
		{"a wait for nothing", 0, 10, [2]int64{0, 30_000}, [2]int64{300_000, 500_000}},
		// 0.4 ms of waiting cover 0.4 ms of 1.75 ms.
		{"a short wait", 400_000, 50, [2]int64{300_000, 500_000}, [2]int64{1_250_000, 1_450_000}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := scene.New()
			th := p.Thread()
			const n = 40
			for range n {
				th.Launch("embedding_kernel", 5_000)
				if c.busy > 0 {
					th.Launch("big_gemm", c.busy)
				}
				th.Sync()
				for range c.launches {
					th.Host(36_000)
					th.Launch("gemm", 5_000)
				}
			}
			in := steps(t, p, Config{})
			exact(t, in)
			idle := &in.Idle.Rows[0]
			for id, want := range map[string][2]int64{"sync": c.sync, "launch-bound": c.launch} {
				if got := idle.Cause(id).TotalNS / int64(idle.Steps); got < want[0] || got > want[1] {
					t.Errorf("%d ns a step idle for %s, want %d to %d: %+v", got, id, want[0], want[1], idle.Causes)
				}
			}
		})
	}
}

// TestReadValue: a small copy to pageable memory is a value that the program reads, and its call a wait.
func TestReadValue(t *testing.T) {
	p := scene.New()
	th := p.Thread()
	for range 40 {
		th.Launch("embedding_kernel", 5_000)
		th.Launch("big_gemm", 3_000_000)
		th.Copy(scene.Stream, event.CopyDeviceToHost, event.MemoryDevice, event.MemoryPageable, 4, 1_000)
		for range 10 {
			th.Host(36_000)
			th.Launch("gemm", 5_000)
		}
	}
	in := steps(t, p, Config{})
	exact(t, in)
	idle := &in.Idle.Rows[0]
	if sync := idle.Cause("sync"); sync.TotalNS*10 < idle.IdleNS*8 {
		t.Errorf("%d of %d ns idle for the value: %+v", sync.TotalNS, idle.IdleNS, idle.Causes)
	}
	if idle.Cause("unrecorded").TotalNS != 0 {
		t.Error("the copy's call is not found")
	}
}
