package result

// Change is a row beside the same one of another run.
type Change struct {
	Now    *Row    `json:"-"`
	Before *Row    `json:"-"`
	Key    string  `json:"key"`
	Was    float64 `json:"was_seconds"`
	Is     float64 `json:"is_seconds"`
	Faster float64 `json:"times_faster"` // below 1: slower
	Apart  bool    `json:"apart"`        // the spreads (p10 to p90) do not overlap
}

// Compare sets the rows of a run beside the same rows of another one, in the run's order. Rows that only one of them has, or that
// failed, have no change.
func Compare(now, before *Result) []Change {
	then := make(map[string]*Row, len(before.Rows))
	for i := range before.Rows {
		then[before.Rows[i].Key()] = &before.Rows[i]
	}
	var out []Change
	for i := range now.Rows {
		is, was := &now.Rows[i], then[now.Rows[i].Key()]
		if was == nil || is.Failure != "" || was.Failure != "" || !(is.Times.Median > 0) || !(was.Times.Median > 0) {
			continue
		}
		out = append(out, Change{
			Now: is, Before: was, Key: is.Key(), Was: was.Times.Median, Is: is.Times.Median, Faster: was.Times.Median / is.Times.Median,
			Apart: is.Times.P10 > was.Times.P90 || is.Times.P90 < was.Times.P10,
		})
	}
	return out
}
