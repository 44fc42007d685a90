package scene

import "github.com/warpscope/warpscope/agent/event"

// Activity is what a GPU's units did, as parts of 1.
type Activity struct {
	SM, Occupancy, Tensor, FP32, DRAM float64
	// DRAMPeak is bytes a second.
	DRAMPeak int64
}

// Watch adds windows of a GPU's activity, one after the other, from a moment to another one.
func (p *Program) Watch(from, to event.Time, window int64, v Activity) {
	a := &p.machine.Activities
	part := func(v float64) int32 { return int32(v * 1e6) }
	for at := from; at+event.Time(window) <= to; at += event.Time(window) {
		a.Start, a.Duration, a.GPU = append(a.Start, at), append(a.Duration, window), append(a.GPU, 1)
		a.SM, a.Occupancy = append(a.SM, part(v.SM)), append(a.Occupancy, part(v.Occupancy))
		a.Tensor, a.TensorHalf = append(a.Tensor, part(v.Tensor)), append(a.TensorHalf, part(v.Tensor))
		a.TensorInteger, a.TensorDouble = append(a.TensorInteger, 0), append(a.TensorDouble, 0)
		a.FP64, a.FP32, a.FP16 = append(a.FP64, 0), append(a.FP32, part(v.FP32)), append(a.FP16, 0)
		a.Integer, a.DRAM, a.DRAMPeak = append(a.Integer, -1), append(a.DRAM, part(v.DRAM)), append(a.DRAMPeak, v.DRAMPeak)
		a.PCIeOut, a.PCIeIn = append(a.PCIeOut, 1<<20), append(a.PCIeIn, 2<<20)
		a.NVLinkOut, a.NVLinkIn = append(a.NVLinkOut, -1), append(a.NVLinkIn, -1)
	}
}

// Fact adds a fact about the GPU that is a text.
func (p *Program) Fact(name, text string) { p.FactOf(name, 0, text) }

// FactOf adds a fact about the GPU.
func (p *Program) FactOf(name string, value int64, text string) {
	f := &p.machine.Facts
	f.Time, f.GPU, f.PID = append(f.Time, p.Info.StartTime), append(f.GPU, 1), append(f.PID, 0)
	f.Name, f.Value, f.Text = append(f.Name, p.text(name)), append(f.Value, value), append(f.Text, p.text(text))
}

// Uses adds NVML's reading of what a process has of the GPU's memory.
func (p *Program) Uses(pid int32, bytes int64) {
	u := &p.machine.Usages
	u.Time, u.GPU = append(u.Time, p.Info.StartTime+1), append(u.GPU, 1)
	u.PID, u.Bytes = append(u.PID, pid), append(u.Bytes, bytes)
}
