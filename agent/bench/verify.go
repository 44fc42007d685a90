package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/cuda"
	"github.com/warpscope/warpscope/kernels"
)

// poisonByte fills results before they are computed: floats of it are NaN, integers are -1.
const poisonByte = 0xff

// poison fills memory with what no right result contains.
func (g *GPU) poison(p cuda.Pointer, bytes uint64) error { return g.Stream.Set8(p, poisonByte, bytes) }

// zero fills memory with zeros.
func (g *GPU) zero(p cuda.Pointer, bytes uint64) error { return g.Stream.Set8(p, 0, bytes) }

// fill writes fresh random numbers.
func (g *GPU) fill(e kernels.Element, p cuda.Pointer, n uint64, deviation float32) error {
	return g.Do(kernels.Verify(), kernels.Fill(e, p, int(n), g.Seed(), deviation))
}

// random takes memory and fills it with fresh random floats, or whatever their bits mean.
func (g *GPU) random(bytes uint64) (cuda.Pointer, error) {
	p, err := g.Alloc(bytes)
	if err == nil {
		err = g.fill(kernels.Float32, p, bytes/4, 1)
	}
	return p, err
}

func (g *GPU) word(p cuda.Pointer) (uint32, error) {
	var b [4]byte
	err := errors.Join(g.Stream.Synchronize(), g.Driver.CopyToHost(b[:], p))
	return binary.LittleEndian.Uint32(b[:]), err
}

func (g *GPU) doubles(p cuda.Pointer, n int) ([]float64, error) {
	b, out := make([]byte, 8*n), make([]float64, n)
	err := errors.Join(g.Stream.Synchronize(), g.Driver.CopyToHost(b, p))
	for i := range out {
		out[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return out, err
}

// upload takes memory for numbers and puts them there.
func (g *GPU) upload(values []uint32) (cuda.Pointer, error) {
	b := make([]byte, 4*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint32(b[4*i:], v)
	}
	p, err := g.Alloc(uint64(len(b)))
	if err == nil {
		err = g.Driver.CopyToDevice(p, b)
	}
	return p, err
}

// exactly judges a number that must be right to the bit.
func exactly(method string, got, want uint32) result.Verification {
	v := result.Verification{Method: method}
	if got != want {
		v.Error = 1
	}
	return v
}

// summed checks a kernel that adds up what it reads: sum is where, want what one run must give.
func (g *GPU) summed(sum cuda.Pointer, want uint32, method string) func(run func(int) error) (result.Verification, error) {
	return func(run func(int) error) (result.Verification, error) {
		if err := errors.Join(g.zero(sum, 4), g.Once(run)); err != nil {
			return result.Verification{}, err
		}
		got, err := g.word(sum)
		return exactly(method, got, want), err
	}
}

// whole checks every word of a result of so many bytes: check counts the wrong ones into a u64. What is poisoned must not pass: else the
// check itself does nothing.
func (g *GPU) whole(at cuda.Pointer, bytes uint64, check func(bad cuda.Pointer) kernels.Launch) func(run func(int) error) (result.Verification, error) {
	return func(run func(int) error) (result.Verification, error) {
		words := bytes / wordBytes
		v := result.Verification{Method: "every word"}
		bad, err := g.Alloc(8)
		if err == nil {
			err = g.poison(at, bytes)
		}
		if err != nil {
			return v, err
		}
		control, err := g.wrong(bad, check)
		if err != nil {
			return v, err
		}
		if control < words/2 {
			return v, fmt.Errorf("the check finds %d of %d poisoned words wrong", control, words)
		}
		if err := g.Once(run); err != nil {
			return v, err
		}
		n, err := g.wrong(bad, check)
		v.Error = result.Distance(float64(n) / float64(words))
		return v, err
	}
}

// wrong runs a check that counts into a u64.
func (g *GPU) wrong(bad cuda.Pointer, check func(bad cuda.Pointer) kernels.Launch) (uint64, error) {
	if err := errors.Join(g.zero(bad, 8), g.Do(kernels.Verify(), check(bad))); err != nil {
		return 0, err
	}
	var b [8]byte
	err := g.Driver.CopyToHost(b[:], bad)
	return binary.LittleEndian.Uint64(b[:]), err
}
