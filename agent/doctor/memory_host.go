package doctor

import (
	"fmt"

	"github.com/warpscope/warpscope/agent/analyze"
)

const hostID = "memory.host"

// machineKills is where a count is from that is of the whole machine.
const machineKills = "machine"

// hostNear is from which part of the limit on the host's memory is worth a word.
const hostNear = 0.92

// hostMemory: the host's memory ran out, which ends programs without a message.
func hostMemory() MemoryRule {
	return MemoryRule{ID: hostID, What: "the host's memory", account: true, judge: func(c *MemoryCase) (*Finding, string, string) {
		h := c.Host
		if h == nil {
			return nil, "", "the host's memory is in a trace: warpscope run"
		}
		limit, of := h.Limit, "the cgroup's limit"
		used := max(h.PeakUsed, 0)
		if limit < 0 || h.Total > 0 && limit > h.Total {
			limit, of = h.Total, "the machine's memory"
			used = max(h.Total-h.Available, 0)
		}
		switch {
		case h.Kills > 0 && c.Killed:
			return hostFinding(h, c, limit, of, used), "", ""
		case h.Kills > 0:
			f := hostFinding(h, c, limit, of, used)
			f.Severity, f.Confidence = Warning, Medium
			if h.KillsIn == machineKills {
				f.Severity, f.Confidence = NoteSev, Low // anybody's
			}
			return f, "", ""
		case c.Killed && h.Kills < 0:
			return nil, "", "the program was killed (signal 9); whether for want of the host's memory, this system does not count"
		case c.Killed:
			return nil, "the program was killed (signal 9), and the kernel counted nobody whom it ended for want of memory: somebody else sent the signal", ""
		case limit > 0 && float64(used) >= hostNear*float64(limit):
			f := hostFinding(h, c, limit, of, used)
			f.Severity = NoteSev
			return f, "", ""
		case limit <= 0:
			return nil, fmt.Sprintf("the program's processes held %s at most", size(uint64(h.PeakBytes))), ""
		}
		return nil, fmt.Sprintf("%s of %s (%s) at most", size(uint64(used)), size(uint64(limit)), of), ""
	}}
}

func hostFinding(h *analyze.HostAccount, c *MemoryCase, limit int64, of string, used int64) *Finding {
	title := fmt.Sprintf("The host's memory ran out, not the GPU's: the kernel ended %s for it", plural(h.Kills, "a process", "processes"))
	if !c.Killed && h.Kills > 0 {
		title = fmt.Sprintf("While the program ran, the kernel ended %s for want of the host's memory: a worker or child of it may be among them", plural(h.Kills, "a process", "processes"))
	} else if !c.Killed {
		title = fmt.Sprintf("The host's memory is nearly full: %s of %s", size(uint64(used)), size(uint64(max(limit, 0))))
	}
	f := &Finding{
		Title: title, Confidence: High, Severity: Error, decisive: true, Cost: Cost{Source: Measured},
		Evidence: []Evidence{bytesOf("resident in the program's processes at most (pages that they share count in each)", uint64(max(h.PeakBytes, 0)), Measured, "")},
	}
	if limit > 0 {
		f.Evidence = append(f.Evidence, bytesOf("is "+of, uint64(limit), Counted, h.Group), bytesOf("of it used at most", uint64(used), Measured, ""))
	}
	if h.Kills > 0 {
		f.Evidence = append(f.Evidence, Evidence{What: "processes ended by the kernel for want of memory", Figure: float64(h.Kills), Unit: "count", Source: Counted, Where: h.KillsIn})
	}
	for _, r := range h.Resident[:min(len(h.Resident), 4)] {
		f.Evidence = append(f.Evidence, bytesOf(fmt.Sprintf("resident in process %d at the last look", r.PID), uint64(r.Bytes), Measured, r.Command))
	}
	if h.Pinned > 0 {
		f.Evidence = append(f.Evidence, bytesOf("pinned through CUDA", h.Pinned, Counted, ""))
	}
	f.Fix = []Fix{
		{Change: "fewer workers that load data, and fewer batches ahead: each holds its own", Direction: "lower", Gain: "their part", Paste: "DataLoader(…, num_workers=2, prefetch_factor=2, persistent_workers=True)"},
		{Change: "map checkpoints and data instead of reading them", Direction: "replace", Gain: "what is read at once", Paste: "torch.load(path, mmap=True, weights_only=True)\nAutoModelForCausalLM.from_pretrained(name, low_cpu_mem_usage=True)\nnumpy.load(path, mmap_mode=\"r\")"},
		{Change: "raise the limit, if it is a container's", Direction: "raise", Gain: "up to what the machine has", Paste: "docker run --memory 64g --shm-size 16g …"},
	}
	return f
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return one
	}
	return fmt.Sprintf("%d %s", n, many)
}
