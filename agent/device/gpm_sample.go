package device

import "github.com/warpscope/warpscope/agent/event"

// watch begins to watch what the units of each GPU do. Of a GPU that cannot be watched, the trace says why.
func (p *Sampler) watch() {
	p.monitors = make([]monitor, len(p.system.gpus))
	for i, g := range p.system.gpus {
		p.power(i, g)
		m, err := g.monitor()
		switch {
		case err == nil:
			p.monitors[i] = m
		case p.config.Text != nil:
			addFact(&p.batch.Facts, monotonic(), p.config.GPUs[i], 0, p.config.Text(event.FactUnmonitored), 0, p.config.Text(err.Error()))
		}
	}
}

// power says what power a GPU may take: without it nobody can tell a cap by design from one that somebody set.
func (p *Sampler) power(i int, g gpu) {
	if p.config.Text == nil {
		return
	}
	now, usual := g.powerLimits()
	if now <= 0 || usual <= 0 {
		return
	}
	at := monotonic()
	addFact(&p.batch.Facts, at, p.config.GPUs[i], 0, p.config.Text(event.FactPowerLimit), now, 0)
	addFact(&p.batch.Facts, at, p.config.GPUs[i], 0, p.config.Text(event.FactPowerDefault), usual, 0)
}

// unwatch ends it.
func (p *Sampler) unwatch() {
	for _, m := range p.monitors {
		if m != nil {
			m.close()
		}
	}
}

// activity appends the window of one GPU that has ended, if one has.
func (p *Sampler) activity(i int) {
	if p.monitors[i] == nil {
		return
	}
	w, ok := p.monitors[i].look(monotonic())
	if !ok {
		return
	}
	a := &p.batch.Activities
	a.Start = append(a.Start, w.start)
	a.Duration = append(a.Duration, w.duration)
	a.GPU = append(a.GPU, p.config.GPUs[i])
	a.SM = append(a.SM, w.sm)
	a.Occupancy = append(a.Occupancy, w.occupancy)
	a.Tensor = append(a.Tensor, w.tensor)
	a.TensorHalf = append(a.TensorHalf, w.tensorHalf)
	a.TensorInteger = append(a.TensorInteger, w.tensorInteger)
	a.TensorDouble = append(a.TensorDouble, w.tensorDouble)
	a.FP64 = append(a.FP64, w.fp64)
	a.FP32 = append(a.FP32, w.fp32)
	a.FP16 = append(a.FP16, w.fp16)
	a.Integer = append(a.Integer, w.integer)
	a.DRAM = append(a.DRAM, w.dram)
	a.DRAMPeak = append(a.DRAMPeak, w.dramPeak)
	a.PCIeOut = append(a.PCIeOut, w.pcieOut)
	a.PCIeIn = append(a.PCIeIn, w.pcieIn)
	a.NVLinkOut = append(a.NVLinkOut, w.nvlinkOut)
	a.NVLinkIn = append(a.NVLinkIn, w.nvlinkIn)
}
