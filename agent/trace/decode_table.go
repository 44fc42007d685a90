package trace

import (
	"cmp"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/warpscope/warpscope/agent/event"
)

// encoded is a column as found in a payload.
type encoded struct {
	planes []byte
	base   uint64
	how    coding
	layout layout
}

// constant tells whether the column is its base in every row.
func (c *encoded) constant() bool { return len(c.planes) == 0 && c.how == (coding{}) }

// stands tells whether the column can be decoded before all others.
func (c *encoded) stands() bool { return c.how.key == 0 && c.how.chain <= chainPrevious }

// table decodes one table into b.
func (d *decoder) table(t *table, message []byte, b *event.Batch) error {
	var found [32]encoded
	var rows uint64
	d.ticks.tick, d.ticks.origin, d.scale = 0, 0, 0
	for i := range found {
		found[i].layout = plain()
	}
	for rest := message; len(rest) > 0; {
		var f field
		var err error
		if f, rest, err = next(rest); err != nil {
			return err
		}
		ours := f.number >= fieldFirst && int(f.number) < fieldFirst+len(t.columns) || t.ticks && (f.number == fieldStartError || f.number == fieldEndError)
		switch {
		case f.number == fieldRows && f.typ == protowire.VarintType:
			rows = f.varint
		case f.number == fieldTick && t.ticks && f.typ == protowire.VarintType:
			d.ticks.tick = f.varint
		case f.number == fieldScale && t.scaled && f.typ == protowire.VarintType:
			if f.varint > maxScale {
				return fmt.Errorf("%w: its times are in units of 2^%d ns", errPayload, f.varint)
			}
			d.scale = uint(f.varint)
		case f.number == fieldOrigin && t.ticks && f.typ == protowire.VarintType:
			d.ticks.origin = uint64(protowire.DecodeZigZag(f.varint))
		case f.typ == protowire.BytesType && ours:
			if err := found[f.number].parse(f.bytes); err != nil {
				return err
			}
		}
	}
	if rows > maxRows || d.begun+int(rows) > maxRows {
		return fmt.Errorf("%w: it declares more than %d rows", errPayload, maxRows)
	}
	d.begun += int(rows)
	return d.columns(t, &found, int(rows), b)
}

func (c *encoded) parse(message []byte) error {
	*c = encoded{layout: plain()}
	for rest := message; len(rest) > 0; {
		var f field
		var err error
		if f, rest, err = next(rest); err != nil {
			return err
		}
		small := uint(min(f.varint, 1<<16))
		switch f.number {
		case columnPlanes:
			c.planes = f.bytes
		case columnBase:
			c.base = uint64(protowire.DecodeZigZag(f.varint))
		case columnChain:
			c.how.chain = chain(small)
		case columnKey:
			c.how.key = int(small)
		case columnDepth:
			c.how.depth = int(small)
		case columnLag:
			c.how.lag = protowire.DecodeZigZag(f.varint)
		case columnReach:
			c.how.reach = int64(f.varint)
		case columnLow:
			c.layout.low = cmp.Or(small, 8)
		case columnPack:
			c.layout.pack = cmp.Or(small, 1)
		}
	}
	return nil
}

// columns decodes the columns of a table into b: first those that need no other.
func (d *decoder) columns(t *table, found *[32]encoded, rows int, b *event.Batch) error {
	d.values, d.keys, d.slots = resize(d.values, rows), resize(d.keys, rows), resize(d.slots, rows)
	d.keyed, d.timed = coding{}, false
	for _, first := range []bool{true, false} {
		for i := range t.columns {
			c := &found[i+fieldFirst]
			if c.stands() != first {
				continue
			}
			if err := d.column(t, i, found, rows, b); err != nil {
				return fmt.Errorf("column %s of kind %d: %w", t.columns[i].name, t.kind, err)
			}
		}
	}
	if d.ticks.tick == 0 {
		return nil
	}
	d.ticks.startErrors, d.ticks.endErrors = resize(d.ticks.startErrors, rows), resize(d.ticks.endErrors, rows)
	if !found[fieldStartError].stands() || !found[fieldEndError].stands() {
		return fmt.Errorf("%w: errors of ticks depend on a column", errPayload)
	}
	err := cmp.Or(d.decode(t, fieldStartError, found, d.ticks.startErrors, b), d.decode(t, fieldEndError, found, d.ticks.endErrors, b))
	if err != nil {
		return fmt.Errorf("errors of ticks of kind %d: %w", t.kind, err)
	}
	d.ticks.join() // in the columns themselves
	return nil
}

// column decodes the i-th column of t into b; what is in ticks, into ticks.
func (d *decoder) column(t *table, i int, found *[32]encoded, rows int, b *event.Batch) error {
	cells := t.columns[i].cells
	c := &found[i+fieldFirst]
	if d.ticks.tick != 0 && (i == t.time || i+fieldFirst == fieldDuration) {
		into := &d.ticks.gaps
		if i != t.time {
			into = &d.ticks.lengths
		}
		*into = cells.room(b, rows) // until they are joined, of ticks
		return d.decode(t, i+fieldFirst, found, *into, b)
	}
	if d.scale != 0 && i+fieldFirst == fieldDuration {
		// In units: the column of times may be chained to it.
		d.durations, d.timed = resize(d.durations, rows), true
		if err := d.decode(t, i+fieldFirst, found, d.durations, b); err != nil {
			return err
		}
		growKnown(cells.room(b, rows), d.durations, d.scale)
		return nil
	}
	scaled := d.scale != 0 && i == t.time
	switch {
	case scaled:
	case c.constant():
		cells.fill(b, rows, c.base)
		return nil
	case c.how == (coding{}) && c.layout == plain() && len(c.planes) == rows:
		cells.spread(b, c.planes, c.base)
		return nil
	}
	if column := cells.room(b, rows); column != nil {
		err := d.decode(t, i+fieldFirst, found, column, b)
		if scaled {
			grow(column, d.scale)
		}
		return err
	}
	if err := d.decode(t, i+fieldFirst, found, d.values, b); err != nil {
		return err
	}
	cells.store(b, d.values)
	return nil
}

// decode sets values to those of the column that is a field of t.
func (d *decoder) decode(t *table, field int, found *[32]encoded, values []uint64, b *event.Batch) error {
	c := &found[field]
	switch {
	case c.how.chain > chainLaunch:
		return fmt.Errorf("%w: unknown chain %d", errPayload, c.how.chain)
	case c.how.chain == chainLaunch && (t.kind != event.KindCall || field != t.time+fieldFirst || c.how.key == 0):
		return fmt.Errorf("%w: it is none of calls that are told by launches", errPayload)
	case c.how.chain >= chainEnd && (!t.lasts || field <= fieldDuration || d.ticks.tick != 0):
		return fmt.Errorf("%w: it has no durations to be chained to", errPayload)
	case !c.layout.valid(len(c.planes), len(values)):
		return fmt.Errorf("%w: %d bytes for %d rows, of which the first plane has %d bits", errPayload, len(c.planes), len(values), c.layout.low)
	}
	if c.how.key != 0 {
		if d.memory == nil {
			d.memory = new(memory)
		}
		if err := d.context(t, field, found, c.how, b); err != nil {
			return err
		}
	}
	if c.how.chain >= chainEnd && !d.timed {
		d.timed = true
		d.durations = resize(d.durations, len(values))
		t.columns[fieldDuration-fieldFirst].cells.load(b, 0, d.durations)
	}
	join(values, c.planes, c.layout)
	if c.how.chain == chainLaunch {
		if !found[fieldCorrelation].stands() {
			return fmt.Errorf("%w: it depends on a later column", errPayload)
		}
		d.launches.find(b, 0, len(values))
		d.launches.scale = d.scale
		d.launches.restore(values, c.base, &c.how, d.slots, d.durations, d.memory)
		return nil
	}
	restore(values, c.base, c.how, d.slots, d.durations, d.memory)
	return nil
}

// context sets slots to those of a key, which is a column that has been decoded.
func (d *decoder) context(t *table, field int, found *[32]encoded, how coding, b *event.Batch) error {
	key := how.key - fieldFirst
	timed := (d.ticks.tick != 0 || d.scale != 0) && (key == t.time || how.key == fieldDuration)
	if key < 0 || key >= len(t.columns) || how.key == field || timed || !found[how.key].stands() {
		return fmt.Errorf("%w: its key is no column that stands for itself", errPayload)
	}
	if how.depth > maxDepth {
		return fmt.Errorf("%w: a key of %d rows", errPayload, how.depth)
	}
	if how = (coding{key: how.key, depth: how.depth}); d.keyed == how {
		return nil
	}
	d.keyed = how
	t.columns[key].cells.load(b, 0, d.keys)
	if how.depth > 0 {
		differences(d.keys, found[how.key].base, found[how.key].how.chain)
	}
	contexts(d.slots, d.keys, how.depth)
	return nil
}
