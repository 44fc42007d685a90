package doctor

import (
	"fmt"
	"strings"
)

// syncShare is from which part of a step on waits are a finding.
const syncShare = 0.02

// synchronisation finds threads that wait for the GPU, so that it runs out of work.
func synchronisation() Rule {
	return Rule{
		ID: "time.sync", What: "a thread waits for the GPU, which then runs out of work", needs: []need{needWork, needCalls},
		judge: func(c *Case) (*Finding, string) {
			lost, f := c.line("idle-sync"), &c.Account.Facts
			if c.share(lost) < syncShare {
				return nil, fmt.Sprintf("calls that wait: %s; the GPU is %s", c.often(f.Syncs), c.idle(lost))
			}
			call := ""
			if p := c.Idle.Cause("sync").Places; len(p) > 0 {
				call = p[0].Call
			}
			line, samples := c.lines("sync", 3)
			out := &Finding{
				Title: at("The CPU waits for the GPU "+c.within()+", and the GPU then has no work", line), Confidence: High, Cost: c.cost(lost, Measured),
				Evidence: []Evidence{
					c.time("GPU idle in a wait, or after it because the CPU could not work ahead", lost, call),
					c.count("waiting calls", f.Syncs, ""),
					c.time("a thread's time in them", f.SyncNS, ""),
				},
				Fix:      syncFixes(c, call, lost),
				RuledOut: otherCauses(c, "idle-sync"),
			}
			out.Evidence = append(append(out.Evidence, samples...), c.places("sync", 3)...)
			return out, ""
		},
	}
}

func syncFixes(c *Case, call string, lost int64) []Fix {
	fix := Fix{
		Direction: "remove", Gain: fmt.Sprintf("up to %s, estimated: the CPU can then work ahead", c.each(lost)),
		Change: "remove the wait from the loop, or wait for an event that was recorded a step earlier", Paste: "",
	}
	switch {
	case !c.torch():
	case strings.Contains(call, "DeviceSynchronize"), strings.Contains(call, "CtxSynchronize"):
		fix.Change = "remove torch.cuda.synchronize() from the loop, or call it once in many steps"
		fix.Paste = "if step % 50 == 0:\n    torch.cuda.synchronize()"
	default:
		fix.Change = "keep results on the GPU: .item(), .cpu(), .tolist(), print(tensor) and conditions on tensors wait; read them once in many steps"
		fix.Paste = "total += loss.detach()\nif step % 50 == 0:\n    print(total.item() / 50); total.zero_()"
	}
	return []Fix{fix}
}
