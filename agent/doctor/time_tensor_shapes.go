package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
)

const (
	// shapesShare is from which part of a step on products of awkward shapes are a finding.
	shapesShare = 0.05
	// awkward is of how many values rows must be a multiple for tensor cores to read them at full width: 16 bytes of
	// 32-bit types. 16-bit types need twice as many; which type it is, the samples do not say.
	awkward = 4
	// shapesSaved is the part of such products' time that padding is taken to save.
	shapesSaved = 0.5
)

// tensorShapes finds matrix products whose shapes keep tensor cores from full speed.
func tensorShapes() Rule {
	return Rule{
		ID: "time.tensor-shapes", What: "matrix products with shapes that tensor cores do not like", needs: []need{needWork, needOperators},
		judge: func(c *Case) (*Finding, string) {
			s := c.In.Operators
			var lost, all int64
			var rows []Evidence
			for i := range s.Rows {
				r := &s.Rows[i]
				dims := product(r.Name, r.Detail)
				if dims == nil {
					continue
				}
				all += r.SelfNS
				if !slices.ContainsFunc(dims, func(n int64) bool { return n > 1 && n%awkward != 0 }) {
					continue
				}
				lost += r.SelfNS
				if len(rows) < 3 {
					rows = append(rows, Evidence{What: "of it " + r.Name + " " + r.Detail, Figure: float64(r.SelfNS) / 1e9 / float64(s.Sampled), Unit: "s", Source: Measured, Where: inModule(r.Modules)})
				}
			}
			per := float64(lost) / float64(s.Sampled)
			part := per / max(c.ns(c.Account.WallNS), 1)
			if part < shapesShare {
				return nil, fmt.Sprintf("products with rows of no multiple of %d values take %s of sampled steps, of %s in all", awkward, duration(per), duration(float64(all)/float64(s.Sampled)))
			}
			saved := per * shapesSaved
			return &Finding{
				Title: "Matrix products have shapes that tensor cores do not like", Confidence: Low,
				Cost: Cost{SecondsPerStep: saved / 1e9, Share: part * shapesSaved, Source: Estimated},
				Evidence: append([]Evidence{
					{What: fmt.Sprintf("products with rows of no multiple of %d values, in %d sampled steps", awkward, s.Sampled), Figure: per / 1e9, Unit: "s", Source: Measured},
				}, rows...),
				Fix: []Fix{{
					Change: "pad these dimensions to a multiple of 64: a vocabulary, for one, or the classes of the last layer", Direction: "raise",
					Gain:  fmt.Sprintf("about %s a %s, a guess: half of what they take", duration(saved), c.unit()),
					Paste: "vocabulary = -(-vocabulary // 64) * 64",
				}},
				RuledOut: []string{},
			}, ""
		},
	}
}

// inModule names the module of most of an operator's time.
func inModule(parts []analyze.OperatorPart) string {
	if len(parts) == 0 {
		return ""
	}
	return parts[0].Name
}

// product returns the lengths of the rows that a matrix product reads and writes; nil: the operator is none.
func product(name, detail string) []int64 {
	first := 0
	switch strings.TrimPrefix(name, "aten::") {
	case "mm", "bmm":
	case "addmm", "baddbmm", "_addmm_activation":
		first = 1 // what is added comes first
	default:
		return nil
	}
	shapes := shapesOf(detail)
	if len(shapes) < first+2 {
		return nil
	}
	a, b := shapes[first], shapes[first+1]
	if len(a) < 2 || len(b) < 2 {
		return nil
	}
	return []int64{a[len(a)-1], b[len(b)-1]}
}

// shapesOf reads shapes as the Python module writes them: "[8, 64], [64, 3]".
func shapesOf(detail string) [][]int64 {
	var out [][]int64
	for _, part := range strings.Split(detail, "]") {
		_, inner, ok := strings.Cut(part, "[")
		if !ok {
			continue
		}
		var shape []int64
		for _, n := range strings.Split(inner, ",") {
			v, err := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
			if err != nil {
				break
			}
			shape = append(shape, v)
		}
		out = append(out, shape)
	}
	return out
}
