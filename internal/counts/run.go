// Package counts compares what `warpscope inspect --json` says of a trace with an independent count of
// the same program: one written by the program itself, or by torch.profiler in a run of its own.
//
//	counts [-nodes] [-times N] INSPECTION.json COUNT.json
//
// It owns the comparison that `make verify`, the end-to-end tests and the GPU tests share. It sees
// warpscope only through the JSON it prints, never through its packages. Its command is
// cmd/counts; internal/e2e imports it too.
package counts

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
)

// Run compares the two files that args name, and returns the exit status: 0 all equal, 1 something
// differs, 2 usage or unreadable files.
func Run(args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("counts", flag.ContinueOnError)
	flags.SetOutput(errs)
	nodes := flags.Bool("nodes", false, "graphs were traced node by node: their nodes are kernels, their launches are not recorded")
	times := flags.Uint64("times", 1, "the program ran this many times under the trace")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() != 2 {
		fmt.Fprintln(errs, "usage: counts [-nodes] [-times N] INSPECTION.json COUNT.json")
		return 2
	}
	var traced inspection
	var counted count
	if err := load(flags.Arg(0), &traced); err != nil {
		fmt.Fprintln(errs, "counts:", err)
		return 2
	}
	if err := load(flags.Arg(1), &counted); err != nil {
		fmt.Fprintln(errs, "counts:", err)
		return 2
	}
	counted.multiply(*times)
	if *nodes {
		counted.expandGraphs()
	}
	rows := compare(&traced, &counted)
	equal := true
	for _, row := range rows {
		verdict := "equal"
		if !row.equal() {
			verdict, equal = "DIFFERS", false
		}
		fmt.Fprintf(out, "%-8s %-44s traced %14d   counted %14d\n", verdict, row.what, row.traced, row.counted)
	}
	if len(rows) == 0 {
		fmt.Fprintln(errs, "counts: the two files have nothing to compare")
		return 2
	}
	if !equal {
		return 1
	}
	return 0
}

func load(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
