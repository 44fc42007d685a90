package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/warpscope/warpscope/agent/examples"
	"github.com/warpscope/warpscope/agent/report"
)

// runExample diagnoses a bundled case.
func (f *doctorFlags) runExample(i *inspection) error {
	if f.example == "?" {
		return listExamples(i)
	}
	folder, err := os.MkdirTemp("", "warpscope-example-")
	if err != nil {
		return fmt.Errorf("open example: %w", err)
	}
	defer func() { _ = os.RemoveAll(folder) }() // a leftover in the temporary folder harms nobody
	file, err := examples.Write(f.example, folder)
	if errors.Is(err, fs.ErrNotExist) {
		return f.noExample()
	}
	if err != nil {
		return err
	}
	run, err := i.diagnose(file, nil, "")
	if err != nil {
		return err
	}
	run.File = "example " + f.example
	if f.json {
		return report.JSON(i.env.Stdout, run)
	}
	if err := report.Diagnosis(run).Write(i.env.Stdout, i.style); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// listExamples prints the names of the bundled cases, and what each is.
func listExamples(i *inspection) error {
	list, err := examples.List()
	if err != nil {
		return err
	}
	if i.json {
		return report.JSON(i.env.Stdout, list)
	}
	d := &report.Document{}
	rows := make([][2]string, len(list))
	for n, e := range list {
		rows[n] = [2]string{e.Name, e.About}
	}
	d.Fields(rows...)
	if err := d.Write(i.env.Stdout, i.style); err != nil {
		return fmt.Errorf("write list: %w", err)
	}
	return nil
}

// noExample says which examples there are.
func (f *doctorFlags) noExample() error {
	list, err := examples.List()
	if err != nil {
		return err
	}
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = e.Name
	}
	return usagef("--example %q: give one of %s", f.example, strings.Join(names, ", "))
}
