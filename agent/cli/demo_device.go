package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/warpscope/warpscope/cuda"
	"github.com/warpscope/warpscope/cupti/sim"
)

// probe says which GPU there is. A simulated driver on the library path is none.
func probe(env *Env) error {
	d, err := cuda.Open("")
	if err != nil {
		return fmt.Errorf("there is no usable GPU: %w", err)
	}
	if d.Simulated() {
		return errors.New("there is no usable GPU: LD_LIBRARY_PATH leads to the simulated device")
	}
	v, err := d.Device(0)
	if err != nil {
		return fmt.Errorf("there is no usable GPU: %w", err)
	}
	name, err := v.Name()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(env.Stdout, name)
	return err
}

// openDevice opens the driver that --device asks for. What release does is to be done last.
func openDevice(env *Env, choice string) (d *cuda.Driver, release func(), err error) {
	if choice != "sim" {
		d, err = cuda.Open("")
		switch {
		case err == nil && d.Simulated() && choice == "gpu":
			return nil, nil, errors.New("--device gpu: LD_LIBRARY_PATH leads to the simulated device")
		case err == nil:
			if d.Simulated() {
				tellSimulated(env, "LD_LIBRARY_PATH leads to it")
			}
			return d, func() {}, nil
		case choice == "gpu":
			return nil, nil, fmt.Errorf("--device gpu: %w", err)
		}
	}
	why := "it was asked for"
	if err != nil {
		why = "no usable GPU: " + shortReason(err)
	}
	path, release, err := extractSimulated(env)
	if err != nil {
		return nil, nil, err
	}
	d, err = cuda.Open(path)
	if err != nil {
		release()
		return nil, nil, fmt.Errorf("open the simulated device: %w", err)
	}
	tellSimulated(env, why)
	return d, release, nil
}

func tellSimulated(env *Env, why string) {
	fmt.Fprintf(env.Stderr, "warpscope: this runs on the simulated device (%s): no kernel computes anything, no time says anything about a GPU\n", oneLine(why))
}

// shortReason leaves out the advice of a missing driver: the demo goes on without.
func shortReason(err error) string {
	if errors.Is(err, cuda.ErrNoDriver) {
		return "there is no CUDA driver"
	}
	return err.Error()
}

// extractSimulated writes the simulated libraries to the user's cache and returns the driver's path; where there is no
// such place, to a folder that release removes.
func extractSimulated(env *Env) (path string, release func(), err error) {
	var failures []error
	for _, place := range []struct{ base, below string }{
		{env.Getenv("XDG_CACHE_HOME"), "warpscope"}, {env.Getenv("HOME"), ".cache/warpscope"},
	} {
		if !filepath.IsAbs(place.base) {
			continue
		}
		path, err := sim.Extract(filepath.Join(place.base, place.below))
		if err == nil {
			return path, func() {}, nil
		}
		if errors.Is(err, sim.ErrNotBuilt) {
			return "", nil, err
		}
		failures = append(failures, err)
	}
	folder, err := os.MkdirTemp("", "warpscope-sim-")
	if err != nil {
		return "", nil, errors.Join(append(failures, err)...)
	}
	release = func() { _ = os.RemoveAll(folder) } // a leftover in the temporary folder harms nobody
	if path, err = sim.Extract(folder); err != nil {
		release()
		return "", nil, errors.Join(append(failures, err)...)
	}
	return path, release, nil
}
