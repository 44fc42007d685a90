// Command counts compares a trace's inspection with an independent count; see package counts.
package main

import (
	"os"

	"github.com/warpscope/warpscope/internal/counts"
)

func main() { os.Exit(counts.Run(os.Args[1:], os.Stdout, os.Stderr)) }
