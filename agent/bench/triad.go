package bench

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/cuda"
	"github.com/warpscope/warpscope/kernels"
)

// stretches are how many pieces of a result the host computes itself, and their length in floats.
const (
	stretches     = 64
	stretchFloats = 1024
)

// triadFactor is the factor of a = b + factor * c.
const triadFactor = 3

func (g *GPU) triad(s kernels.Streams, bytes uint64) (*Work, error) {
	b, err := g.random(bytes)
	if err != nil {
		return nil, err
	}
	c, err := g.random(bytes)
	if err != nil {
		return nil, err
	}
	a, err := g.Alloc(bytes)
	if err != nil {
		return nil, err
	}
	run, err := g.Runs(kernels.Memory(), s.Triad(b, c, a, bytes/wordBytes, triadFactor))
	return &Work{Run: run, Verify: func(run func(int) error) (result.Verification, error) {
		if err := errors.Join(g.poison(a, bytes), g.Once(run)); err != nil {
			return result.Verification{}, err
		}
		return g.pieces(bytes/4, a, []cuda.Pointer{b, c}, 1e-6, func(in []float32) float64 {
			return float64(in[0]) + triadFactor*float64(in[1])
		})
	}}, err
}

// pieces compares stretches of n floats at out, spread evenly and with both ends, with what the host computes of the inputs.
func (g *GPU) pieces(n uint64, out cuda.Pointer, inputs []cuda.Pointer, allowed float64, f func(in []float32) float64) (result.Verification, error) {
	v := result.Verification{Method: "stretches of the result, computed by the host", Allowed: result.Distance(allowed)}
	length := min(n, stretchFloats)
	distance, norm := 0.0, 0.0
	got, in := make([]float32, length), make([][]float32, len(inputs))
	for i := range in {
		in[i] = make([]float32, length)
	}
	element := make([]float32, len(inputs))
	for piece := range uint64(stretches) {
		from := (n - length) / (stretches - 1) * piece
		if piece == stretches-1 {
			from = n - length
		}
		err := g.floats(got, out+cuda.Pointer(4*from))
		for i, p := range inputs {
			err = errors.Join(err, g.floats(in[i], p+cuda.Pointer(4*from)))
		}
		if err != nil {
			return v, err
		}
		for i, y := range got {
			for j := range in {
				element[j] = in[j][i]
			}
			want := f(element)
			if math.IsNaN(float64(y)) || math.IsInf(float64(y), 0) {
				v.Bad++
				continue
			}
			distance += (float64(y) - want) * (float64(y) - want)
			norm += want * want
		}
	}
	v.Error = result.Distance(math.Sqrt(distance / norm))
	return v, nil
}

// floats reads floats from the device.
func (g *GPU) floats(to []float32, from cuda.Pointer) error {
	b := make([]byte, 4*len(to))
	if err := g.Driver.CopyToHost(b, from); err != nil {
		return err
	}
	for i := range to {
		to[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return nil
}
