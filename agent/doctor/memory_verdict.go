package doctor

import (
	"fmt"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
)

// snapshotPaste records what a message alone does not tell.
const snapshotPaste = `torch.cuda.memory._record_memory_history(max_entries=1_000_000)   # before the first tensor
def oom(device, alloc, device_alloc, device_free): torch.cuda.memory._dump_snapshot("oom.pickle")
torch._C._cuda_attach_out_of_memory_observer(oom)`

// memoryNotes says what cannot be known.
func (d *Diagnosis) memoryNotes(cases []*MemoryCase) {
	for _, c := range cases {
		if c.T == nil {
			if c.M != nil && c.M.Framework == "PyTorch" {
				d.Notes = append(d.Notes, Note{
					Text:  "which tensors held the memory, and where they were made: a message does not say. With this in the program, the next failure leaves a snapshot that does",
					Rerun: snapshotPaste,
				})
			}
			continue
		}
		d.tensorNotes(c)
	}
}

func (d *Diagnosis) tensorNotes(c *MemoryCase) {
	t := c.T
	for _, n := range t.Notes {
		d.Notes = append(d.Notes, Note{Text: n})
	}
	again := "torch.cuda.memory._record_memory_history(max_entries=1_000_000)   # before the first tensor"
	switch {
	case t.History.Allocs == 0 && t.Added != nil:
		d.Notes = append(d.Notes, Note{Text: "how it came to this: the snapshot has the stacks of what is live, and no history; this records one", Rerun: again})
	case t.History.Allocs == 0:
		d.Notes = append(d.Notes, Note{Text: "how it came to this: the snapshot has no history", Rerun: again})
	case !t.History.Complete:
		d.Notes = append(d.Notes, Note{Text: fmt.Sprintf("what was before: the history of %s begins when memory was already held", c.where()), Rerun: again})
	}
	if t.History.Allocs > 0 && !t.History.Stacks {
		d.Notes = append(d.Notes, Note{Text: "the lines of code: the allocations have no stacks", Rerun: `torch.cuda.memory._record_memory_history(context="all", stacks="python")`})
	}
	if h, when := c.moment(); h != nil {
		bare := h.Role(analyze.RoleNone)
		switch {
		case bare.Bytes <= h.Requested/10:
		case t.Added != nil:
			d.Notes = append(d.Notes, Note{
				Text: fmt.Sprintf("who holds %s of the %s that tensors had %s: these have no stack. Stacks are recorded in the first three steps and in each 50th, and not of the backward pass",
					size(bare.Bytes), size(h.Requested), when), Rerun: "warpscope run --alloc-stacks all -- python train.py",
			})
		case t.History.Stacks:
			d.Notes = append(d.Notes, Note{Text: fmt.Sprintf("who holds %s of the %s that tensors had %s: these have no stack. Tensors of the backward pass have none where stacks=\"python\"",
				size(bare.Bytes), size(h.Requested), when), Rerun: `torch.cuda.memory._record_memory_history(stacks="all")`})
		}
	}
	if !t.Known {
		d.Notes = append(d.Notes, Note{Text: "the allocator's settings: this version of PyTorch did not record them; they are taken for the defaults"})
	}
	if t.Added != nil && t.Added.Roles && !t.Added.Complete {
		d.Notes = append(d.Notes, Note{Text: "all roles: the optimizers hold more tensors than were looked at"})
	}
	if _, known := c.beside(); c.failed() && c.M == nil && !known {
		d.Notes = append(d.Notes, Note{Text: "what else was on the GPU: a snapshot tells of PyTorch's allocator only. The message of the failure says more",
			Rerun: "warpscope doctor snapshot.pickle --message message.txt"})
	}
}

// memoryVerdict says the most important thing in one or two sentences.
func (d *Diagnosis) memoryVerdict(cases []*MemoryCase) {
	if len(cases) == 0 {
		d.Verdict = "The snapshot holds nothing: PyTorch's allocator had no memory on any GPU."
		return
	}
	c := cases[0]
	var b strings.Builder
	switch f := c.failure(); {
	case f != nil:
		failureVerdict(&b, c, len(d.Findings) > 0 && d.Findings[0].ID == limitID)
	case c.M != nil:
		b.WriteString(messageVerdict(c))
	case c.T == nil && c.Killed:
		b.WriteString("The program was killed (signal 9): it had no chance to say why.")
	case c.T == nil:
		b.WriteString("No call failed for want of memory, and no process left a snapshot of PyTorch's allocator.")
	default:
		h, when := c.moment()
		fmt.Fprintf(&b, "Nothing failed on %s. PyTorch held %s %s, %s of it in tensors.", c.where(), size(h.Reserved), when, size(h.Live))
	}
	if len(d.Findings) == 0 || d.Findings[0].Severity == NoteSev && !c.failed() {
		if len(d.Findings) == 0 && c.failed() {
			b.WriteString(" No known cause stands out: what the tensors need is more than there is.")
		}
		d.Verdict = b.String()
		return
	}
	first := &d.Findings[0]
	fmt.Fprintf(&b, " %s.", first.Title)
	for i := range d.Findings[1:] {
		if f := &d.Findings[i+1]; f.ID == lineID && f.Where == first.Where {
			fmt.Fprintf(&b, " %s.", f.Title)
		}
	}
	d.Verdict = b.String()
}

// failureVerdict says where it failed, and what there was. limited: a finding says that it was a limit.
func failureVerdict(b *strings.Builder, c *MemoryCase, limited bool) {
	f, h := c.failure(), c.T.Failed
	fmt.Fprintf(b, "An allocation of %s failed on %s", size(f.Asked), c.where())
	if line, _ := lineText(f.Stack, analyze.GuiltyLine(f.Stack)); line != "" {
		at := " at "
		if a := c.T.Added; a != nil && a.Elsewhere {
			at = " while the main thread was at "
		}
		b.WriteString(at + line)
	}
	if h.Reserved == 0 {
		b.WriteString(": PyTorch held nothing")
	} else {
		fmt.Fprintf(b, ": PyTorch held %s, %s of it in tensors", size(h.Reserved), size(h.Live))
	}
	switch {
	case limited:
	case f.Limited:
		fmt.Fprintf(b, ", under a limit of the program's own (the GPU had %s free)", size(f.Free))
	default:
		fmt.Fprintf(b, "; the GPU had %s free", size(f.Free))
	}
	b.WriteString(".")
	if n := len(c.T.Failures); n > 1 || c.wentOn() {
		fmt.Fprintf(b, " The program went on after %s.", times(n, !c.wentOn()))
	}
}

func times(n int, fatal bool) string {
	if fatal {
		n--
	}
	if n == 1 {
		return "one failure"
	}
	return fmt.Sprintf("%d failures", n)
}

func messageVerdict(c *MemoryCase) string {
	m := c.M
	var b strings.Builder
	switch {
	case m.Framework == "vLLM" || m.Framework == "SGLang":
		fmt.Fprintf(&b, "%s did not start: its KV cache does not fit.", m.Framework)
	case m.Framework == "CUDA" && m.Class != "" && c.G != nil && m.Asked > 0:
		fmt.Fprintf(&b, "%s could not get %s on %s.", m.Class, size(uint64(m.Asked)), c.where())
	case m.Asked > 0:
		fmt.Fprintf(&b, "%s could not get %s on %s.", m.Framework, size(uint64(m.Asked)), c.where())
	default:
		fmt.Fprintf(&b, "A CUDA call failed for want of memory on %s; the message says no more.", c.where())
	}
	if m.Capacity > 0 && m.Free >= 0 && (m.Framework == "PyTorch" || m.Framework == "CUDA") {
		fmt.Fprintf(&b, " Of its %s, %s were free", size(uint64(m.Capacity)), size(uint64(m.Free)))
		if m.Allocated >= 0 {
			fmt.Fprintf(&b, " and %s in this program's tensors", size(uint64(m.Allocated)))
		}
		b.WriteString(".")
	}
	return b.String()
}
