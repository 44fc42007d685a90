package doctor_test

import (
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/doctor"
	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/event/scene"
)

// peak is the memory of the GPU in these tests, bytes a second.
const peak = 3_352_320_000_000

// monitored makes a program's GPU one with performance monitoring, and says what its units did.
func monitored(p *scene.Program, v scene.Activity) {
	p.GPU.Name, p.GPU.Capability = "NVIDIA H100 80GB HBM3", [2]uint32{9, 0}
	p.Watch(p.Info.StartTime, p.Info.StartTime+2e9, 50_000_000, v)
	for i := range 30 {
		p.Sample(p.Info.StartTime+event.Time(i)*10_000_000, 1500, 1)
	}
}

func TestVerdictsSayHowNearTheCeilings(t *testing.T) {
	for _, c := range []struct {
		name  string
		watch scene.Activity
		id    string
		title []string
	}{
		// 4096 operations a clock, 132 multiprocessors, 1500 MHz: 811 of 989 TFLOP/s where all clocks are full.
		{"arithmetic", scene.Activity{SM: 0.9, Tensor: 0.8, DRAM: 0.3, DRAMPeak: peak}, "time.compute", []string{"Healthy: compute-bound at about 65.", "649 TFLOP/s of 989 TFLOP/s"}},
		{"memory", scene.Activity{SM: 0.9, Tensor: 0.1, DRAM: 0.85, DRAMPeak: peak}, "time.bandwidth", []string{"Healthy: bandwidth-bound at 85.", "2.85 TB/s of 3.35 TB/s"}},
		{"neither", scene.Activity{SM: 0.5, Tensor: 0.1, DRAM: 0.2, DRAMPeak: peak}, "time.compute", []string{"comes near no ceiling", "arithmetic reaches about 8.2%", "memory traffic 20.0%"}},
	} {
		p := scene.New()
		monitored(p, c.watch)
		d := play(t, p, dense)
		if len(d.Findings) == 0 || d.Findings[0].ID != c.id || d.Findings[0].Severity != doctor.NoteSev {
			t.Errorf("%s: %+v", c.name, d.Findings)
			continue
		}
		f := d.Findings[0]
		for _, part := range c.title {
			if !strings.Contains(f.Title, part) {
				t.Errorf("%s: %q has no %q", c.name, f.Title, part)
			}
		}
		for _, e := range f.Evidence {
			if strings.Contains(e.What, "arithmetic") && e.Source != doctor.Estimated || e.What == "memory traffic" && e.Source != doctor.Measured {
				t.Errorf("%s: %q is %s", c.name, e.What, e.Source)
			}
		}
	}
}

// TestVerdictWithoutMonitoringNamesTheRerun: what was not measured is not said, and the note says which run would tell.
func TestVerdictWithoutMonitoringNamesTheRerun(t *testing.T) {
	for name, c := range map[string]struct {
		prepare     func(p *scene.Program)
		text, rerun string
	}{
		"not watched": {func(*scene.Program) {}, "is not in the trace", "warpscope run -o again.wscope -- python3 train.py"},
		"older GPU":   {func(p *scene.Program) { p.GPU.Capability = [2]uint32{8, 0} }, "for Hopper and newer", ""},
		"too short": {func(p *scene.Program) {
			p.GPU.Name, p.GPU.Capability = "NVIDIA H100 80GB HBM3", [2]uint32{9, 0}
			p.Watch(p.Info.StartTime-1e8, p.Info.StartTime+3e8, 400_000_000, scene.Activity{SM: 1, DRAM: 1, DRAMPeak: peak})
		}, "a longer run tells", "warpscope run -o again.wscope -- python3 train.py   # for ten seconds of steps or more"},
		"unknown product": {func(p *scene.Program) {
			monitored(p, scene.Activity{SM: 0.9, Tensor: 0.8, DRAM: 0.9, DRAMPeak: peak})
			p.GPU.Name = "Voodoo 2"
		}, "what this GPU can do is not known", "warpscope bench"},
	} {
		p := scene.New()
		c.prepare(p)
		d := play(t, p, dense)
		var note *doctor.Note
		for i := range d.Notes {
			if d.Notes[i].ID == "time.bandwidth" {
				note = &d.Notes[i]
			}
		}
		if note == nil || !strings.Contains(note.Text, c.text) || note.Rerun != c.rerun {
			t.Errorf("%s: %+v", name, note)
		}
		if f := find(d, "time.compute"); f == nil || strings.Contains(f.Title, "ceiling") {
			t.Errorf("%s: %+v", name, f)
		}
		if find(d, "time.bandwidth") != nil {
			t.Errorf("%s: a verdict without evidence", name)
		}
	}
}

// TestThePowerCapIsANote: large products reach it on every large GPU; heat is another matter.
func TestThePowerCapIsANote(t *testing.T) {
	for _, c := range []struct {
		reason, power int64
		want          doctor.Severity
	}{{4, 0, doctor.NoteSev}, {4, 700_000, doctor.NoteSev}, {4, 400_000, doctor.Warning}, {1 << 6, 0, doctor.Warning}} {
		reason, want := c.reason, c.want
		p := scene.New()
		if c.power > 0 {
			p.FactOf(event.FactPowerLimit, c.power, "")
			p.FactOf(event.FactPowerDefault, 700_000, "")
		}
		monitored(p, scene.Activity{SM: 0.9, Tensor: 0.8, DRAM: 0.3, DRAMPeak: peak})
		p.Sample(p.Info.StartTime-5e6, 2000, 1)
		for i := range 300 {
			p.Sample(p.Info.StartTime+event.Time(i)*1_000_000, 1400, reason)
		}
		d := play(t, p, dense)
		f := find(d, "time.throttled")
		if f == nil || f.Severity != want || f.Cost.SecondsPerStep <= 0 {
			t.Errorf("reason %#x: %+v", reason, f)
		}
		if f != nil && strings.Contains(f.Title, "400 W of the 700") != (c.power == 400_000) {
			t.Errorf("reason %#x, %d mW: %s", reason, c.power, f.Title)
		}
		if want == doctor.NoteSev && d.Findings[0].ID != "time.compute" {
			t.Errorf("first is %s", d.Findings[0].ID)
		}
	}
}

// TestVerdictsOfSharedGPUs: what the units did is everybody's.
func TestVerdictsOfSharedGPUs(t *testing.T) {
	for _, c := range []struct {
		name string
		pids []int32
		want doctor.Confidence
	}{
		{"alone", []int32{4242}, doctor.High},
		{"beside another", []int32{4242, 77}, doctor.Low},
		// In a container NVML may name processes by other numbers.
		{"by another number", []int32{77}, doctor.High},
	} {
		p := scene.New()
		monitored(p, scene.Activity{SM: 0.9, Tensor: 0.1, DRAM: 0.85, DRAMPeak: peak})
		for _, pid := range c.pids {
			p.Uses(pid, 1<<30)
		}
		if f := find(play(t, p, dense), "time.bandwidth"); f == nil || f.Confidence != c.want {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}
