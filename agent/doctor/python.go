package doctor

import (
	"fmt"
	"path"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
)

const (
	// inputShare, gcShare and gilShare are from which part of a step on what holds up Python is a finding.
	inputShare = 0.02
	gcShare    = 0.02
	gilShare   = 0.02
	// fewSamples is below how many samples the lines of a cause are not believed.
	fewSamples = 3
)

// python says whether the process runs Python, as far as its command tells.
func (c *Case) python() bool {
	if c.Process == nil {
		return false
	}
	for _, text := range append([]string{c.Process.Executable}, c.Process.Command...) {
		if strings.HasPrefix(path.Base(text), "python") {
			return true
		}
	}
	return false
}

// sampled says whether warpscope's module for Python took samples in the measured steps.
func (c *Case) sampled() bool { return c.Idle.GIL != nil }

// lines makes evidence of the lines at which Python was while the GPU was idle for a cause, and returns the first of
// them as it stands in a title; "" where too few samples were taken.
func (c *Case) lines(id string, most int) (first string, out []Evidence) {
	p := c.Idle.Cause(id).Python
	if p == nil {
		return "", nil
	}
	if p.CallSamples >= fewSamples {
		return linesOf(p.CallStacks, p.CallSamples, most, "of the samples in such calls")
	}
	return linesOf(p.Stacks, p.Samples, most, "of the samples in it")
}

func linesOf(stacks []analyze.PythonStack, all, most int, what string) (first string, out []Evidence) {
	for i := range stacks {
		s := &stacks[i]
		line := s.Line()
		if line.Line == 0 || all < fewSamples || len(out) == most || s.Samples*10 < all {
			continue
		}
		if first == "" {
			first = place(line)
		}
		out = append(out, Evidence{
			What: fmt.Sprintf("%s, at %s, in %s", what, place(line), line.Function), Figure: float64(s.Samples) / float64(all), Unit: "share", Source: Estimated,
			Where: line.File,
		})
	}
	return first, out
}

// place writes where a line is: "train.py:12".
func place(l analyze.Line) string { return fmt.Sprintf("%s:%d", path.Base(l.File), l.Line) }

// at adds a place to a title; the title alone where none is known.
func at(title, place string) string {
	if place == "" {
		return title
	}
	return title + ", at " + place
}
