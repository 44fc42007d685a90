package doctor

import (
	"fmt"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
)

// Case is what a rule about time sees: the steps of one process on one GPU.
type Case struct {
	In      *analyze.Inspection
	Step    *analyze.StepRow
	Account *analyze.AccountRow
	Idle    *analyze.IdleRow
	Process *analyze.ProcessRow // nil: not known
}

// ns returns nanoseconds over all measured steps as nanoseconds a step.
func (c *Case) ns(total int64) float64 { return float64(total) / float64(max(c.Account.Steps, 1)) }

// seconds returns nanoseconds over all measured steps as seconds a step.
func (c *Case) seconds(total int64) float64 { return c.ns(total) / 1e9 }

// share returns nanoseconds over all measured steps as a part of their time.
func (c *Case) share(total int64) float64 {
	if c.Account.WallNS <= 0 {
		return 0
	}
	return float64(total) / float64(c.Account.WallNS)
}

// line returns the nanoseconds of a line of the account over all measured steps.
func (c *Case) line(id string) int64 { return c.Account.Line(id).TotalNS }

// group returns those of a group of lines.
func (c *Case) group(group string) int64 { return c.Account.Group(group) }

// cost describes nanoseconds over all measured steps as a finding's cost.
func (c *Case) cost(total int64, source string) Cost {
	return Cost{SecondsPerStep: c.seconds(total), Share: c.share(total), Source: source}
}

// unit names the step: "training step", "token"; "trace" where there are none.
func (c *Case) unit() string { return c.Account.Unit }

// whole says that no steps were found: the case is all of the trace.
func (c *Case) whole() bool { return c.Account.Unit == "trace" }

// a names the step with its article.
func (c *Case) a() string {
	if c.whole() {
		return "the trace"
	}
	return "a " + c.unit()
}

// each writes nanoseconds over all measured steps as a time per step: "2.10 ms a token".
func (c *Case) each(total int64) string {
	if c.whole() {
		return duration(c.ns(total)) + " in all"
	}
	return duration(c.ns(total)) + " a " + c.unit()
}

// within says where something happens time and again.
func (c *Case) within() string {
	if c.whole() {
		return "in the trace"
	}
	return "within each " + c.unit()
}

// often is times, and says if something never comes.
func (c *Case) often(n uint64) string {
	if n == 0 {
		return "none"
	}
	return c.times(n)
}

// times writes how often something comes in a step.
func (c *Case) times(n uint64) string {
	per, each := c.per(n), " a "+c.unit()
	if c.whole() {
		each = ""
	}
	switch {
	case per == 1:
		return "once" + each
	case per < 0.1:
		return "in few steps"
	}
	return number(per) + " times" + each
}

// where names the process and the GPU.
func (c *Case) where() string { return c.Account.Name + ", " + c.Account.GPU }

// per returns a count over all measured steps as a count a step.
func (c *Case) per(n uint64) float64 { return float64(n) / float64(max(c.Account.Steps, 1)) }

// time makes evidence of nanoseconds over all measured steps.
func (c *Case) time(what string, total int64, where string) Evidence {
	return Evidence{What: what, Figure: c.seconds(total), Unit: "s", Source: Measured, Where: where}
}

// count makes evidence of a number over all measured steps.
func (c *Case) count(what string, n uint64, where string) Evidence {
	return Evidence{What: what, Figure: c.per(n), Unit: "count", Source: Counted, Where: where}
}

// part makes evidence of a share of the step.
func (c *Case) part(what string, total int64) Evidence {
	return Evidence{What: what, Figure: c.share(total), Unit: "share", Source: Measured}
}

// places makes evidence of where a cause strikes most.
func (c *Case) places(id string, most int) []Evidence {
	var out []Evidence
	cause := c.Idle.Cause(id)
	for _, p := range cause.Places {
		if len(out) == most || p.TotalNS*20 < cause.TotalNS {
			break
		}
		out = append(out, c.time("of it "+placeText(&p), p.TotalNS, c.times(p.Count)))
	}
	return out
}

func placeText(p *analyze.IdlePlace) string {
	text := "before " + shortKernel(p.Before)
	if p.Before == "" {
		text = "at the end of the step"
	}
	if p.Call != "" {
		text += ", in or after " + p.Call
	}
	return text
}

// shortKernel writes a kernel's name without namespaces, arguments and return type.
func shortKernel(name string) string {
	name = strings.TrimPrefix(name, "void ")
	name = strings.ReplaceAll(name, "(anonymous namespace)::", "")
	if at := strings.IndexAny(name, "<("); at > 0 {
		name = name[:at]
	}
	if at := strings.LastIndex(name, "::"); at >= 0 && at+2 < len(name) {
		name = name[at+2:]
	}
	const most = 56
	if len(name) > most {
		name = name[:most-1] + "…"
	}
	return name
}

// torch says whether the program's kernels are PyTorch's.
func (c *Case) torch() bool {
	for i := range c.Account.Kernels {
		if strings.Contains(c.Account.Kernels[i].Name, "at::native::") || strings.HasPrefix(c.Account.Kernels[i].Name, "triton_") {
			return true
		}
	}
	return false
}

// rerun writes the command that would bring evidence, with flags of run.
func (c *Case) rerun(flags string) string { return rerun(c.In, flags) }

func rerun(in *analyze.Inspection, flags string) string {
	command := "program args…"
	if args := in.Provenance.Command; len(args) > 0 {
		quoted := make([]string, len(args))
		for i, a := range args {
			quoted[i] = quote(a)
		}
		command = strings.Join(quoted, " ")
	}
	return strings.Join(strings.Fields("warpscope run "+flags+" -o again.wscope -- "), " ") + " " + command
}

// quote writes an argument as a shell takes it.
func quote(arg string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./=:,@%+…", r)
	}
	if arg != "" && strings.IndexFunc(arg, func(r rune) bool { return !safe(r) }) < 0 {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}

// number writes a count a step.
func number(v float64) string {
	if v >= 10 || v == float64(int64(v)) {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

// duration writes nanoseconds with three significant digits.
func duration(ns float64) string {
	switch {
	case ns < 999.5:
		return fmt.Sprintf("%.0f ns", ns)
	case ns < 999.5e3:
		return digits(ns/1e3) + " µs"
	case ns < 999.5e6:
		return digits(ns/1e6) + " ms"
	}
	return digits(ns/1e9) + " s"
}

func digits(v float64) string {
	switch {
	case v >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case v >= 9.995:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// idle says for how long the GPU was idle for a reason.
func (c *Case) idle(ns int64) string {
	if ns == 0 {
		return "never idle for it"
	}
	return fmt.Sprintf("idle for it %s (%s)", c.each(ns), percent(c.share(ns)))
}

// percent writes a part of 1.
func percent(part float64) string {
	if part == 0 {
		return "0%"
	}
	if part > 0 && part < 0.0005 {
		return "<0.1%"
	}
	return fmt.Sprintf("%.1f%%", part*100)
}
