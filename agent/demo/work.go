package demo

import (
	"errors"

	"github.com/warpscope/warpscope/cuda"
	"github.com/warpscope/warpscope/kernels"
)

// work does things on the GPU and counts what succeeded. It is the one place that counts.
type work struct {
	driver  *cuda.Driver
	stream  *cuda.Stream
	kernels map[string]*cuda.Function
	counts  *Counts
	live    map[cuda.Pointer]bool
}

func (w *work) launch(l kernels.Launch) error {
	if err := l.Run(w.stream, w.kernels[l.Kernel]); err != nil {
		return err
	}
	w.counts.Kernels++
	w.counts.KernelsByName[l.Kernel]++
	return nil
}

func (w *work) launchAll(list ...kernels.Launch) error {
	for _, l := range list {
		if err := w.launch(l); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) moved(kind string, bytes int) {
	m := w.counts.CopiesByKind[kind]
	w.counts.CopiesByKind[kind] = Moved{m.Count + 1, m.Bytes + uint64(bytes)}
	w.counts.Copies++
}

func (w *work) copyIn(to cuda.Pointer, from []byte) error {
	err := w.stream.CopyToDevice(to, from)
	if err == nil {
		w.moved("HtoD", len(from))
	}
	return err
}

func (w *work) copyOut(to []byte, from cuda.Pointer) error {
	err := w.stream.CopyToHost(to, from)
	if err == nil {
		w.moved("DtoH", len(to))
	}
	return err
}

func (w *work) zero(p cuda.Pointer, bytes uint64) error {
	err := w.stream.Set8(p, 0, bytes)
	if err == nil {
		w.counts.Sets++
		w.counts.SetBytes += bytes
	}
	return err
}

func (w *work) allocated(p cuda.Pointer, bytes uint64, err error) (cuda.Pointer, error) {
	switch {
	case errors.Is(err, cuda.ErrOutOfMemory):
		w.counts.Failed++
		w.counts.FailedBytes += bytes
	case err == nil:
		w.counts.Allocations++
		w.counts.AllocationBytes += bytes
	}
	return p, err
}

func (w *work) released(err error) error {
	if err == nil {
		w.counts.Releases++
	}
	return err
}

// alloc takes device memory that free or freeAll gives back.
func (w *work) alloc(bytes uint64) (cuda.Pointer, error) {
	p, err := w.driver.Alloc(bytes)
	if err == nil {
		w.live[p] = true
	}
	return w.allocated(p, bytes, err)
}

func (w *work) free(p cuda.Pointer) error {
	delete(w.live, p)
	return w.released(w.driver.Free(p))
}

func (w *work) freeAll() error {
	var errs []error
	for p := range w.live {
		errs = append(errs, w.free(p))
	}
	return errors.Join(errs...)
}

// allocAsync takes memory of the device's pool that freeAsync gives back.
func (w *work) allocAsync(bytes uint64) (cuda.Pointer, error) {
	p, err := w.stream.AllocAsync(bytes)
	return w.allocated(p, bytes, err)
}

func (w *work) freeAsync(p cuda.Pointer) error { return w.released(w.stream.FreeAsync(p)) }

func (w *work) launchGraph(g *cuda.GraphExec, nodes int) error {
	err := g.Launch(w.stream)
	if err == nil {
		w.counts.GraphLaunches++
		w.counts.GraphNodes += uint64(nodes)
	}
	return err
}
