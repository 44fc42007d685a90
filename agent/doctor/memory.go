package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/event"
)

// memorySmall is from how many bytes on something about memory is worth a finding.
const memorySmall = 32 << 20

// MemoryCase is what a rule about memory sees: one device's memory snapshot, one message, or both.
type MemoryCase struct {
	T *analyze.Tensors // nil: there is no snapshot
	M *event.Failure   // nil: there is no message
	// G is the account of the GPU at that moment, and P the process's in it; nil: there is no trace.
	G *analyze.GPUAccount
	P *analyze.ProcessAccount
	// Host is the host's memory; nil: not known. Killed: signal 9 ended the program.
	Host   *analyze.HostAccount
	Killed bool
}

// MemoryRule looks for one cause of memory that is not there.
type MemoryRule struct {
	ID string
	// What says in a few words what the rule looks for.
	What string
	// account: the rule can judge by an account of the trace alone, without snapshot and message.
	account bool
	// judge returns a finding, or nil and what speaks against it; lacks says what it would need, "" if
	// it has it.
	judge func(c *MemoryCase) (f *Finding, against, lacks string)
}

// MemoryRules returns the rules about memory, each in a file of its own.
func MemoryRules() []MemoryRule {
	return []MemoryRule{
		request(), ownLimit(), modelLoad(), accumulation(), fragmentation(), leak(), pendingFree(), graphPools(), rounding(), activations(), logits(), gradients(),
		optimizerState(), kvCache(), kvBudget(), parameters(), otherProcess(), contexts(), libraries(), oneLine(), hostMemory(), survived(),
	}
}

// failed says whether an allocation failed.
func (c *MemoryCase) failed() bool { return c.M != nil || c.T != nil && len(c.T.Failures) > 0 }

// wentOn says whether the program is known to have gone on after its last failure.
func (c *MemoryCase) wentOn() bool {
	f := c.failure()
	return f != nil && (c.T.WentOn || f.After >= 16)
}

// capacity returns the GPU's size; 0 unknown.
func (c *MemoryCase) capacity() uint64 {
	if c.T != nil && c.T.Added != nil {
		if a := c.T.Added; a.Total > 0 {
			return a.Total
		} else if f := c.failure(); !f.Limited {
			return a.Limit
		}
	}
	if c.M != nil && c.M.Capacity > 0 {
		return uint64(c.M.Capacity)
	}
	if c.G != nil {
		return c.G.Total
	}
	return 0
}

// beside returns what is on the GPU beside PyTorch's allocator, by what was free at the failure.
func (c *MemoryCase) beside() (bytes uint64, known bool) {
	total := c.capacity()
	if c.T == nil || c.T.Added == nil || total == 0 {
		return 0, false
	}
	return total - min(total, c.T.Added.Free+c.T.Now.Reserved), true
}

// room returns how much the program could have in all: the GPU, or a limit of its own; 0 unknown.
func (c *MemoryCase) room() uint64 {
	if limit := c.allowed(); limit > 0 {
		return limit
	}
	return c.capacity()
}

// moment returns the holding that matters: at the last failure, else when tensors took most, else now.
func (c *MemoryCase) moment() (*analyze.Holding, string) {
	switch {
	case c.T == nil:
		return nil, ""
	case c.T.Failed != nil:
		return c.T.Failed, "when the allocation failed"
	case c.T.Peak != nil && c.T.Peak.Live >= c.T.Now.Live:
		return c.T.Peak, "when tensors took most"
	}
	return &c.T.Now, "when the snapshot was made"
}

// failure returns the last failure; nil: there is none.
func (c *MemoryCase) failure() *analyze.TensorFailure {
	if c.T == nil || len(c.T.Failures) == 0 {
		return nil
	}
	return &c.T.Failures[len(c.T.Failures)-1]
}

// asked returns how much the failed allocation asked from the driver; 0: nothing failed, or it is not known.
func (c *MemoryCase) asked() uint64 {
	if f := c.failure(); f != nil {
		return f.Grow
	}
	if c.M != nil && c.M.Asked > 0 {
		return uint64(c.M.Asked)
	}
	return 0
}

// where names the device.
func (c *MemoryCase) where() string {
	switch {
	case c.T != nil:
		return fmt.Sprintf("GPU %d", c.T.Device)
	case c.M != nil && c.M.Device >= 0:
		return fmt.Sprintf("GPU %d", c.M.Device)
	case c.G != nil:
		return c.G.GPU
	}
	return "the GPU"
}

// bytes makes evidence of a number of bytes.
func bytesOf(what string, n uint64, source, where string) Evidence {
	return Evidence{What: what, Figure: float64(n), Unit: "B", Source: source, Where: where}
}

// held is the source of a holding's figures.
func held(h *analyze.Holding) string {
	if h.Exact {
		return Counted
	}
	return Measured
}

// part writes a share of a whole.
func part(n, of uint64) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

// size writes bytes in binary units with three digits.
func size(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1023.5 && i < len(units)-1 {
		v /= 1024
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%.0f B", v)
	}
	return digits(v) + " " + units[i]
}

// lineText writes a stack from the guilty line outwards: the line, and who calls it.
func lineText(stack []analyze.Line, guilty int) (line, callers string) {
	if guilty < 0 || guilty >= len(stack) {
		return "", ""
	}
	var out []string
	for i := guilty + 1; i < len(stack) && len(out) < 3; i++ {
		out = append(out, stack[i].String())
	}
	return stack[guilty].String(), strings.Join(out, " ← ")
}

// stackEvidence makes evidence of the stacks that hold most of what a role or condition selects.
func stackEvidence(h *analyze.Holding, most int, pick func(s *analyze.StackHolding) bool) []Evidence {
	var out []Evidence
	for i := range h.Stacks {
		s := &h.Stacks[i]
		if len(out) == most || !pick(s) {
			continue
		}
		line, callers := lineText(s.Stack, s.Guilty)
		if line == "" {
			continue
		}
		out = append(out, Evidence{
			What: fmt.Sprintf("at %s, in %s", line, blocksText(s.Blocks)), Figure: float64(s.Bytes), Unit: "B", Source: held(h), Where: callers,
		})
	}
	return out
}

func blocksText(n uint64) string {
	if n == 1 {
		return "1 tensor"
	}
	return fmt.Sprintf("%d tensors", n)
}

// guiltyText names the line that holds most of what pick selects; "": none is known.
func guiltyText(h *analyze.Holding, pick func(s *analyze.StackHolding) bool) string {
	for i := range h.Stacks {
		if s := &h.Stacks[i]; pick(s) {
			if line, _ := lineText(s.Stack, s.Guilty); line != "" {
				return line
			}
		}
	}
	return ""
}

// DiagnoseMemory judges memory snapshots and messages. Either may be missing, not both.
func DiagnoseMemory(file string, tensors []*analyze.Tensors, messages []event.Failure) *Diagnosis {
	return diagnoseCases(file, memoryCases(tensors, messages))
}

func diagnoseCases(file string, cases []*MemoryCase) *Diagnosis {
	d := &Diagnosis{File: file, Findings: []Finding{}, Notes: []Note{}, RuledOut: []Clear{}, Unit: "trace"}
	for _, r := range MemoryRules() {
		d.applyMemory(r, cases)
	}
	d.rankMemory(cases)
	d.memoryNotes(cases)
	d.memoryVerdict(cases)
	return d
}

// memoryCases puts each device's snapshot and the messages about it together.
func memoryCases(tensors []*analyze.Tensors, messages []event.Failure) []*MemoryCase {
	var out []*MemoryCase
	for _, t := range tensors {
		out = append(out, &MemoryCase{T: t})
	}
	for i := range messages {
		m := &messages[i]
		at := slices.IndexFunc(out, func(c *MemoryCase) bool { return c.T != nil && c.M == nil && (m.Device < 0 || c.T.Device == m.Device) })
		if at >= 0 && m.Framework == "PyTorch" {
			out[at].M = m
			continue
		}
		out = append(out, &MemoryCase{M: m})
	}
	// What failed comes first, then what holds most.
	slices.SortStableFunc(out, func(x, y *MemoryCase) int {
		rank := func(c *MemoryCase) int {
			if c.failed() {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(rank(x), rank(y)), cmp.Compare(y.reserved(), x.reserved()))
	})
	return out
}

func (c *MemoryCase) reserved() uint64 {
	if h, _ := c.moment(); h != nil {
		return h.Reserved
	}
	return 0
}

// applyMemory applies one rule to all cases.
func (d *Diagnosis) applyMemory(r MemoryRule, cases []*MemoryCase) {
	var clears, lack []string
	found := false
	for _, c := range cases {
		if c.T == nil && c.M == nil && !r.account {
			lack = append(lack, "no process left a snapshot of PyTorch's allocator")
			continue
		}
		f, against, lacks := r.judge(c)
		if f != nil {
			f.ID, f.Where, found = r.ID, c.where(), true
			c.temper(f)
			d.Findings = append(d.Findings, *f)
			continue
		}
		if against != "" {
			clears = append(clears, against)
		}
		if lacks != "" {
			lack = append(lack, lacks)
		}
	}
	switch {
	case found:
	case len(clears) > 0:
		d.RuledOut = append(d.RuledOut, Clear{r.ID, clears[0]})
	case len(lack) > 0:
		d.Notes = append(d.Notes, Note{ID: r.ID, Text: "cannot be judged: " + lack[0]})
	}
}

// rankMemory settles severities and orders the findings: with a failure, what costs most is the cause.
func (d *Diagnosis) rankMemory(cases []*MemoryCase) {
	failed := slices.ContainsFunc(cases, func(c *MemoryCase) bool { return c.failed() })
	slices.SortStableFunc(d.Findings, func(x, y Finding) int { return cmp.Compare(y.Cost.Bytes, x.Cost.Bytes) })
	for i := range d.Findings {
		f := &d.Findings[i]
		if f.Severity == "" {
			switch {
			case !failed:
				f.Severity = NoteSev
			case f.Cost.Share >= 0.25:
				f.Severity = Error
			case f.Cost.Share >= 0.08:
				f.Severity = Warning
			default:
				f.Severity = NoteSev
			}
		}
		if f.Evidence == nil {
			f.Evidence = []Evidence{}
		}
		if f.Fix == nil {
			f.Fix = []Fix{}
		}
		if f.RuledOut == nil {
			f.RuledOut = []string{}
		}
	}
	slices.SortStableFunc(d.Findings, func(x, y Finding) int {
		return cmp.Or(cmp.Compare(y.Severity.rank(), x.Severity.rank()), cmp.Compare(precedence(&x), precedence(&y)))
	})
}

// precedence orders findings of the same severity: what alone decides comes first, where it all is
// comes after why.
func precedence(f *Finding) int {
	switch {
	case f.ID == requestID:
		return -3
	case f.ID == limitID:
		return -2
	case f.decisive:
		return -1
	case f.ID == lineID:
		return 1
	}
	return 0
}

// temper lowers what cannot be, or was not, what ended the program.
func (c *MemoryCase) temper(f *Finding) {
	switch {
	case f.ID == "memory.leak", f.ID == hostID:
	case c.wentOn(), c.beyond() && f.ID != requestID:
		f.Severity = NoteSev
	}
}
