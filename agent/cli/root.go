package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/warpscope/warpscope/agent/trace"
	"github.com/warpscope/warpscope/agent/version"
	"github.com/warpscope/warpscope/cupti/abi"
)

// Exit statuses. `run` passes the program's own through.
const (
	statusDone   = 0
	statusFailed = 1
	statusUsage  = 2
)

// constructor makes a command that works in env.
type constructor func(env *Env) *cobra.Command

// commands are those that the help lists.
func commands() []constructor {
	return []constructor{
		newRun,
		newAttach,
		newRecover,
		newInspect,
		newDoctor,
		newBench,
		newDemo,
		newLib,
		newCalibrate,
		newVersion,
	}
}

// usageError is a mistake in the command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// usagef returns an error that ends the program with status 2.
func usagef(format string, v ...any) error { return usageError{fmt.Errorf(format, v...)} }

// exitStatus ends the program with a status and without a message: everything has been said.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// Main runs the command that env.Args name, and returns the status to exit with.
func Main(ctx context.Context, env *Env) int {
	root := newRoot(env)
	command, err := root.ExecuteContextC(ctx)
	var status exitStatus
	var usage usageError
	switch {
	case err == nil:
		return statusDone
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &usage):
		say(env, err)
		fmt.Fprintf(env.Stderr, "Try '%s --help'.\n", command.CommandPath())
		return statusUsage
	}
	say(env, err)
	return statusFailed
}

// say tells of a failure: on one line, since names of files and errors of systems can hold anything.
func say(env *Env, err error) {
	fmt.Fprintf(env.Stderr, "warpscope: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
}

func newRoot(env *Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "warpscope",
		Short: "Trace CUDA programs: what runs on the GPU, what memory goes where",
		Long: "warpscope records what CUDA programs do (kernels, copies, allocations, waits) into compressed traces,\n" +
			"and says what happened in them.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version.String(),
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			hint := ""
			if like := c.SuggestionsFor(args[0]); len(like) > 0 {
				hint = fmt.Sprintf(": did you mean %q?", like[0])
			}
			return usagef("there is no command %q%s", args[0], hint)
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetArgs(append([]string{}, env.Args...)) // nil would mean the arguments of the process
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.SetHelpCommand(&cobra.Command{Hidden: true})
	root.SuggestionsMinimumDistance = 2
	for _, c := range commands() {
		root.AddCommand(c(env))
	}
	return root
}

// atLeast refuses fewer than n arguments; what says what they are.
func atLeast(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < n {
			return usagef("%s is missing", what)
		}
		return nil
	}
}

func newVersion(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of the tool, of the trace format and of the capture's memory",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("version takes no argument")
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(env.Stdout, "warpscope %s\ntrace format %d.%d\ncapture ABI %d\n", version.String(), trace.Major, trace.Minor, abi.AbiVersion)
			return err
		},
	}
}
