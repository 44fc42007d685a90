package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/warpscope/warpscope/agent/bench"
	"github.com/warpscope/warpscope/agent/report"
	"github.com/warpscope/warpscope/cuda"
)

// openBench opens the driver; a choice of "sim" is the simulated device, on which every row fails.
func openBench(env *Env, choice string) (d *cuda.Driver, release func(), err error) {
	if choice == "sim" {
		return openDevice(env, choice)
	}
	d, err = cuda.Open("")
	if err != nil {
		return nil, nil, fmt.Errorf("there is no GPU to measure: %s; warpscope bench --sample shows the bundled result of an H100", shortReason(err))
	}
	if d.Simulated() {
		return nil, nil, errors.New("there is no GPU to measure: LD_LIBRARY_PATH leads to the simulated device; warpscope bench --sample shows the bundled result of an H100")
	}
	return d, func() {}, nil
}

// chooseDevice finds the GPU that --device names.
func chooseDevice(d *cuda.Driver, choice string) (cuda.Device, error) {
	n, err := d.DeviceCount()
	if err != nil {
		return cuda.Device{}, err
	}
	if choice == "sim" {
		choice = "0"
	}
	if i, err := strconv.Atoi(choice); err == nil {
		if i < 0 || i >= n {
			return cuda.Device{}, usagef("--device %s: CUDA shows GPUs 0 to %d", choice, n-1)
		}
		return d.Device(i)
	}
	var found []cuda.Device
	for i := range n {
		v, err := d.Device(i)
		if err != nil {
			return cuda.Device{}, err
		}
		uuid, err := v.UUID()
		if err != nil {
			return cuda.Device{}, err
		}
		if strings.HasPrefix(strings.ToLower(uuid.String()), strings.ToLower(choice)) && len(choice) >= len("GPU-12345678") {
			found = append(found, v)
		}
	}
	if len(found) != 1 {
		return cuda.Device{}, usagef("--device %q: give a number from 0 to %d, or a UUID as nvidia-smi -L shows it", choice, n-1)
	}
	return found[0], nil
}

// bar says on a terminal how far a run has come.
type bar struct {
	env     *Env
	on      bool
	columns int
	began   time.Time
}

func newBar(env *Env) *bar {
	b := &bar{env: env, began: env.Now()}
	if env.Terminal != nil {
		b.columns, b.on = env.Terminal(env.Stderr)
	}
	return b
}

// barCells is the length of the bar.
const barCells = 24

func (b *bar) show(p bench.Progress) {
	if !b.on {
		return
	}
	full := barCells * p.Done / max(p.Of, 1)
	line := fmt.Sprintf("[%s%s] %d/%d %.0f s  %s: %s %s", strings.Repeat("█", full), strings.Repeat("·", barCells-full), p.Done, p.Of,
		b.env.Now().Sub(b.began).Seconds(), p.Row.Suite, p.Row.What, p.Row.Shape)
	if b.columns > 0 { // a line that wraps cannot be wiped out
		line = report.Cut(line, b.columns-1)
	}
	fmt.Fprint(b.env.Stderr, "\r\x1b[K"+line)
}

func (b *bar) end() {
	if b.on {
		fmt.Fprint(b.env.Stderr, "\r\x1b[K")
	}
}
