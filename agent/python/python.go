// Package python carries the small Python module that runs inside traced Python programs: steps of the
// optimizer, pauses of the garbage collector, waits for input, stacks, operators, and PyTorch's memory when it runs out.
//
// It owns the module's files and the names of the variables that they read; it never runs Python and
// writes nothing to disk. agent/session imports it and puts the files where Python finds them.
package python

import (
	"embed"
	"io/fs"
)

// Variables that the module reads in the traced program.
const (
	// Path is where Python looks for modules first; the folder of the files goes in front.
	Path = "PYTHONPATH"
	// Off turns the module off when it is not empty.
	Off = "WARPSCOPE_NO_PYTHON"
	// Out is the stem of the files that hold PyTorch's memory at the moment it ran out; "": none.
	Out = "WARPSCOPE_PYTHON_OUT"
	// AllocStacks says in which steps allocations have Python stacks: "first" (the default), "all", "none";
	// History: all of them, with each allocation in the snapshot, and a snapshot at the program's end.
	AllocStacks = "WARPSCOPE_ALLOC_STACKS"
	History     = "history"
	// SnapshotSteps are the steps of the optimizer after which a snapshot is left, separated by commas; "": none.
	SnapshotSteps = "WARPSCOPE_SNAPSHOT_STEPS"
	// Sampling is how many samples of stacks a second are taken, as a number, or SamplingOff; "": the module's default.
	Sampling    = "WARPSCOPE_PYTHON_SAMPLING"
	SamplingOff = "off"
	// Operators leaves operators, modules and regions out of sampled steps when it is OperatorsOff.
	Operators    = "WARPSCOPE_OPERATORS"
	OperatorsOff = "off"
)

//go:embed site/*.py
var site embed.FS

// Files returns the module's files by name; they lie beside each other in one folder.
func Files() (map[string][]byte, error) {
	names, err := fs.Glob(site, "site/*.py")
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte, len(names))
	for _, name := range names {
		data, err := site.ReadFile(name)
		if err != nil {
			return nil, err
		}
		files[name[len("site/"):]] = data
	}
	return files, nil
}
