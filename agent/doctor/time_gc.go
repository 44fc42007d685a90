package doctor

import "fmt"

// collector finds pauses of Python's garbage collector for which the GPU has to wait.
func collector() Rule {
	return Rule{
		ID: "time.gc", What: "Python's garbage collector stops the thread that launches", needs: []need{needWork, needCalls, needPython},
		judge: func(c *Case) (*Finding, string) {
			lost := c.line("idle-gc")
			if c.share(lost) < gcShare {
				return nil, "the GPU is " + c.idle(lost)
			}
			line, samples := c.lines("gc", 2)
			gain := fmt.Sprintf("up to %s, estimated", c.each(lost))
			return &Finding{
				Title: at("Python's garbage collector runs while the GPU has no work", line), Confidence: High, Cost: c.cost(lost, Measured),
				Evidence: append([]Evidence{
					c.time("GPU idle while the collector ran", lost, ""), c.count("such pauses, or parts of them", c.Idle.Cause("gc").Count, ""),
				}, samples...),
				Fix: []Fix{{
					Change: "take gc.collect() out of the loop, if it is called there, and keep what lives long out of the collector's sight", Direction: "remove", Gain: gain,
					Paste: "import gc\ngc.collect(); gc.freeze()   # once, after everything is loaded",
				}, {
					Change: "or collect rarely, at moments of your choice", Direction: "lower", Gain: gain + ", less what is left", Paste: "gc.disable()\nif step % 1000 == 0:\n    gc.collect()",
				}},
				RuledOut: otherCauses(c, "idle-gc"),
			}, ""
		},
	}
}
