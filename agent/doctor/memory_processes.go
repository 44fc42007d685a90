package doctor

import "fmt"

// own returns what the failing process held, and what others did, as its message tells. In containers
// the message names the process itself by a number of the host: one that holds at least what PyTorch
// had reserved is taken for it.
func own(c *MemoryCase) (self uint64, others []Evidence, other uint64, guessed bool) {
	m := c.M
	at := -1
	for i, p := range m.Processes {
		if p.Self {
			at = i
		}
	}
	if at < 0 && m.Reserved > 0 {
		for i, p := range m.Processes {
			if p.Bytes >= m.Reserved && (at < 0 || p.Bytes > m.Processes[at].Bytes) {
				at, guessed = i, true
			}
		}
	}
	for i, p := range m.Processes {
		if i == at {
			self = uint64(p.Bytes)
			continue
		}
		other += uint64(p.Bytes)
		others = append(others, bytesOf(fmt.Sprintf("held by process %d", p.PID), uint64(p.Bytes), Counted, ""))
	}
	return self, others, other, guessed
}

// contextUsual is what a context with its kernels takes at most.
const contextUsual = 1 << 30

// besideText says what a snapshot alone tells of the rest of the GPU.
func besideText(c *MemoryCase) (f *Finding, against, lacks string) {
	n, known := c.beside()
	switch {
	case c.T.OthersKnown && known:
		return besideJoined(c, n)
	case !known:
		return nil, "", "a snapshot tells of PyTorch's allocator only"
	case n < contextUsual+contextUsual/2:
		return nil, fmt.Sprintf("all that was on the GPU beside PyTorch's allocator took %s", size(n)), ""
	}
	return nil, "", fmt.Sprintf("%s were held beside PyTorch's allocator, by libraries, contexts or other programs: the message of the failure says by whom", size(n))
}

// othersHold sums up what NVML said of other processes.
func othersHold(c *MemoryCase) (sum uint64) {
	for _, p := range c.T.Others {
		sum += p.Bytes
	}
	return sum
}

// besideJoined judges other processes by NVML's readings.
func besideJoined(c *MemoryCase, beside uint64) (f *Finding, against, lacks string) {
	sum := othersHold(c)
	switch {
	case sum > beside:
		return nil, "", fmt.Sprintf("NVML's readings of other processes (%s) and what the GPU had free do not fit: they are of different moments", size(sum))
	case sum < memorySmall*4 || part(sum, c.capacity()) < 0.02:
		return nil, fmt.Sprintf("other programs held %s, by NVML", size(sum)), ""
	}
	f = otherFinding(sum, c.capacity(), Measured)
	for _, p := range c.T.Others[:min(len(c.T.Others), 6)] {
		f.Evidence = append(f.Evidence, bytesOf(fmt.Sprintf("held by process %d, by NVML", p.PID), p.Bytes, Measured, p.Command))
	}
	return f, "", ""
}

// otherFinding is what there is to do about other programs.
func otherFinding(bytes, total uint64, source string) *Finding {
	return &Finding{
		Title: fmt.Sprintf("Other programs hold %s of the GPU", size(bytes)), Confidence: High,
		Cost: Cost{Bytes: bytes, Share: part(bytes, max(total, 1)), Source: source},
		Fix: []Fix{{
			Change: "end them, or use a GPU that is free: programs that were stopped with Ctrl-Z or whose parent died stay", Direction: "remove", Gain: size(bytes),
			Paste: "nvidia-smi --query-compute-apps=pid,used_memory,process_name --format=csv\nCUDA_VISIBLE_DEVICES=1 python train.py",
		}},
	}
}

// otherProcess: memory that other programs hold.
func otherProcess() MemoryRule {
	return MemoryRule{ID: "memory.other-process", What: "memory that other programs hold", account: true, judge: func(c *MemoryCase) (*Finding, string, string) {
		if c.P != nil && c.P.NVML != nil && c.G.Used != nil {
			return othersByAccount(c)
		}
		if c.T == nil && c.M == nil {
			return nil, "", "NVML does not say what each process holds"
		}
		if c.M == nil {
			return besideText(c)
		}
		if c.M.Framework != "PyTorch" || c.M.Style != "2.x" {
			return nil, "", "the message does not name processes"
		}
		self, others, other, guessed := own(c)
		unseen := uint64(0)
		if seen := int64(self+other) + max(c.M.Free, 0); self > 0 && c.M.Capacity > seen {
			unseen = uint64(c.M.Capacity - seen)
		}
		if other < memorySmall*4 || c.M.Capacity > 0 && part(other, uint64(c.M.Capacity)) < 0.02 {
			if self == 0 {
				return nil, "", "the message names no process: the driver did not tell it"
			}
			text := fmt.Sprintf("others that the message names hold %s", size(other))
			if c.M.Capacity > 0 && part(unseen, uint64(c.M.Capacity)) > 0.05 {
				text += fmt.Sprintf("; %s are held by nobody it names: processes in other containers may not be seen from here", size(unseen))
			}
			return nil, text, ""
		}
		f := otherFinding(other, uint64(max(c.M.Capacity, 1)), Counted)
		f.Evidence = others
		if guessed {
			f.Confidence = Medium
			f.Evidence = append(f.Evidence, bytesOf("taken for the failing program itself: it holds at least what PyTorch reserved", self, Estimated, ""))
		}
		return f, "", ""
	}}
}

// contextsJoined judges the rest of the GPU by what was free and by NVML's readings of others.
func contextsJoined(c *MemoryCase) (f *Finding, against, lacks string) {
	beside, known := c.beside()
	if !known || !c.T.OthersKnown || othersHold(c) > beside {
		if _, against, _ := besideText(c); against != "" {
			return nil, against, ""
		}
		return nil, "", "see memory.other-process"
	}
	rest := beside - othersHold(c)
	if rest < contextUsual+contextUsual/2 {
		return nil, fmt.Sprintf("%s beside PyTorch's allocator and other programs: what a context and its kernels take, and the driver", size(rest)), ""
	}
	return &Finding{
		Title:      fmt.Sprintf("%s of the GPU are in no allocator of PyTorch and no other program that NVML sees: contexts, NCCL, other libraries", size(rest)),
		Confidence: Medium, Cost: Cost{Bytes: rest, Share: part(rest, max(c.capacity(), 1)), Source: Measured},
		Evidence: []Evidence{
			bytesOf("on the GPU in all", c.capacity(), Counted, ""), bytesOf("free at the failure", c.T.Added.Free, Counted, ""),
			bytesOf("reserved by PyTorch's allocator", c.T.Now.Reserved, Counted, ""), bytesOf("held by other programs, by NVML", othersHold(c), Measured, ""),
		},
		Fix: []Fix{{
			Change: "see in the trace which library asked the driver for it", Direction: "lower", Gain: "up to " + size(rest-contextUsual/2), Paste: "warpscope inspect TRACE --memory",
		}},
	}, "", ""
}

// contexts: what the failing process holds beside PyTorch's allocator.
func contexts() MemoryRule {
	return MemoryRule{ID: "memory.contexts", What: "contexts, and what is beside PyTorch's allocator", account: true, judge: func(c *MemoryCase) (*Finding, string, string) {
		if c.P != nil && c.G.Calibrated != "" && c.G.Used != nil {
			return contextsByAccount(c)
		}
		if c.T == nil && c.M == nil {
			return nil, "", "what contexts take was not measured"
		}
		if c.M == nil {
			return contextsJoined(c)
		}
		self, _, _, guessed := own(c)
		if self == 0 || c.M.Reserved <= 0 {
			return nil, "", "the message does not say what the program holds beside PyTorch's allocator"
		}
		beside := self - min(self, uint64(c.M.Reserved))
		const usual = contextUsual
		if beside < usual+usual/2 {
			return nil, fmt.Sprintf("%s beside PyTorch's allocator: what a context and its kernels take", size(beside)), ""
		}
		f := &Finding{
			Title:      fmt.Sprintf("The program holds %s beside PyTorch's allocator: contexts, NCCL, other libraries", size(beside)),
			Confidence: Medium, Cost: Cost{Bytes: beside, Share: part(beside, uint64(max(c.M.Capacity, 1))), Source: Counted},
			Evidence: []Evidence{bytesOf("held by the program", self, Counted, ""), bytesOf("of it reserved by PyTorch's allocator", uint64(c.M.Reserved), Counted, "")},
			Fix: []Fix{{
				Change: "with several communicators, share or close some, or use fewer channels; which library holds it, a trace tells", Direction: "lower", Gain: "up to " + size(beside-usual/2),
				Paste: "export NCCL_MAX_NCHANNELS=8\nwarpscope run --mode ledger -- python train.py",
			}},
		}
		if guessed {
			f.Confidence = Low
		}
		return f, "", ""
	}}
}
