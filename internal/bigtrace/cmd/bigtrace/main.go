// Command bigtrace makes long traces for benchmarks; see package bigtrace.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/warpscope/warpscope/internal/bigtrace"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bigtrace:", err)
		os.Exit(1)
	}
}

func run() error {
	var c bigtrace.Config
	flag.StringVar(&c.Like, "like", "testdata/real/gpt-train.wscope", "the real trace to learn from")
	flag.IntVar(&c.Kernels, "kernels", 100_000_000, "how many kernels, at least")
	flag.BoolVar(&c.Calls, "calls", true, "with the calls that launched them")
	flag.Uint64Var(&c.Seed, "seed", 1, "of the random numbers")
	allocations := flag.Int("allocations", 0, "instead of kernels: how many calls that take memory or give it back")
	out := flag.String("o", "", "the file to write")
	flag.Parse()
	if *out == "" {
		return errors.New("-o names no file")
	}
	f, err := os.Create(*out)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	n, what := *allocations, "allocations and releases"
	if n > 0 {
		err = bigtrace.GenerateMemory(w, n, c.Seed)
	} else {
		what = "kernels"
		n, err = bigtrace.Generate(w, c)
	}
	if err := errors.Join(err, w.Flush(), f.Close()); err != nil {
		return err
	}
	info, err := os.Stat(*out)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d %s, %d bytes, %.2f each\n", *out, n, what, info.Size(), float64(info.Size())/float64(n))
	return nil
}
