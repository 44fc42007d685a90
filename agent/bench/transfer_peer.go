package bench

import (
	"errors"
	"fmt"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/cuda"
)

// peerCases are copies between this GPU and each other one.
func peerCases(g *GPU, o Options) ([]Case, error) {
	peers, err := g.peers()
	want := max(o.Bytes/wordBytes*wordBytes, wordBytes)
	if o.Bytes == 0 {
		want = peerBytes
	}
	bytes, note := g.Fit(want, 2)
	var cases []Case
	for _, device := range peers {
		for _, way := range []peerWay{toPeer, fromPeer, bothPeers} {
			moved := bytes
			if way == bothPeers {
				moved *= 2
			}
			c := transferCase(fmt.Sprintf("%s GPU %d", way, device.Ordinal()), note, bytes, moved, 2, func(g *GPU) (*Work, error) {
				return g.withPeer(device, way, bytes)
			})
			c.Row.Limit = "GPU link"
			cases = append(cases, c)
		}
	}
	return cases, err
}

// peerWay is where bytes go, seen from the GPU that is measured.
type peerWay string

const (
	toPeer    peerWay = "to"
	fromPeer  peerWay = "from"
	bothPeers peerWay = "both ways with"
)

// peers are the other GPUs.
func (g *GPU) peers() ([]cuda.Device, error) {
	n, err := g.Driver.DeviceCount()
	if err != nil {
		return nil, err
	}
	var peers []cuda.Device
	for i := range n {
		if i == g.Device.Ordinal() {
			continue
		}
		d, err := g.Driver.Device(i)
		if err != nil {
			return nil, err
		}
		peers = append(peers, d)
	}
	return peers, nil
}

// peer is another GPU's context, with memory of its own.
type peer struct {
	ctx    *cuda.Context
	memory [2]cuda.Pointer
	note   string
}

// peer makes another GPU ready until the case is over; the two reach each other directly where the hardware lets them.
func (g *GPU) peer(device cuda.Device, bytes uint64) (*peer, error) {
	p := &peer{}
	var err error
	if p.ctx, err = device.PrimaryContext(); err != nil {
		return nil, err
	}
	g.Defer(p.ctx.Close)
	to, err := g.Device.CanAccess(device)
	from, err2 := device.CanAccess(g.Device)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	if to && from {
		if err := g.Driver.EnablePeer(p.ctx); err != nil {
			return nil, err
		}
		g.Defer(func() error { return g.Driver.DisablePeer(p.ctx) })
	} else {
		p.note = "the GPUs cannot reach each other's memory: it goes through the host"
	}
	err = p.ctx.Do(func() error {
		if to && from {
			if err := g.Driver.EnablePeer(g.Context); err != nil {
				return err
			}
		}
		for i := range p.memory {
			if p.memory[i], err = g.Driver.Alloc(bytes); err != nil {
				return err
			}
		}
		return nil
	})
	g.Defer(func() error {
		return p.ctx.Do(func() error {
			err := errors.Join(g.Driver.Free(p.memory[0]), g.Driver.Free(p.memory[1]))
			if to && from {
				err = errors.Join(err, g.Driver.DisablePeer(g.Context))
			}
			return err
		})
	})
	return p, err
}

// withPeer copies to another GPU, from it, or both at once. What it should bring is random and on this GPU, too; for the comparison it
// is brought back.
func (g *GPU) withPeer(device cuda.Device, way peerWay, bytes uint64) (*Work, error) {
	x, err := g.random(bytes)
	if err != nil {
		return nil, err
	}
	y, err := g.Alloc(bytes)
	if err != nil {
		return nil, err
	}
	p, err := g.peer(device, bytes)
	if err != nil {
		return nil, err
	}
	there := p.memory
	to := func(s *cuda.Stream) error { return s.CopyPeer(there[0], p.ctx, x, g.Context, bytes) }
	from := func(s *cuda.Stream) error { return s.CopyPeer(y, g.Context, there[1], p.ctx, bytes) }
	w := &Work{After: func(r *result.Row) error {
		if p.note != "" {
			r.Notes = append(r.Notes, p.note)
		}
		return nil
	}}
	switch way {
	case toPeer:
		w.Run = repeat(func() error { return to(g.Stream) })
	case fromPeer:
		w.Run = repeat(func() error { return from(g.Stream) })
	default:
		other, err := g.beside()
		if err != nil {
			return nil, err
		}
		w.Run = other.together(func() error { return to(g.Stream) }, from)
	}
	arrives := g.becomes(y, x, bytes)
	// What lies there is poisoned, then brought back after the run.
	lies := func(run func(n int) error) (result.Verification, error) {
		err := p.ctx.Do(func() error {
			return errors.Join(g.Driver.Set8(there[0], poisonByte, bytes), g.Driver.Synchronize())
		})
		if err != nil {
			return result.Verification{}, err
		}
		return arrives(then(run, func() error { return g.Stream.CopyPeer(y, g.Context, there[0], p.ctx, bytes) }))
	}
	w.Verify = map[peerWay]verifier{toPeer: lies, fromPeer: arrives, bothPeers: all(arrives, lies)}[way]
	return w, errors.Join(g.Stream.CopyPeer(there[1], p.ctx, x, g.Context, bytes), g.Stream.Synchronize())
}
