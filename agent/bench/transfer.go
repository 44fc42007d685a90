package bench

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/agent/ceilings"
	"github.com/warpscope/warpscope/cuda"
	"github.com/warpscope/warpscope/kernels"
)

// The transfer suite: copies between the host and the GPU, from page-locked and from ordinary memory, one way and both ways at once; and
// between GPUs. The copy engines do them all. Counted: each byte that crosses the link, once.

// The size of a host buffer, of which a run has at most two; and of a copy between GPUs.
const (
	transferBytes = 16 << 20
	peerBytes     = 256 << 20
)

func transferCases(g *GPU, o Options) ([]Case, error) {
	between, err := peerCases(g, o)
	return append(hostCases(o), between...), err
}

// transferCase is a row of the suite; arrays is how many of the size it needs on the device.
func transferCase(what, note string, bytes, moved, arrays uint64, prepare func(g *GPU) (*Work, error)) Case {
	r := result.Row{Suite: "transfer", What: what, Shape: size(bytes), Bytes: float64(moved)}
	if note != "" {
		r.Notes = append(r.Notes, note)
	}
	return Case{Row: r, Needs: arrays * bytes, Prepare: prepare}
}

func hostCases(o Options) []Case {
	bytes, note := uint64(transferBytes), ""
	switch {
	case o.Bytes > transferBytes:
		note = fmt.Sprintf("%s instead of %s: host memory is kept small", size(transferBytes), size(o.Bytes))
	case o.Bytes > 0:
		bytes = max(o.Bytes/wordBytes*wordBytes, wordBytes)
	}
	up := func(memory string, pinned bool) Case {
		c := transferCase("host to device, "+memory, note, bytes, bytes, 2, func(g *GPU) (*Work, error) { return g.upwards(bytes, pinned) })
		c.Row.Memory, c.Row.Limit = ceilings.HostToDevice, linkOr(pinned)
		return c
	}
	down := func(memory string, pinned bool) Case {
		c := transferCase("device to host, "+memory, note, bytes, bytes, 2, func(g *GPU) (*Work, error) { return g.downwards(bytes, pinned) })
		c.Row.Memory, c.Row.Limit = ceilings.DeviceToHost, linkOr(pinned)
		return c
	}
	// Ordinary memory is copied by the calling thread: only pinned memory goes both ways at once.
	both := transferCase("both ways at once, pinned", note, bytes, 2*bytes, 4, func(g *GPU) (*Work, error) { return g.bothWays(bytes) })
	both.Row.Limit = "link, each way"
	return []Case{up("pinned", true), down("pinned", true), both, up("pageable", false), down("pageable", false)}
}

// linkOr is what bounds a copy: memory that is not pinned is first copied by the host, into or from a buffer of the driver's.
func linkOr(pinned bool) string {
	if pinned {
		return "link"
	}
	return result.ByHost
}

// alone is a Work.Before that does nothing: what it precedes is timed one by one, in a stream that nothing holds. The thread that calls
// copies ordinary memory piece by piece, and must not get ahead of the GPU.
func alone() error { return nil }

// ordinary takes host memory that is not page-locked until the case is over. It comes from the system, so that it goes back at once.
func (g *GPU) ordinary(bytes uint64) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, int(bytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("take %d bytes of host memory: %w", bytes, err)
	}
	g.Defer(func() error { return unix.Munmap(b) })
	return b, nil
}

// host takes host memory until the case is over.
func (g *GPU) host(bytes uint64, pinned bool) ([]byte, error) {
	if !pinned {
		return g.ordinary(bytes)
	}
	h, err := g.Driver.AllocHost(bytes)
	if err != nil {
		return nil, fmt.Errorf("take %d bytes of page-locked memory: %w", bytes, err)
	}
	g.Defer(h.Close)
	return h.Bytes(), nil
}

// verifier is what compares the result of a run.
type verifier = func(run func(n int) error) (result.Verification, error)

// becomes checks that a run makes y the same as x.
func (g *GPU) becomes(y, x cuda.Pointer, bytes uint64) verifier {
	return g.whole(y, bytes, func(bad cuda.Pointer) kernels.Launch { return kernels.Same(x, y, bytes/wordBytes, bad) })
}

// then runs something after the run.
func then(run func(n int) error, after func() error) func(n int) error {
	return func(n int) error { return errors.Join(run(n), after()) }
}

// all is the first verification that fails, or the last one.
func all(verifiers ...verifier) verifier {
	return func(run func(n int) error) (v result.Verification, err error) {
		for _, f := range verifiers {
			if v, err = f(run); err != nil || v.Err() != nil {
				break
			}
		}
		return v, err
	}
}

// arrays are random numbers on the device, room for as many, and host memory.
func (g *GPU) arrays(bytes uint64, pinned bool) (x, y cuda.Pointer, host []byte, err error) {
	if x, err = g.random(bytes); err != nil {
		return 0, 0, nil, err
	}
	if y, err = g.Alloc(bytes); err != nil {
		return 0, 0, nil, err
	}
	host, err = g.host(bytes, pinned)
	return x, y, host, err
}

// upwards copies from the host. What it should bring is random and on the device, too.
func (g *GPU) upwards(bytes uint64, pinned bool) (*Work, error) {
	x, y, host, err := g.arrays(bytes, pinned)
	if err == nil {
		err = errors.Join(g.Stream.CopyToHost(host, x), g.Stream.Synchronize())
	}
	if err != nil {
		return nil, err
	}
	w := &Work{Run: repeat(func() error { return g.Stream.CopyToDevice(y, host) }), Verify: g.becomes(y, x, bytes)}
	if !pinned {
		w.Before = alone
	}
	return w, nil
}

// downwards copies to the host; for the comparison it is taken back up.
func (g *GPU) downwards(bytes uint64, pinned bool) (*Work, error) {
	x, y, host, err := g.arrays(bytes, pinned)
	if err != nil {
		return nil, err
	}
	w := &Work{Run: repeat(func() error { return g.Stream.CopyToHost(host, x) }), Verify: g.broughtBack(y, x, host)}
	if !pinned {
		w.Before = alone
	}
	return w, nil
}

// broughtBack checks that a run puts x into host memory; y is room for the comparison.
func (g *GPU) broughtBack(y, x cuda.Pointer, host []byte) verifier {
	return func(run func(n int) error) (result.Verification, error) {
		clear(host)
		back := func() error { return g.Stream.CopyToDevice(y, host) }
		return g.becomes(y, x, uint64(len(host)))(then(run, back))
	}
}

// bothWays copies from and to the host at the same time, in two streams.
func (g *GPU) bothWays(bytes uint64) (*Work, error) {
	x, y, from, err := g.arrays(bytes, true)
	if err != nil {
		return nil, err
	}
	z, back, to, err := g.arrays(bytes, true)
	if err == nil {
		err = errors.Join(g.Stream.CopyToHost(from, x), g.Stream.Synchronize())
	}
	if err != nil {
		return nil, err
	}
	other, err := g.beside()
	if err != nil {
		return nil, err
	}
	return &Work{
		Run:    other.together(func() error { return g.Stream.CopyToDevice(y, from) }, func(s *cuda.Stream) error { return s.CopyToHost(to, z) }),
		Verify: all(g.becomes(y, x, bytes), g.broughtBack(back, z, to)),
	}, nil
}

// beside is a second stream that begins and ends with the first one.
type beside struct {
	g          *GPU
	stream     *cuda.Stream
	fork, join *cuda.Event
}

func (g *GPU) beside() (*beside, error) {
	b := &beside{g: g}
	var err error
	if b.stream, err = g.Driver.NewStream(cuda.StreamConfig{NonBlocking: true}); err != nil {
		return nil, err
	}
	g.Defer(b.stream.Close)
	for _, e := range []**cuda.Event{&b.fork, &b.join} {
		if *e, err = g.Driver.NewMark(); err != nil {
			return nil, err
		}
		g.Defer((*e).Close)
	}
	return b, nil
}

// together runs one in the first stream and two in the second.
func (b *beside) together(one func() error, two func(s *cuda.Stream) error) func(n int) error {
	return func(n int) error {
		if err := errors.Join(b.fork.Record(b.g.Stream), b.stream.Wait(b.fork)); err != nil {
			return err
		}
		for range n {
			if err := errors.Join(one(), two(b.stream)); err != nil {
				return err
			}
		}
		return errors.Join(b.join.Record(b.stream), b.g.Stream.Wait(b.join))
	}
}
