package session

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/warpscope/warpscope/agent/collect"
	"github.com/warpscope/warpscope/agent/python"
)

// pythonHook is the Python module in the program's environment, and the folder where it leaves what
// PyTorch's memory held when it ran out, until the trace has its name.
type pythonHook struct {
	folder string // of the module; "": there is none
	drop   string // of the module's files
}

// newPythonHook makes the module ready. Failing leaves a hook that does nothing: the rest of the
// capture needs no Python.
func newPythonHook(environ []string, trace string) (*pythonHook, error) {
	h := &pythonHook{}
	folder, err := pythonModule(environ)
	if err != nil {
		return h, err
	}
	if info, err := os.Stat(trace); err != nil || !info.Mode().IsRegular() {
		h.folder = folder // nowhere to leave files: a pipe, a device
		return h, nil
	}
	beside, err := filepath.Abs(filepath.Dir(trace))
	if err != nil {
		return h, fmt.Errorf("find the trace's folder: %w", err)
	}
	if h.drop, err = os.MkdirTemp(beside, ".warpscope-python-"); err != nil {
		return h, fmt.Errorf("make a folder for the Python module: %w", err)
	}
	h.folder = folder
	return h, nil
}

// FailureSnapshot says whether a snapshot of Result.Snapshots was made when memory ran out.
func FailureSnapshot(path string) bool { return strings.Contains(filepath.Base(path), ".oom-") }

// environ returns the environment in which Python finds the module, and what it is to do.
func (h *pythonHook) environ(environ []string, c *Config) []string {
	if h.folder == "" {
		return environ
	}
	path := h.folder
	if before, _ := lookup(environ, python.Path); before != "" {
		path += string(os.PathListSeparator) + before
	}
	environ = with(environ, python.Path, path)
	switch {
	case c.MemoryHistory:
		environ = with(environ, python.AllocStacks, python.History)
	case c.AllocStacks != "":
		environ = with(environ, python.AllocStacks, c.AllocStacks)
	}
	switch {
	case c.StackRate < 0 || c.Mode == collect.Ledger: // what Python did while the GPU was idle takes a timeline
		environ = with(environ, python.Sampling, python.SamplingOff)
	case c.StackRate > 0:
		environ = with(environ, python.Sampling, strconv.FormatFloat(c.StackRate, 'f', -1, 64))
	}
	if c.NoOperators || c.Budget > 0 { // a budget's windows are not to measure sampled steps
		environ = with(environ, python.Operators, python.OperatorsOff)
	}
	if h.drop == "" {
		return environ
	}
	return with(environ, python.Out, filepath.Join(h.drop, "python"))
}

// collect moves what the module has left to names beside the trace, and returns those of the memory
// snapshots.
func (h *pythonHook) collect(trace string) (snapshots []string, err error) {
	if h.drop == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(h.drop)
	if err != nil {
		return nil, fmt.Errorf("read what the Python module left: %w", err)
	}
	stem := strings.TrimSuffix(trace, ".wscope")
	var errs []error
	for _, entry := range entries {
		to := stem + strings.TrimPrefix(entry.Name(), "python")
		if err := os.Rename(filepath.Join(h.drop, entry.Name()), to); err != nil {
			errs = append(errs, err)
			continue
		}
		if strings.HasSuffix(to, ".pickle") {
			snapshots = append(snapshots, to)
		}
	}
	errs = append(errs, h.close())
	return snapshots, errors.Join(errs...)
}

// close removes the folder, if nothing is in it that could not be moved.
func (h *pythonHook) close() error {
	if h.drop == "" {
		return nil
	}
	err := os.Remove(h.drop)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	h.drop = ""
	return err
}
