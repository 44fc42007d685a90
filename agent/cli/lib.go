package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/warpscope/warpscope/agent/session"
)

func newLib(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "lib",
		Short: "Print the path of the capture library, for LD_PRELOAD",
		Long: "Print the path of the capture library, which is put into the user's cache first. A program that preloads it\n" +
			"leaves a capture file (warpscope-PID.wscap) where it runs; warpscope recover makes a trace of that.",
		Example: "  LD_PRELOAD=$(warpscope lib) python train.py",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("lib takes no argument")
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			path, err := session.Library(env.Environ)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(env.Stdout, path)
			return err
		},
	}
}
