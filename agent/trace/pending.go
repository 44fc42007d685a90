package trace

import (
	"fmt"
	"time"

	"github.com/warpscope/warpscope/agent/event"
)

// pending are the events of one process that wait to be written together.
type pending struct {
	batch event.Batch
	rows  int
	full  bool // one table has as many rows as a frame should
	since time.Time
}

// check tells whether the columns of each kind have the same length.
func check(tables []table, b *event.Batch) error {
	for i := range tables {
		t := &tables[i]
		n := t.rows(b)
		for _, c := range t.columns {
			if m := c.cells.rows(b); m != n {
				return fmt.Errorf("write batch: column %s of kind %d has %d rows, %s has %d", c.name, t.kind, m, t.columns[0].name, n)
			}
		}
	}
	return nil
}

// add moves rows of b, of table t, from row `from` on, into p, as many as there is room for, and
// returns the first row that it left.
func (p *pending) add(t *table, b *event.Batch, from int) int {
	n := t.rows(b)
	to := min(n, from+writeTotal-p.rows, from+writeRows-t.rows(&p.batch))
	if to <= from {
		return from
	}
	for _, c := range t.columns {
		c.cells.move(&p.batch, b, from, to)
	}
	p.rows += to - from
	p.full = p.full || p.rows >= writeTotal || t.rows(&p.batch) >= writeRows
	return to
}

func (p *pending) clear(tables []table) {
	for i := range tables {
		for _, c := range tables[i].columns {
			c.cells.reset(&p.batch)
		}
	}
	p.rows, p.full = 0, false
}
