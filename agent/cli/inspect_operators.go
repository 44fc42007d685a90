package cli

import "github.com/warpscope/warpscope/agent/analyze"

// operators takes --group-by where it asks for what PyTorch did in sampled steps.
func (f *inspectFlags) operators(i *inspection) {
	if by := analyze.GroupBy(f.groupBy); by.OfOperators() {
		i.config.Operators = by
		i.config.Parts |= analyze.PartOperators
	}
}
