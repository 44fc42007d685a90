package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/report"
)

// inspectStepFlags are the flags of inspect that are about steps.
type inspectStepFlags struct {
	steps, account, idle, diff bool
	roofline                   bool
	stepsBy                    string
}

func (f *inspectStepFlags) register(c *cobra.Command) {
	flags := c.Flags()
	flags.BoolVar(&f.steps, "steps", false, "steps: training steps or tokens, how long each takes")
	flags.BoolVar(&f.account, "account", false, "where the time of a step goes, adding up to all of it")
	flags.BoolVar(&f.idle, "idle", false, "why the GPU is idle within a step, and where")
	flags.BoolVar(&f.roofline, "roofline", false, "what the GPU's units did, and how near that is to the GPU's ceilings")
	flags.BoolVar(&f.diff, "diff", false, "compare the steps of two traces: what took the difference")
	flags.StringVar(&f.stepsBy, "steps-by", "auto", "what marks steps: auto (NVTX ranges where there are some) or kernels (their sequence)")
}

func (f *inspectStepFlags) validate(i *inspection, c *cobra.Command) error {
	for part, asked := range map[analyze.Part]bool{analyze.PartSteps: f.steps, analyze.PartAccount: f.account, analyze.PartIdle: f.idle, analyze.PartRoofline: f.roofline} {
		if asked {
			i.config.Parts |= part
		}
	}
	if f.steps || f.roofline {
		i.config.Parts |= analyze.PartActivity
	}
	if f.roofline {
		i.config.Parts |= analyze.PartShapes
	}
	switch f.stepsBy {
	case "auto":
	case "kernels":
		i.config.IgnoreRanges = true
	default:
		return usagef("--steps-by %q: not one of auto, kernels", f.stepsBy)
	}
	if f.diff {
		if i.config.Parts != 0 || i.events {
			return usagef("--diff stands alone: ask for other figures in a second call")
		}
		if c.Flags().NArg() != 2 {
			return usagef("--diff compares two traces: give two files, not %d", c.Flags().NArg())
		}
		i.diff = true
		i.config.Parts = analyze.PartAccount | analyze.PartIdle
	}
	if i.config.Parts&analyze.PartsOfSteps == 0 && c.Flags().Changed("steps-by") {
		return usagef("--steps-by goes with --steps, --account, --idle, --roofline or --diff")
	}
	return nil
}

// stepKinds are the records that steps and their account are made of, beside what runs on GPUs.
func stepKinds() []event.Kind {
	return []event.Kind{event.KindCall, event.KindMarker, event.KindAllocation, event.KindOverhead, event.KindModule, event.KindGPUSample, event.KindUsage, event.KindActivity, event.KindFact}
}

// compare prints how the steps of two traces differ.
func (i *inspection) compare(files []string) error {
	if files[0] == "-" && files[1] == "-" {
		return usagef("standard input (-) can be read only once")
	}
	a, errA := i.analyze(files[0])
	b, errB := i.analyze(files[1])
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	diff := analyze.Compare(a, b)
	if i.json {
		return report.JSON(i.env.Stdout, diff)
	}
	if err := report.Difference(diff).Write(i.env.Stdout, i.style); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
