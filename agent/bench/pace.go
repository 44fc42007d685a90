package bench

import (
	"encoding/binary"
	"errors"

	"github.com/warpscope/warpscope/cuda"
	"github.com/warpscope/warpscope/kernels"
)

// pace measures the clock of the multiprocessors on the GPU itself. NVML's readings are up to a tenth of a second old, longer than a burst.
type pace struct {
	g       *GPU
	events  *eventClock // its own: the engine's remembers what it times
	work    [2]*Work
	results cuda.Pointer // where a walk ended, and the clocks it took
	links   cuda.Pointer
}

// paceSteps are loads from shared memory that wait for each other, about 30 clocks each: half a millisecond and one and a half. What is the same in
// both, such as an event's own time, falls out of the difference.
var paceSteps = [2]int{32 << 10, 96 << 10}

func newPace(g *GPU) (p *pace, err error) {
	p = &pace{g: g}
	if p.events, err = newEventClock(g); err != nil {
		return nil, err
	}
	const links, results = 128, 16 // bytes
	at, err := g.Driver.Alloc(links + results)
	if err != nil {
		return nil, errors.Join(err, p.events.close())
	}
	p.links, p.results = at, at+links
	err = g.zero(p.links, links) // each link leads to the first
	for i, steps := range paceSteps {
		run, err2 := g.Runs(kernels.Memory(), kernels.ChaseShared(p.links, links/4, steps, p.results, p.results+8))
		p.work[i], err = &Work{Run: run}, errors.Join(err, err2)
	}
	if err == nil {
		_, err = p.mhz() // what a kernel's first launch costs must not show in a row
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *pace) close() error {
	return errors.Join(p.events.close(), p.g.Driver.Free(p.links))
}

// mhz is the clock now; 0 where it cannot be told.
func (p *pace) mhz() (float64, error) {
	var clocks, seconds [2]float64
	for i, w := range p.work {
		var err error
		if seconds[i], err = p.events.batch(w, 1); err != nil {
			return 0, err
		}
		var b [8]byte
		if err := p.g.Driver.CopyToHost(b[:], p.results+8); err != nil {
			return 0, err
		}
		clocks[i] = float64(binary.LittleEndian.Uint64(b[:]))
	}
	const mega = 1e6
	if c, s := clocks[1]-clocks[0], seconds[1]-seconds[0]; c > 0 && s > 0 {
		return c / s / mega, nil
	}
	return 0, nil
}
