package analyze

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/warpscope/warpscope/agent/ceilings"
)

// OperatorsNote says what the figures of operators rest on.
const OperatorsNote = "operators: multiplications and additions from the shapes of their inputs; memory traffic at least, as if each value had 16 bits and moved once; time from the steps that were sampled"

// rooflineOperators bounds the operators of a roofline.
const rooflineOperators = 12

// valueBytes is what a value takes, where nothing tells its type.
const valueBytes = 2

// addOperators adds the operators whose shapes tell their work, by their time on the GPU.
func (r *RooflineRow) addOperators(s *OperatorSummary) {
	if s == nil || s.GPUNS <= 0 {
		return
	}
	var told, unsure int64
	for i := range s.Rows {
		row := &s.Rows[i]
		p, ok := productOf(row.Name, row.Detail)
		if !ok || row.SelfNS <= 0 || row.Count == 0 {
			continue
		}
		told += row.SelfNS
		// Each call of a product launches the same number of kernels. Where that is not so, some belong to calls beside it.
		if row.Kernels == 0 || row.Kernels%row.Count != 0 {
			unsure += row.SelfNS
			continue
		}
		if countPoints(r.Points, PointOperator) >= rooflineOperators {
			continue
		}
		scale := float64(row.Count) / (float64(row.SelfNS) / 1e9)
		r.Points = append(r.Points, RooflinePoint{
			Name: p.label, Kind: PointOperator, Phase: PhaseSteady, Share: share(row.SelfNS, s.GPUNS), Operations: p.operations * scale,
			Bytes: p.values * valueBytes * scale, OperationsFrom: SourceEstimated, BytesFrom: SourceEstimated, Ceiling: string(ceilings.BFloat16),
		})
	}
	if told == 0 {
		r.Missing = append(r.Missing, "no operator of the sampled steps has shapes that tell its work")
		return
	}
	if part := share(unsure, s.GPUNS); part > 0 {
		r.Missing = append(r.Missing, fmt.Sprintf("products with %.1f%% of the sampled steps' GPU time are left out: their calls and kernels do not match", 100*part))
	}
	if rest := share(s.GPUNS-told, s.GPUNS); rest > 0.01 {
		r.Missing = append(r.Missing, fmt.Sprintf("of the other operators, %.0f%% of the sampled steps' GPU time, shapes do not tell the work", 100*rest))
	}
}

func countPoints(points []RooflinePoint, kind string) int {
	n := 0
	for i := range points {
		if points[i].Kind == kind {
			n++
		}
	}
	return n
}

// product is one call of a matrix product or of the like.
type product struct {
	label              string // "addmm 8192×2304×768": rows, columns, what is added up
	operations, values float64
}

// productOf returns the operations of one call of a matrix product, and how many values it reads and writes; false: the
// operator is another one, or its shapes do not fit.
func productOf(name, detail string) (product, bool) {
	name = strings.TrimPrefix(name, "aten::")
	shapes := parseShapes(detail)
	first := 0
	switch name {
	case "mm", "bmm", "_scaled_mm", "_int_mm":
	case "addmm", "baddbmm", "_addmm_activation":
		first = 1 // what is added comes first
	case "convolution_backward":
		return convolutionBackward(name, shapes)
	default:
		return product{}, false
	}
	if len(shapes) < first+2 {
		return product{}, false
	}
	a, b := shapes[first], shapes[first+1]
	if len(a) != len(b) || len(a) < 2 || len(a) > 3 {
		return product{}, false
	}
	label, batch := name+" ", 1.0
	if len(a) == 3 {
		if a[0] != b[0] {
			return product{}, false
		}
		batch, a, b = a[0], a[1:], b[1:]
		label += fmt.Sprintf("%.0f of ", batch)
	}
	if a[1] != b[0] {
		return product{}, false
	}
	m, k, n := a[0], a[1], b[1]
	p := product{label + fmt.Sprintf("%.0f×%.0f×%.0f", m, n, k), 2 * batch * m * k * n, batch * (m*k + k*n + m*n)}
	return p, p.operations > 0 && !math.IsInf(p.operations, 0)
}

// convolutionBackward is both gradients of a convolution: that of its input and that of its weights.
func convolutionBackward(name string, shapes [][]float64) (product, bool) {
	if len(shapes) < 3 || len(shapes[0]) < 3 || len(shapes[1]) != len(shapes[0]) || len(shapes[2]) != len(shapes[0]) {
		return product{}, false
	}
	out, in, weight := elements(shapes[0]), elements(shapes[1]), elements(shapes[2])
	each := weight / max(shapes[2][0], 1) // for each value of the output
	p := product{fmt.Sprintf("%s %v to %v", name, shapes[1], shapes[0]), 2 * 2 * out * each, 2 * (out + in + weight)}
	return p, p.operations > 0 && !math.IsInf(p.operations, 0)
}

func elements(shape []float64) float64 {
	n := 1.0
	for _, d := range shape {
		n *= d
	}
	return n
}

// maxShapes bounds what is read of an operator's shapes.
const maxShapes = 16

// parseShapes reads "[8, 1024], [], [64]"; what follows something else is left out.
func parseShapes(text string) [][]float64 {
	var out [][]float64
	for len(out) < maxShapes {
		text = strings.TrimLeft(text, ", ")
		if !strings.HasPrefix(text, "[") {
			return out
		}
		end := strings.IndexByte(text, ']')
		if end < 0 {
			return out
		}
		shape := []float64{}
		for part := range strings.SplitSeq(text[1:end], ",") {
			part = strings.TrimSpace(part)
			if part == "" {
				continue
			}
			n, err := strconv.ParseUint(part, 10, 48)
			if err != nil {
				return out
			}
			shape = append(shape, float64(n))
		}
		out = append(out, shape)
		text = text[end+1:]
	}
	return out
}
