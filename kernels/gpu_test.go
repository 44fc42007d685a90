package kernels

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"testing"

	"github.com/warpscope/warpscope/cuda"
)

// bench is a GPU with the demo's kernels and some memory.
type bench struct {
	t      *testing.T
	d      *cuda.Driver
	stream *cuda.Stream
	module *cuda.Module
}

// upload puts floats on the device, until the context goes.
func (b *bench) upload(values []float32) cuda.Pointer {
	b.t.Helper()
	bytes := make([]byte, 4*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint32(bytes[4*i:], math.Float32bits(v))
	}
	p, err := b.d.Alloc(uint64(len(bytes)))
	if err == nil {
		err = b.d.CopyToDevice(p, bytes)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// run launches a kernel and waits for it.
func (b *bench) run(l Launch) {
	b.t.Helper()
	f, err := b.module.Function(l.Kernel)
	if err == nil {
		err = errors.Join(l.Run(b.stream, f), b.stream.Synchronize())
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// same compares the device's floats with what they should be.
func (b *bench) same(what string, p cuda.Pointer, want []float32) {
	b.t.Helper()
	bytes := make([]byte, 4*len(want))
	if err := b.d.CopyToHost(bytes, p); err != nil {
		b.t.Fatal(err)
	}
	for i, w := range want {
		got := math.Float32frombits(binary.LittleEndian.Uint32(bytes[4*i:]))
		if diff := math.Abs(float64(got - w)); !(diff <= 1e-4*math.Max(1, math.Abs(float64(w)))) {
			b.t.Errorf("%s: element %d is %g, want %g", what, i, got, w)
			return
		}
	}
}

// ramp makes n different small floats.
func ramp(n int, scale float64) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(scale * math.Sin(float64(i)+0.3))
	}
	return out
}

// gpu opens the first GPU. With WARPSCOPE_REQUIRE=gpu the lack of one is a failure.
func gpu(t *testing.T) (*cuda.Driver, cuda.Device) {
	t.Helper()
	d, err := cuda.Open("")
	if err == nil && d.Simulated() {
		err = errors.New("LD_LIBRARY_PATH leads to the simulated device")
	}
	if err != nil {
		if os.Getenv("WARPSCOPE_REQUIRE") == "gpu" {
			t.Fatalf("a GPU is required: %v", err)
		}
		t.Skipf("needs an NVIDIA GPU: %v", err)
	}
	device, err := d.Device(0)
	if err != nil {
		t.Fatal(err)
	}
	return d, device
}

// TestKernelsComputeWhatTheySay compares every kernel of the demo with the same computation in Go, on sizes that fill no
// block evenly.
func TestKernelsComputeWhatTheySay(t *testing.T) {
	d, device := gpu(t)
	major, minor, err := device.ComputeCapability()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := Demo().Manifest()
	if err != nil {
		t.Fatal(err)
	}
	selected, _, err := Demo().Select(major, minor)
	if err != nil {
		t.Fatal(err)
	}
	c, err := device.PrimaryContext()
	if err != nil {
		t.Fatal(err)
	}
	// The image that the demo takes, and the PTX, which the driver compiles.
	for _, i := range manifest.Images {
		if i.File != selected.File && i.Kind != "ptx" {
			continue
		}
		t.Run(i.File, func(t *testing.T) {
			image, err := images.ReadFile("images/" + i.File)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Do(func() error { return compute(t, d, image) }); err != nil {
				t.Fatal(err)
			}
		})
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func compute(t *testing.T, d *cuda.Driver, image []byte) error {
	module, err := d.LoadModule(image)
	if err != nil {
		return err
	}
	stream, err := d.NewStream(cuda.StreamConfig{})
	if err != nil {
		return err
	}
	b := &bench{t: t, d: d, stream: stream, module: module}
	b.saxpy()
	b.matmul()
	b.layerNorm()
	b.loss()
	b.adamW()
	return errors.Join(stream.Close(), module.Close())
}

func (b *bench) saxpy() {
	const n = 1000
	x, y := ramp(n, 1), ramp(n, 2)
	px, py := b.upload(x), b.upload(y)
	b.run(Saxpy(n, 3, px, py))
	for i := range y {
		y[i] += 3 * x[i]
	}
	b.same("saxpy", py, y)
}

func (b *bench) matmul() {
	const m, n, k = 19, 35, 23
	a, right := ramp(m*k, 1), ramp(k*n, 1)
	want, flipped := make([]float32, m*n), make([]float32, n*k)
	for i := range m {
		for j := range n {
			for l := range k {
				want[i*n+j] += a[i*k+l] * right[l*n+j]
				flipped[j*k+l] = right[l*n+j]
			}
		}
	}
	c := b.upload(make([]float32, m*n))
	b.run(Matmul(m, n, k, false, b.upload(a), b.upload(right), c))
	b.same("matmul", c, want)
	c = b.upload(make([]float32, m*n))
	b.run(Matmul(m, n, k, true, b.upload(a), b.upload(flipped), c))
	b.same("matmul with the transpose", c, want)
	turned := make([]float32, k*m)
	for i := range m {
		for l := range k {
			turned[l*m+i] = a[i*k+l]
		}
	}
	c = b.upload(make([]float32, m*n))
	b.run(MatmulGrad(m, n, k, b.upload(turned), b.upload(right), c))
	b.same("gradient of a matmul", c, want)
}

func (b *bench) layerNorm() {
	const rows, columns = 7, 300
	x := ramp(rows*columns, 5)
	want := make([]float32, len(x))
	for r := range rows {
		row := x[r*columns : (r+1)*columns]
		mean, square := 0.0, 0.0
		for _, v := range row {
			mean += float64(v) / columns
			square += float64(v) * float64(v) / columns
		}
		for i, v := range row {
			want[r*columns+i] = float32((float64(v) - mean) / math.Sqrt(square-mean*mean+1e-5))
		}
	}
	y := b.upload(make([]float32, len(x)))
	b.run(LayerNorm(rows, columns, b.upload(x), y))
	b.same("layer norm", y, want)
}

func (b *bench) loss() {
	const n = 777
	y, target := ramp(n, 1), ramp(n, 3)
	want, sum := make([]float32, n), 0.0
	for i := range want {
		d := float64(y[i] - target[i])
		want[i] = float32(2 * d / n)
		sum += d * d / n
	}
	gradient, loss := b.upload(make([]float32, n)), b.upload([]float32{0})
	b.run(Loss(n, b.upload(y), b.upload(target), gradient, loss))
	b.same("gradient of the loss", gradient, want)
	b.same("loss", loss, []float32{float32(sum)})
}

func (b *bench) adamW() {
	const n, rate, step = 300, 0.1, 3
	g, m, v, w := ramp(n, 1), ramp(n, 0.5), make([]float32, n), ramp(n, 2)
	for i := range v {
		v[i] = 0.1 + m[i]*m[i]
	}
	pm, pv, pw := b.upload(m), b.upload(v), b.upload(w)
	b.run(AdamW(n, rate, step, b.upload(g), pm, pv, pw))
	for i := range w {
		first, second := 0.9*float64(m[i])+0.1*float64(g[i]), 0.999*float64(v[i])+0.001*float64(g[i])*float64(g[i])
		change := first / (1 - math.Pow(0.9, step)) / (math.Sqrt(second/(1-math.Pow(0.999, step))) + 1e-8)
		m[i], v[i] = float32(first), float32(second)
		w[i] -= float32(rate * (change + 0.01*float64(w[i])))
	}
	b.same("first moment", pm, m)
	b.same("second moment", pv, v)
	b.same("weight", pw, w)
}
