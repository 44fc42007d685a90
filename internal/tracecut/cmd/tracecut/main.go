// Command tracecut cuts a stretch out of a trace; see package tracecut.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/warpscope/warpscope/internal/tracecut"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "tracecut:", err)
		os.Exit(1)
	}
}

func run() error {
	from := flag.Duration("from", 0, "where the stretch begins, from the start of the trace")
	length := flag.Duration("length", 500*time.Millisecond, "how long it is")
	out := flag.String("o", "", "the file to write")
	flag.Parse()
	if *out == "" || flag.NArg() != 1 {
		return errors.New("give -o FILE and one trace")
	}
	f, err := os.Create(*out)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	err = tracecut.Cut(w, flag.Arg(0), tracecut.Stretch{From: int64(*from), To: int64(*from + *length)})
	return errors.Join(err, w.Flush(), f.Close())
}
