package device

import (
	"errors"
	"fmt"
	"time"

	"github.com/warpscope/warpscope/agent/event"
)

// ErrUnavailable is returned where there is no usable NVML: no driver, no GPU, or a driver that
// does not answer.
var ErrUnavailable = errors.New("no NVML")

// notAvailable stands for a value that NVML did not give.
const notAvailable = -1

// openLimit bounds how long NVML may take to come up. A driver without persistence mode needs up
// to some seconds for a machine full of GPUs; one that hangs must not keep the program waiting.
const openLimit = 10 * time.Second

// System is an open connection to the machine's GPUs. Its methods are not safe for concurrent use.
type System struct {
	driver  driver
	version string
	gpus    []gpu
	defined []event.GPU
}

// driver is what this package needs of NVML as a whole, so that tests can stand in for it.
type driver interface {
	// open connects and lists the GPUs, MIG instances after the GPU they are part of.
	open() ([]gpu, error)
	// version is the driver's, "" if unknown.
	version() string
	close() error
}

// gpu is what this package needs of one GPU, or of one MIG instance. Nothing here fails: what is
// not available is -1 or missing.
type gpu interface {
	describe() event.GPU
	read() reading
	// processes appends what each process uses of this GPU's memory.
	processes(to []usage) []usage
	// monitor watches what its units do; the error says in a few words why that cannot be.
	monitor() (monitor, error)
	// powerLimits are the power that it may take now, and the one it is made for, in mW.
	powerLimits() (now, usual int64)
}

// reading is one look at a GPU, in the units of event.GPUSamples.
type reading struct {
	used, reserved              int64
	utilization, memoryActivity int32
	smClock, memoryClock        int32
	power, temperature          int32
	throttle                    int64
}

// usage is what one process has of one GPU's memory, in bytes.
type usage struct {
	pid   int32
	bytes int64
}

// Open connects to NVML. Its error wraps ErrUnavailable and says in one sentence what is missing.
func Open() (*System, error) {
	return open(newNVML(), openLimit)
}

func open(d driver, limit time.Duration) (*System, error) {
	type opened struct {
		gpus []gpu
		err  error
	}
	done := make(chan opened, 1)
	go func() {
		gpus, err := d.open()
		done <- opened{gpus, err}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case o := <-done:
		if o.err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, o.err)
		}
		s := &System{driver: d, version: d.version(), gpus: o.gpus}
		for _, g := range o.gpus {
			s.defined = append(s.defined, g.describe())
		}
		return s, nil
	case <-timer.C:
		return nil, fmt.Errorf("%w: the driver did not answer within %v", ErrUnavailable, limit)
	}
}

// Driver returns the driver's version, such as "580.159.04"; "" if unknown.
func (s *System) Driver() string { return s.version }

// GPUs returns the GPUs in NVML's order, each MIG instance after its GPU (with Index -1).
func (s *System) GPUs() []event.GPU { return s.defined }

// Close ends the connection. No Sampler may be running.
func (s *System) Close() error { return s.driver.close() }
