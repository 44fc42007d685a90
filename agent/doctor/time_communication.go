package doctor

import "fmt"

// communicationShare is from which part of a step on exposed communication is a finding.
const communicationShare = 0.03

// communication finds collectives during which nothing computes.
func communication() Rule {
	return Rule{
		ID: "time.communication", What: "communication between GPUs during which nothing computes", needs: []need{needWork},
		judge: func(c *Case) (*Finding, string) {
			f, lost := &c.Account.Facts, c.line("communication")
			if f.Communications == 0 {
				return nil, "no kernel of a communication library ran"
			}
			if c.share(lost) < communicationShare {
				return nil, fmt.Sprintf("communication runs alone for %s (%s)", c.each(lost), percent(c.share(lost)))
			}
			out := &Finding{
				Title: "Communication is not hidden behind computing", Confidence: High, Cost: c.cost(lost, Measured),
				Evidence: []Evidence{
					c.time("communication while nothing computed", lost, ""), c.time("behind computing", c.Account.OverlappedCommunicationNS, ""),
					c.count("communication kernels", f.Communications, ""), c.time("of it on the stream that computes", f.SameStreamNS, ""),
				},
				RuledOut: otherCauses(c),
			}
			gain := fmt.Sprintf("up to %s, estimated; waiting for the slowest GPU is part of it, and stays", c.each(lost))
			if f.SameStreamNS*2 > f.CommunicationNS {
				out.Fix = append(out.Fix, Fix{Change: "communicate on a stream of its own: on the computing one, nothing can overlap", Direction: "replace", Gain: gain})
			}
			if c.torch() && c.unit() == "training step" {
				out.Fix = append(out.Fix,
					Fix{Change: "smaller buckets begin to communicate earlier in the backward pass", Direction: "lower", Gain: gain, Paste: "model = DistributedDataParallel(model, bucket_cap_mb=10, gradient_as_bucket_view=True)"},
					Fix{Change: "communicate once for several micro-batches", Direction: "lower", Gain: gain, Paste: "with model.no_sync():  # on all but the last micro-batch"},
				)
			}
			if len(out.Fix) == 0 {
				out.Fix = append(out.Fix, Fix{Change: "start the communication earlier, or do independent work meanwhile", Direction: "replace", Gain: gain})
			}
			return out, ""
		},
	}
}
