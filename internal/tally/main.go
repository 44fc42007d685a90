// Command tally turns the output of `go test -json` (standard input) into one line a package, the
// output of what failed, and a result file: "pass NAME", "fail NAME" or "skip NAME: REASON" a line.
//
// It owns the counting of Go tests for `make test` and `make check`, and nothing else. A package that
// does not build, or that ends badly outside any test, counts as one failure. Nothing imports it.
package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go test -json ... | tally RESULT-FILE")
		os.Exit(2)
	}
	if err := run(os.Stdin, os.Stdout, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		os.Exit(1)
	}
}

// run returns an error if the stream could not be read or the results not be written; failed tests
// are results, not errors.
func run(in io.Reader, out io.Writer, path string) (err error) {
	results, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := results.Close(); err == nil {
			err = cerr
		}
	}()
	return count(in, out, results)
}
