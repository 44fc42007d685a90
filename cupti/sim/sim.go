// Package sim carries the simulated device, stand-ins for libcuda and libcupti, inside the agent's binary.
//
// It owns the embedded libraries and their extraction to a folder that the caller names. It never
// loads them, and it never decides that a simulated device is good enough: the demo does, and says
// so. The C sources lie beside it in driver/ (libcuda.so.1) and tracer/ (libcupti.so.13); every trace
// made on them is marked as simulated. Imported by agent/cli for the demo and by tests.
package sim

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrNotBuilt is returned by an agent that was built without the simulated device.
var ErrNotBuilt = errors.New("this warpscope was built without the simulated device (build it with make build)")

// DriverName and TracerName are the file names under which programs look for the two libraries.
const (
	DriverName = "libcuda.so.1"
	TracerName = "libcupti.so.13"
)

// The pattern also matches a text file, so that the package compiles where nothing was built yet.
//
//go:embed lib/lib*
var files embed.FS

// Libraries returns the bytes of the two libraries, or ErrNotBuilt.
func Libraries() (driver, tracer []byte, err error) {
	driver, err = files.ReadFile("lib/" + DriverName)
	if err != nil || len(driver) == 0 {
		return nil, nil, ErrNotBuilt
	}
	tracer, err = files.ReadFile("lib/" + TracerName)
	if err != nil || len(tracer) == 0 {
		return nil, nil, ErrNotBuilt
	}
	return driver, tracer, nil
}

// Extract writes both libraries into a folder of their own below base, named after their content, and
// returns the path of libcuda.so.1. The tracer lies beside it, where the driver looks for it. What
// is there already with the right content is left alone, so that processes may share it.
func Extract(base string) (string, error) {
	driver, tracer, err := Libraries()
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	sum.Write(driver)
	sum.Write(tracer)
	folder := filepath.Join(base, "sim-"+hex.EncodeToString(sum.Sum(nil))[:16])
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", fmt.Errorf("extract the simulated device: %w", err)
	}
	if err := place(filepath.Join(folder, TracerName), tracer); err != nil {
		return "", err
	}
	path := filepath.Join(folder, DriverName)
	return path, place(path, driver)
}

// place writes a file whole or not at all: another process may be loading it.
func place(path string, content []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("extract the simulated device: %w", err)
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(0o700), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("extract the simulated device: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
