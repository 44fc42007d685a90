package result

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
)

// cell is a column of the CSV form. New ones come last: somebody counts.
type cell struct {
	name string
	of   func(r *Row) string
}

func number(v float64) string {
	if v == 0 {
		return ""
	}
	return strconv.FormatFloat(v, 'g', 8, 64)
}

// ofReference is a figure of the comparison with a library, "" where there is none.
func ofReference(figure func(f *Reference) float64) func(r *Row) string {
	return func(r *Row) string {
		if r.Reference == nil {
			return ""
		}
		return number(figure(r.Reference))
	}
}

func cells() []cell {
	return []cell{
		{"suite", func(r *Row) string { return r.Suite }},
		{"what", func(r *Row) string { return r.What }},
		{"shape", func(r *Row) string { return r.Shape }},
		{"element", func(r *Row) string { return r.Element }},
		{"kernel", func(r *Row) string { return r.Kernel }},
		{"median_s", func(r *Row) string { return number(r.Times.Median) }},
		{"p10_s", func(r *Row) string { return number(r.Times.P10) }},
		{"p90_s", func(r *Row) string { return number(r.Times.P90) }},
		{"n", func(r *Row) string { return strconv.Itoa(r.Times.N) }},
		{"steps", func(r *Row) string { return strconv.Itoa(r.Steps) }},
		{"operations", func(r *Row) string { return number(r.Operations) }},
		{"bytes", func(r *Row) string { return number(r.Bytes) }},
		{"useful_bytes", func(r *Row) string { return number(r.Useful) }},
		{"scratch_bytes", func(r *Row) string { return number(float64(r.Scratch)) }},
		{"rate", func(r *Row) string { return number(r.Judgement.Rate) }},
		{"unit", func(r *Row) string { return r.Judgement.Unit }},
		{"of_datasheet", func(r *Row) string { return number(r.Judgement.OfDatasheet) }},
		{"of_measured", func(r *Row) string { return number(r.Judgement.OfRoof) }},
		{"bound", func(r *Row) string { return string(r.Judgement.Bound) }},
		{"sustained_rate", func(r *Row) string {
			if r.Sustained == nil {
				return ""
			}
			return number(r.Sustained.Rate)
		}},
		{"reference", func(r *Row) string {
			if r.Reference == nil {
				return ""
			}
			return r.Reference.Library
		}},
		{"reference_ratio", ofReference(func(f *Reference) float64 { return f.Ratio.Median })},
		{"sm_clock_mhz", func(r *Row) string { return number(float64(r.Conditions.Clock)) }},
		{"power_mw", func(r *Row) string { return number(float64(r.Conditions.Power)) }},
		{"temperature_c", func(r *Row) string { return number(float64(r.Conditions.Temperature)) }},
		{"throttled", func(r *Row) string { return strings.Join(r.Conditions.Throttled, ";") }},
		{"busy", func(r *Row) string { return strconv.FormatBool(r.Conditions.Busy) }},
		{"relative_error", func(r *Row) string { return strconv.FormatFloat(float64(r.Verified.Error), 'g', 8, 64) }},
		{"skipped", func(r *Row) string { return r.Skipped }},
		{"failure", func(r *Row) string { return r.Failure }},
		{"reference_p10", ofReference(func(f *Reference) float64 { return f.Ratio.P10 })},
		{"reference_p90", ofReference(func(f *Reference) float64 { return f.Ratio.P90 })},
		{"reference_first_choice_ratio", ofReference(func(f *Reference) float64 {
			if f.First == nil {
				return 0
			}
			return f.First.Median
		})},
		{"traced_over_events", func(r *Row) string {
			if r.TracedPart == nil {
				return ""
			}
			return number(r.TracedPart.Median)
		}},
		{"sm_clock_after_mhz", func(r *Row) string { return number(float64(r.Conditions.ClockAfter)) }},
		{"clock_below", func(r *Row) string { return number(r.Conditions.Below) }},
	}
}

// WriteCSV writes the rows, under a line of names.
func (r *Result) WriteCSV(w io.Writer) error {
	columns := cells()
	c := csv.NewWriter(w)
	line := make([]string, len(columns))
	for i := range columns {
		line[i] = columns[i].name
	}
	err := c.Write(line)
	for n := range r.Rows {
		for i := range columns {
			line[i] = columns[i].of(&r.Rows[n])
		}
		if err == nil {
			err = c.Write(line)
		}
	}
	c.Flush()
	if err == nil {
		err = c.Error()
	}
	return err
}
