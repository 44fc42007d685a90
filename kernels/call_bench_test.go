package kernels

import (
	"errors"
	"testing"

	"github.com/warpscope/warpscope/cuda"
)

// BenchmarkLaunch is what stands between Go and the driver: the simulated one, whose own work for a launch is small and the same in
// all three. docs/adr/0003-purego-and-cgo.md quotes it.
func BenchmarkLaunch(b *testing.B) {
	d, err := cuda.Open("../cupti/sim/lib/libcuda.so.1")
	if err != nil {
		b.Skipf("the simulated device is not built (run make build): %v", err)
	}
	device, err := d.Device(0)
	if err != nil {
		b.Fatal(err)
	}
	c, err := device.PrimaryContext()
	if err != nil {
		b.Fatal(err)
	}
	l := Empty()
	err = c.Do(func() error {
		m, err := Latency().Load(d, device)
		if err != nil {
			return err
		}
		f, err := l.Prepare(m)
		if err != nil {
			return err
		}
		s, err := d.NewStream(cuda.StreamConfig{})
		if err != nil {
			return err
		}
		loop, err := l.Loop(s, f)
		if err != nil {
			return err
		}
		for _, way := range []struct {
			name string
			run  func(n int) error
		}{
			{"C loop", func(n int) error {
				_, err := loop.Run(n)
				return err
			}},
			{"cgo", func(n int) error {
				for range n {
					if _, err := loop.Run(1); err != nil {
						return err
					}
				}
				return nil
			}},
			{"purego", func(n int) error {
				for range n {
					if err := l.Run(s, f); err != nil {
						return err
					}
				}
				return nil
			}},
		} {
			b.Run(way.name, func(b *testing.B) {
				b.ReportAllocs()
				// A benchmark has a goroutine, and so a thread, of its own.
				err := c.Do(func() error {
					b.ResetTimer()
					err := way.run(b.N)
					b.StopTimer() // the kernels' own time is not what is asked for
					return errors.Join(err, s.Synchronize())
				})
				if err != nil {
					b.Fatal(err)
				}
			})
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
