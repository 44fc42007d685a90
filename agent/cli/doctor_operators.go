package cli

import (
	"slices"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/exchange"
)

// sampledOperators adds what sampled steps say of operators and their shapes, where there are such steps. It reads
// the trace a second time: to find it all in one reading takes three times as long, also where there are none.
func (i *inspection) sampledOperators(file string, in *input, r *analyze.Inspection) error {
	if in.stream != nil || in.format == exchange.Kineto || r.Account == nil {
		return nil
	}
	if !slices.ContainsFunc(r.Account.Rows, func(row analyze.AccountRow) bool { return row.Facts.SampledOperators }) {
		return nil
	}
	again := *i
	again.config.Parts = analyze.PartOperators
	operators, err := again.analyze(file)
	if err != nil {
		return err
	}
	r.Operators = operators.Operators
	return nil
}
