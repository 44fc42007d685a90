package doctor

import "fmt"

// interpreterLock finds threads of Python that keep the interpreter's lock from the one that launches.
func interpreterLock() Rule {
	return Rule{
		ID: "time.gil", What: "another thread keeps Python's lock from the one that launches", needs: []need{needWork, needCalls, needPython},
		judge: func(c *Case) (*Finding, string) {
			lost, g := c.line("idle-gil"), c.Idle.GIL
			if g == nil {
				return nil, "the program is not Python, as far as its command tells"
			}
			if c.share(lost) < gilShare {
				return nil, fmt.Sprintf("a thread that asks for the lock waits %s on average; the GPU is %s", duration(float64(g.MeanNS)), c.idle(lost))
			}
			evidence := []Evidence{
				c.time("GPU idle while another thread kept the lock", lost, "concluded from samples"),
				{What: "a thread's wait for the lock, mean", Figure: float64(g.MeanNS) / 1e9, Unit: "s", Source: Estimated, Where: fmt.Sprintf("%d samples", g.Samples)},
				{What: "samples at which another thread than the launching one had it", Figure: g.HeldByOthers, Unit: "share", Source: Estimated},
			}
			line := ""
			if p := c.Idle.Cause("gil").Python; p != nil {
				var holders []Evidence
				line, holders = linesOf(p.Holders, p.GILSamples, 3, "of the samples, the holder")
				evidence = append(evidence, holders...)
			}
			gain := fmt.Sprintf("up to %s, estimated", c.each(lost))
			return &Finding{
				Title: at("Another Python thread keeps the interpreter's lock from the one that launches", line), Confidence: Medium, Cost: c.cost(lost, Measured),
				Evidence: evidence,
				Fix: []Fix{{
					Change: "do that work in a process of its own", Direction: "replace", Gain: gain, Paste: "worker = torch.multiprocessing.Process(target=work, args=(queue,), daemon=True)",
				}, {
					Change: "or in calls that give up the lock (NumPy, PyTorch, compiled code)", Direction: "replace", Gain: gain,
				}},
				RuledOut: otherCauses(c, "idle-gil"),
			}, ""
		},
	}
}
