package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// entry is a line of `go test -json`.
type entry struct {
	Action      string
	Package     string
	ImportPath  string // of build output
	Test        string
	Output      string
	Elapsed     float64 // seconds
	FailedBuild string
}

// outputKept bounds what is remembered of one test's output, in bytes: enough for a stack trace, too
// little for a runaway log to fill memory.
const outputKept = 64 << 10

// tally is what is known of the run so far.
type tally struct {
	output map[string]*strings.Builder // by package and test
	failed map[string]bool             // packages with a failed test
}

// count reads the stream to its end.
func count(in io.Reader, out, results io.Writer) error {
	t := &tally{output: map[string]*strings.Builder{}, failed: map[string]bool{}}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			// go prints some errors (a broken go.mod, say) as plain text.
			if _, err := fmt.Fprintf(out, "%s\n", lines.Bytes()); err != nil {
				return err
			}
			continue
		}
		if err := t.add(e, out, results); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (t *tally) add(e entry, out, results io.Writer) error {
	if e.Package == "" {
		e.Package = e.ImportPath
	}
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output", "build-output":
		t.keep(key, e.Output)
		return nil
	case "pass", "fail", "skip":
	default:
		return nil
	}
	defer delete(t.output, key)
	if e.Test == "" {
		return t.addPackage(e, out, results)
	}
	name := e.Package + " " + e.Test
	switch e.Action {
	case "fail":
		t.failed[e.Package] = true
		if _, err := fmt.Fprintf(out, "%s", t.text(key)); err != nil {
			return err
		}
		_, err := fmt.Fprintf(results, "fail %s\n", name)
		return err
	case "skip":
		_, err := fmt.Fprintf(results, "skip %s: %s\n", name, reason(t.text(key)))
		return err
	}
	_, err := fmt.Fprintf(results, "pass %s\n", name)
	return err
}

// addPackage reports the end of a package. Its own failure counts only where no test's did.
func (t *tally) addPackage(e entry, out, results io.Writer) error {
	verdict := map[string]string{"pass": "ok", "fail": "FAIL", "skip": "no tests"}[e.Action]
	if _, err := fmt.Fprintf(out, "%-8s %s %.1fs\n", verdict, e.Package, e.Elapsed); err != nil {
		return err
	}
	if e.Action != "fail" {
		return nil
	}
	if err := t.unfinished(e.Package, out, results); err != nil {
		return err
	}
	if t.failed[e.Package] {
		return nil
	}
	text := t.text(e.FailedBuild+" ") + t.text(e.Package+" ")
	if _, err := fmt.Fprint(out, text); err != nil {
		return err
	}
	_, err := fmt.Fprintf(results, "fail %s (package)\n", e.Package)
	return err
}

// unfinished reports tests that began and never ended: one of them crashed or hung.
func (t *tally) unfinished(name string, out, results io.Writer) error {
	var tests []string
	for key := range t.output {
		if test, ok := strings.CutPrefix(key, name+" "); ok && test != "" {
			tests = append(tests, test)
		}
	}
	slices.Sort(tests)
	for _, test := range tests {
		t.failed[name] = true
		if _, err := fmt.Fprint(out, t.text(name+" "+test)); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(results, "fail %s %s (did not end)\n", name, test); err != nil {
			return err
		}
		delete(t.output, name+" "+test)
	}
	return nil
}

func (t *tally) keep(key, text string) {
	b := t.output[key]
	if b == nil {
		b = &strings.Builder{}
		t.output[key] = b
	}
	if b.Len() < outputKept {
		b.WriteString(text)
	}
}

func (t *tally) text(key string) string {
	if b := t.output[key]; b != nil {
		return b.String()
	}
	return ""
}

// reason finds why a test was skipped: its last line that is not go's own.
func reason(output string) string {
	found := "no reason given"
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "===") || strings.HasPrefix(line, "---") {
			continue
		}
		// "file_test.go:12: the reason"
		if _, after, ok := strings.Cut(line, ".go:"); ok {
			if _, text, ok := strings.Cut(after, ": "); ok {
				line = text
			}
		}
		found = line
	}
	return found
}
