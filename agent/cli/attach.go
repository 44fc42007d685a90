package cli

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/warpscope/warpscope/agent/collect"
	"github.com/warpscope/warpscope/agent/session"
	"github.com/warpscope/warpscope/agent/version"
)

func newAttach(env *Env) *cobra.Command {
	var output string
	var force, quiet bool
	c := &cobra.Command{
		Use:   "attach [flags] PID…",
		Short: "Go on recording processes whose warpscope was killed",
		Long: "Go on recording processes that were started under 'warpscope run' and whose warpscope has died since: they\n" +
			"work on, and what they do waits in memory. It is written into a new trace, with what is allocated now, until the\n" +
			"processes end or this command is interrupted. What the first warpscope had written stays in its own trace.",
		Example: "  warpscope attach 4711\n" +
			"  warpscope attach -o rest.wscope 4711 4712",
		Args: atLeast(1, "the PID of the process"),
		RunE: func(_ *cobra.Command, args []string) error {
			var pids []int32
			for _, text := range args {
				pid, err := strconv.ParseInt(text, 10, 32)
				if err != nil || pid <= 0 {
					return usagef("%q is no PID", text)
				}
				pids = append(pids, int32(pid))
			}
			return attach(env, session.Config{Output: output, Force: force}, pids, quiet)
		},
	}
	flags := c.Flags()
	flags.SortFlags = false
	flags.StringVarP(&output, "output", "o", session.DefaultOutput, "trace `FILE`: %r is the rank, %h the host, %p the first PID")
	flags.BoolVar(&force, "force", false, "overwrite the trace file if there is one")
	flags.BoolVarP(&quiet, "quiet", "q", false, "no notes, no summary")
	return c
}

// attach records and reports.
func attach(env *Env, c session.Config, pids []int32, quiet bool) error {
	notes := env.Stderr
	if quiet {
		notes = io.Discard
	}
	c.Environ, c.Tool = env.Environ, "warpscope "+version.String()
	c.Note = func(note string) { fmt.Fprintf(notes, "warpscope: %s\n", oneLine(note)) }
	r, err := session.Attach(c, pids)
	switch {
	case errors.Is(err, collect.ErrNotCaptured):
		return fmt.Errorf("%w; 'warpscope run' records a program from its start, and a program that loads the library ('warpscope lib' names it) from then on", err)
	case errors.Is(err, session.ErrExists):
		return usageError{err}
	case err != nil:
		return err
	}
	for _, line := range r.Report() {
		c.Note(line)
	}
	if r.Err != nil {
		return fmt.Errorf("the trace is not complete: %w", r.Err)
	}
	return nil
}
