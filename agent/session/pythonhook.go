package session

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/warpscope/warpscope/agent/collect"
	"github.com/warpscope/warpscope/agent/python"
)

// pythonHook is the Python module in the program's environment, and where it leaves what PyTorch's
// memory held when it ran out, until the trace has its name.
type pythonHook struct {
	folder string // of the module; "": there is none
	stem   string // of the module's files, beside the trace; nothing is there before the module writes
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
	h.stem = filepath.Join(beside, ".warpscope-python-"+rand.Text())
	h.folder = folder
	return h, nil
}

// FailureSnapshot says whether a snapshot of Result.Snapshots was made when memory ran out.
func FailureSnapshot(path string) bool { return strings.Contains(filepath.Base(path), ".oom-") }

// stepSnapshot returns the step after which a snapshot was made because it was asked for.
func stepSnapshot(path string) (step string, ok bool) {
	_, name, ok := strings.Cut(filepath.Base(path), ".step-")
	if !ok {
		return "", false
	}
	_, step, _ = strings.Cut(strings.TrimSuffix(name, ".pickle"), "-")
	return step, true
}

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
	if h.stem == "" {
		return environ
	}
	if len(c.SnapshotSteps) > 0 {
		environ = with(environ, python.SnapshotSteps, strings.Trim(strings.ReplaceAll(fmt.Sprint(c.SnapshotSteps), " ", ","), "[]"))
	}
	return with(environ, python.Out, h.stem)
}

// collect moves what the module has left to names beside the trace, and returns those of the memory
// snapshots.
func (h *pythonHook) collect(trace string) (snapshots []string, err error) {
	if h.stem == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(filepath.Dir(h.stem))
	if err != nil {
		return nil, fmt.Errorf("read what the Python module left: %w", err)
	}
	stem, own := strings.TrimSuffix(trace, ".wscope"), filepath.Base(h.stem)+"."
	var errs []error
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), own) {
			continue
		}
		to := stem + strings.TrimPrefix(entry.Name(), filepath.Base(h.stem))
		if err := os.Rename(filepath.Join(filepath.Dir(h.stem), entry.Name()), to); err != nil {
			errs = append(errs, err)
			continue
		}
		if strings.HasSuffix(to, ".pickle") {
			snapshots = append(snapshots, to)
		}
	}
	return snapshots, errors.Join(errs...)
}
