package doctor

import "fmt"

// pageableShare is from which part of a step on copies with pageable memory are a finding.
const pageableShare = 0.01

// pageableCopy finds copies with pageable memory: they are slow, and hold up the thread.
func pageableCopy() Rule {
	return Rule{
		ID: "time.pageable-copy", What: "copies between the GPU and pageable host memory", needs: []need{needWork},
		judge: func(c *Case) (*Finding, string) {
			f := &c.Account.Facts
			exposed, held := c.line("copies-pageable"), c.line("idle-copy-call")
			lost := exposed + held
			if f.PageableCopies == 0 {
				return nil, "no copy in the measured steps uses pageable memory"
			}
			if c.share(lost) < pageableShare {
				return nil, fmt.Sprintf("copies with pageable memory cost %s (%s)", c.each(lost), percent(c.share(lost)))
			}
			line, samples := c.lines("copy-call", 2)
			out := &Finding{
				Title: at("Copies use pageable host memory", line), Confidence: High, Cost: c.cost(lost, Measured),
				Evidence: []Evidence{
					c.count("such copies", f.PageableCopies, ""), c.time("during which nothing computed", exposed, ""), c.time("GPU idle in the calls' own work", held, ""),
					{What: "their rate", Figure: rate(f.PageableKiB, f.PageableNS), Unit: "B/s", Source: Measured},
				},
				RuledOut: otherCauses(c, "idle-copy-call"),
			}
			gain := fmt.Sprintf("up to %s, estimated: pinned copies run by themselves, beside the kernels", c.each(lost))
			if f.PinnedNS > 0 && f.PinnedKiB > 1024 {
				out.Evidence = append(out.Evidence, Evidence{What: "rate of copies with pinned memory in the same steps", Figure: rate(f.PinnedKiB, f.PinnedNS), Unit: "B/s", Source: Measured})
			}
			out.Evidence = append(out.Evidence, samples...)
			fix := Fix{Change: "use pinned host memory, and copy asynchronously", Direction: "replace", Gain: gain, Paste: "cudaHostAlloc(&p, bytes, cudaHostAllocDefault);\ncudaMemcpyAsync(device, p, bytes, cudaMemcpyHostToDevice, copyStream);"}
			if c.torch() {
				fix.Paste = "loader = DataLoader(dataset, pin_memory=True, num_workers=8)\nx = x.to(\"cuda\", non_blocking=True)"
			}
			out.Fix = []Fix{fix}
			return out, ""
		},
	}
}

// rate returns bytes a second.
func rate(kib uint64, ns int64) float64 {
	if ns <= 0 {
		return 0
	}
	return float64(kib) * 1024 / (float64(ns) / 1e9)
}
