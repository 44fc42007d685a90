package doctor

import "fmt"

// overlapShare is from which part of a step on exposed copies are a finding.
const overlapShare = 0.02

// copyOverlap finds copies with pinned memory that could run beside kernels, and do not.
func copyOverlap() Rule {
	return Rule{
		ID: "time.copy-overlap", What: "copies with pinned memory during which nothing computes", needs: []need{needWork},
		judge: func(c *Case) (*Finding, string) {
			f, lost := &c.Account.Facts, c.line("copies-pinned")
			if f.PinnedCopies == 0 {
				return nil, "no copy in the measured steps uses pinned memory"
			}
			if c.share(lost) < overlapShare {
				return nil, fmt.Sprintf("copies with pinned memory run alone for %s (%s)", c.each(lost), percent(c.share(lost)))
			}
			out := &Finding{
				Title: "Copies do not overlap with computing", Confidence: High, Cost: c.cost(lost, Measured),
				Evidence: []Evidence{
					c.time("copies with pinned memory while nothing computed", lost, ""), c.time("all such copies", f.PinnedNS, ""), c.count("such copies", f.PinnedCopies, ""),
					c.count("streams that compute", uint64(f.Streams)*uint64(max(c.Account.Steps, 1)), ""),
					{What: "their rate", Figure: rate(f.PinnedKiB, f.PinnedNS), Unit: "B/s", Source: Measured},
				},
				RuledOut: otherCauses(c),
			}
			fix := Fix{
				Change: "copy the next step's input on a stream of its own while this step computes", Direction: "add",
				Gain:  fmt.Sprintf("up to %s, estimated", c.each(lost)),
				Paste: "cudaMemcpyAsync(next, host, bytes, cudaMemcpyHostToDevice, copyStream);\ncudaEventRecord(ready, copyStream);\n…  // this step\ncudaStreamWaitEvent(stream, ready, 0);",
			}
			if c.torch() {
				fix.Paste = "copies = torch.cuda.Stream()\nwith torch.cuda.stream(copies):\n    following = batch.to(\"cuda\", non_blocking=True)\n…  # this step\ntorch.cuda.current_stream().wait_stream(copies)"
			}
			out.Fix = []Fix{fix}
			return out, ""
		},
	}
}
