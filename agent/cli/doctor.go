package cli

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/warpscope/warpscope/agent/doctor"
	"github.com/warpscope/warpscope/agent/report"
)

// statusFound is the exit status when --fail-on matched a finding.
const statusFound = 3

// doctorFlags are the flags of doctor, as they were given.
type doctorFlags struct {
	json, wide bool
	failOn     []string
	from, to   string
	stepsBy    string
}

func newDoctor(env *Env) *cobra.Command {
	var f doctorFlags
	c := &cobra.Command{
		Use:   "doctor FILE…",
		Short: "Say why the step is slow, and what to change",
		Long: "Say why the steps in traces take as long as they do: what costs most comes first, each with the evidence, the\n" +
			"change to make, what that gains, and what was ruled out. What a trace cannot tell is said, with the run that would.\n" +
			"A FILE of - is standard input.",
		Example: "  warpscope doctor train.wscope\n" +
			"  warpscope doctor train.wscope --json\n" +
			"  warpscope doctor train.wscope --fail-on time.sync --fail-on error",
		Args: atLeast(1, "the trace to judge"),
		RunE: func(c *cobra.Command, args []string) error {
			i, err := f.validate(env, c)
			if err != nil {
				return err
			}
			return f.run(i, args)
		},
	}
	flags := c.Flags()
	flags.SortFlags = false
	flags.StringSliceVar(&f.failOn, "fail-on", nil, "exit with status 3 if there is a finding with this identifier, or of this severity (error, warning, note) or a higher one")
	flags.StringVar(&f.from, "from", "", "leave out what begins before: 1.5s from the start of the trace, or 2026-01-31T12:00:00Z")
	flags.StringVar(&f.to, "to", "", "leave out what begins at this time or later")
	flags.StringVar(&f.stepsBy, "steps-by", "auto", "what marks steps: auto (NVTX ranges where there are some) or kernels (their sequence)")
	flags.BoolVar(&f.json, "json", false, "print the findings as JSON")
	flags.BoolVar(&f.wide, "wide", false, "long lines instead of broken ones")
	return c
}

// validate makes sense of the flags.
func (f *doctorFlags) validate(env *Env, c *cobra.Command) (*inspection, error) {
	for _, on := range f.failOn {
		if !doctor.IsSeverity(on) && !doctor.Known(on) {
			return nil, usagef("--fail-on %q: neither a severity (error, warning, note) nor the identifier of a rule", on)
		}
	}
	i := &inspection{ctx: c.Context(), env: env, json: f.json, style: env.Style(f.wide)}
	i.config.Parts = doctor.Parts
	switch f.stepsBy {
	case "auto":
	case "kernels":
		i.config.IgnoreRanges = true
	default:
		return nil, usagef("--steps-by %q: not one of auto, kernels", f.stepsBy)
	}
	window := inspectFlags{from: f.from, to: f.to}
	return i, window.window(&i.config.Window)
}

// run judges all files, one after another.
func (f *doctorFlags) run(i *inspection, files []string) error {
	if slices.Index(files, "-") != lastIndex(files, "-") {
		return usagef("standard input (-) can be read only once")
	}
	found := false
	var failed []error
	for n, file := range files {
		if n > 0 && !f.json {
			fmt.Fprintln(i.env.Stdout)
		}
		in, err := i.analyze(file)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		d := doctor.Diagnose(in)
		if f.json {
			err = report.JSON(i.env.Stdout, d)
		} else {
			err = report.Diagnosis(d).Write(i.env.Stdout, i.style)
		}
		if err != nil {
			return fmt.Errorf("write report: %w", err)
		}
		found = found || slices.ContainsFunc(f.failOn, d.Fails)
	}
	switch {
	case len(failed) > 0:
		return errors.Join(failed...)
	case found:
		return exitStatus(statusFound)
	}
	return nil
}
