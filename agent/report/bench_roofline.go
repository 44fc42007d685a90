package report

import (
	"slices"
	"strings"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/agent/ceilings"
)

// benchRoofline places the rows that count operations under the ceilings: of each kind of work, type and kernel the fastest one.
func benchRoofline(r *result.Result) *Roofline {
	line, index := &Roofline{}, map[ceilings.Kind]int{}
	known := ceilings.GPU{Measured: r.Measured, Datasheet: r.Datasheet}
	if rate, ok := known.Rate(ceilings.Read); ok {
		line.Roofs = append(line.Roofs, Roof{Name: "memory", Rate: rate.PerSecond, Bandwidth: true, Origin: string(rate.Source)})
	}
	roof := func(k ceilings.Kind) int {
		if i, ok := index[k]; ok {
			return i
		}
		rate, ok := known.Rate(k)
		if !ok {
			return -1
		}
		_, name, _ := strings.Cut(string(k), ".")
		line.Roofs = append(line.Roofs, Roof{Name: name, Rate: rate.PerSecond, Integer: k == ceilings.Int8, Origin: string(rate.Source)})
		index[k] = len(line.Roofs) - 1
		return index[k]
	}
	best := map[string]int{} // of the points, by what they are of
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Operations == 0 || row.Bytes == 0 || row.Failure != "" || !(row.Times.Median > 0) {
			continue
		}
		p := RooflinePoint{
			Name: strings.TrimSpace(row.What + " " + row.Element + " " + row.Shape), Operations: row.Judgement.Rate, Bytes: row.Bytes / row.Times.Median,
			Roof: roof(row.Peak), Origin: string(ceilings.Measured),
		}
		key := row.What + "|" + row.Element + "|" + row.Kernel
		if at, ok := best[key]; !ok {
			best[key] = len(line.Points)
			line.Points = append(line.Points, p)
		} else if p.Operations > line.Points[at].Operations {
			line.Points[at] = p
		}
	}
	slices.SortStableFunc(line.Points, func(a, b RooflinePoint) int {
		switch {
		case a.Operations > b.Operations:
			return -1
		case a.Operations < b.Operations:
			return 1
		}
		return 0
	})
	return line
}
