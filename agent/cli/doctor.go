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
	message    string
	about      string
	example    string
}

func newDoctor(env *Env) *cobra.Command {
	var f doctorFlags
	c := &cobra.Command{
		Use:   "doctor FILE…",
		Short: "Say why the step is slow or memory ran out, and what to change",
		Long: "Say why the steps in traces take as long as they do: what costs most comes first, each with the evidence, the\n" +
			"change to make, what that gains, and what was ruled out. What a trace cannot tell is said, with the run that would.\n" +
			"Of PyTorch's memory snapshots (pickle) and of the messages of programs that ran out of GPU memory (--message), it\n" +
			"says where the memory went. A FILE of - is standard input.",
		Example: "  warpscope doctor train.wscope\n" +
			"  warpscope doctor train.wscope --json\n" +
			"  warpscope doctor train.wscope --fail-on time.sync --fail-on error\n" +
			"  warpscope doctor snapshot.pickle\n" +
			"  warpscope doctor --example optimizer-first-step\n" +
			"  python train.py 2>&1 | tail -100 | warpscope doctor --message -",
		Args: func(c *cobra.Command, args []string) error {
			if f.example != "" && (len(args) > 0 || f.message != "") {
				return usagef("--example opens a case of its own: give no other")
			}
			if f.message != "" || f.example != "" {
				return nil
			}
			return atLeast(1, "the trace to judge")(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			i, err := f.validate(env, c)
			if err != nil {
				return err
			}
			if f.example != "" {
				return f.runExample(i)
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
	flags.StringVar(&f.message, "message", "", "a file with the message of a program that ran out of GPU memory, or its log; - is standard input")
	flags.StringVar(&f.example, "example", "", "diagnose a bundled real case; `NAME` ? lists them")
	flags.StringVar(&f.about, "about", "", "of a trace: `WHAT` is judged, memory or time; without it memory where that ran out, else time")
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
	switch f.about {
	case "", aboutMemory, aboutTime:
		i.about = f.about
	default:
		return nil, usagef("--about %q: give memory or time", f.about)
	}
	window := inspectFlags{from: f.from, to: f.to}
	return i, window.window(&i.config.Window)
}

// run judges all files, one after another.
func (f *doctorFlags) run(i *inspection, files []string) error {
	if n := slices.Index(files, "-"); n != lastIndex(files, "-") || n >= 0 && f.message == "-" {
		return usagef("standard input (-) can be read only once")
	}
	messages, err := i.messages(f.message)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		files = []string{""} // the message alone
	}
	found := false
	var failed []error
	for n, file := range files {
		if n > 0 && !f.json {
			fmt.Fprintln(i.env.Stdout)
		}
		d, err := i.diagnose(file, messages, f.message)
		if err != nil {
			failed = append(failed, err)
			continue
		}
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
