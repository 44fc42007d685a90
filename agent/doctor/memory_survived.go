package doctor

import "fmt"

const survivedID = "memory.survived-oom"

// survived: failures that the program caught.
func survived() MemoryRule {
	return MemoryRule{ID: survivedID, What: "failures that the program survived", judge: func(c *MemoryCase) (*Finding, string, string) {
		switch {
		case !c.failed():
			return nil, "no allocation failed", ""
		case c.T == nil:
			return nil, "", "a message does not say whether the program went on"
		case !c.wentOn() && c.T.Added != nil:
			return nil, "", "a snapshot made at the failure does not know what came after"
		case !c.wentOn():
			return nil, "nothing to speak of was allocated after the last failure", ""
		}
		n := len(c.T.Failures)
		f := &Finding{
			Title: fmt.Sprintf("The program caught %s and went on", times(n, false)), Severity: NoteSev, Confidence: High, Cost: Cost{Source: Counted},
			Evidence: []Evidence{wantedEvidence(c)},
			Fix:      []Fix{{Change: "if it is meant to (it retries, or tries for the largest batch that fits), nothing; each failure gives all cached memory back first, which takes time", Direction: "remove", Gain: "that time"}},
		}
		return f, "", ""
	}}
}
