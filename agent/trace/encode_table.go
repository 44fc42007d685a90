package trace

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/warpscope/warpscope/agent/event"
)

// table encodes n rows of one table, from first on.
func (e *encoder) table(t *table, field protowire.Number, b *event.Batch, first, n int) {
	e.rows += n
	e.counts[t.kind] += uint32(n)
	opening := len(e.spans)
	e.spans = append(e.spans, span{}) // the table's tag and length, known at the end
	head := len(e.heads)
	e.varint(fieldRows, uint64(n))
	e.values, e.keys, e.slots = resize(e.values, n), resize(e.keys, n), resize(e.slots, n)
	e.durations, e.trial = resize(e.durations, n), resize(e.trial, n)
	e.ticks.tick, e.keyed = 0, coding{}
	times := &t.columns[t.time]
	times.cells.load(b, first, e.values)
	if t.lasts {
		t.columns[fieldDuration-fieldFirst].cells.load(b, first, e.durations)
	}
	e.times(e.values, t.lasts)
	if t.ticks {
		if e.ticks.split(e.values, e.durations); e.ticks.tick != 0 {
			e.varint(fieldOrigin, protowire.EncodeZigZag(int64(e.ticks.origin)))
			e.varint(fieldTick, e.ticks.tick)
		}
	}
	if e.scale = 0; t.scaled {
		if e.scale = commonScale(e.values, e.durations); e.scale != 0 {
			e.varint(fieldScale, uint64(e.scale))
			shrinkKnown(e.durations, e.scale)
		}
	}
	e.spans = append(e.spans, span{head: head, headEnd: len(e.heads)})
	for i := range t.columns {
		e.column(t, i, b, first)
	}
	if e.ticks.tick != 0 {
		e.errors(fieldStartError, e.ticks.startErrors)
		e.errors(fieldEndError, e.ticks.endErrors)
	}
	size := 0
	for i := range e.spans[opening+1:] {
		s := &e.spans[opening+1+i]
		size += s.headEnd - s.head + s.bulkEnd - s.bulk
		s.kind = t.kind
	}
	head = len(e.heads)
	e.heads = protowire.AppendTag(e.heads, field, protowire.BytesType)
	e.heads = protowire.AppendVarint(e.heads, uint64(size))
	e.spans[opening] = span{head: head, headEnd: len(e.heads)}
}

// column encodes the i-th column of t.
func (e *encoder) column(t *table, i int, b *event.Batch, first int) {
	c := &t.columns[i]
	values, codings := e.values, c.codings
	switch {
	case e.ticks.tick != 0 && i == t.time:
		values, codings = e.ticks.gaps, c.ticked
	case e.ticks.tick != 0 && i+fieldFirst == fieldDuration:
		values = e.ticks.lengths
	case e.scale != 0 && i+fieldFirst == fieldDuration:
		copy(values, e.durations)
	default:
		c.cells.load(b, first, values)
		if e.scale != 0 && i == t.time {
			shrink(values, e.scale)
		}
	}
	if len(codings) == 0 {
		e.plain(i+fieldFirst, values)
		return
	}
	if v, same := uniform(values); same {
		e.describe(i+fieldFirst, v, coding{}, plain(), len(e.bulk), len(values))
		return
	}
	if t.kind == event.KindCall && i == t.time && len(b.Kernels.Start) > 0 {
		e.launches.find(b, first, len(values))
		e.launches.scale = e.scale
		if lag, ok := e.launches.lag(values, e.durations); ok {
			for _, reach := range [2]int64{1 << 14, 1 << 17} {
				c := codings[0]
				c.chain, c.lag, c.reach = chainLaunch, lag, reach>>e.scale
				codings = append(codings[:len(codings):len(codings)], c)
			}
		}
	}
	how, l := e.choose(t, b, first, values, codings)
	e.context(t, b, first, how)
	base := e.residuals(values, how)
	bulk := len(e.bulk)
	e.bulk = planes(e.bulk, values, l)
	e.describe(i+fieldFirst, base, how, l, bulk, len(values))
}

func (e *encoder) residuals(values []uint64, how coding) uint64 {
	if how.chain == chainLaunch {
		return e.launches.residuals(values, &how, e.slots, e.durations, &e.memory)
	}
	return residuals(values, how, e.slots, e.durations, &e.memory)
}

// plain encodes a column by what its values differ from the lowest one. values is used up.
func (e *encoder) plain(field int, values []uint64) {
	base := residuals(values, coding{}, nil, nil, nil)
	bulk := len(e.bulk)
	e.bulk = planes(e.bulk, values, plain())
	e.describe(field, base, coding{}, plain(), bulk, len(values))
}

// errors encodes a column of which most values are -1, 0 or 1.
func (e *encoder) errors(field int, values []uint64) {
	base := lowest(values)
	base -= (base + 1) & 3 // so that these three share their higher bits
	differences(values, base, chainBase)
	l := layout{low: 2, pack: 4} // zstd makes little of a noisy plane of few symbols, but much of four in a byte
	bulk := len(e.bulk)
	e.bulk = planes(e.bulk, values, l)
	e.describe(field, base, coding{}, l, bulk, len(values))
}

// choose returns the coding and the layout of residuals that take the fewest bits on a sample of
// the column.
func (e *encoder) choose(t *table, b *event.Batch, first int, values []uint64, codings []coding) (coding, layout) {
	n := min(len(values), trialRows)
	trial := e.trial[:n]
	best, bestCost := codings[0], math.Inf(1)
	for _, c := range codings {
		copy(trial, values[:n])
		e.context(t, b, first, c)
		e.residuals(trial, c)
		sample := trial[max(0, n-sampleRows):]
		if cost := e.costs.planes(sample, 8); cost < bestCost {
			best, bestCost = c, cost
			e.sample = append(e.sample[:0], sample...)
		}
	}
	l := plain()
	l.low = e.costs.lowest(e.sample)
	return best, l
}

// context sets slots to those of a coding's key.
func (e *encoder) context(t *table, b *event.Batch, first int, how coding) {
	how = coding{key: how.key, depth: how.depth}
	if how.key == 0 || how == e.keyed {
		return
	}
	e.keyed = how
	key := &t.columns[how.key-fieldFirst]
	key.cells.load(b, first, e.keys)
	if how.depth > 0 {
		c, base := chainBase, uint64(0)
		if len(key.codings) > 0 {
			c, base = key.codings[0].chain, e.keys[0]
		} else {
			base = lowest(e.keys)
		}
		differences(e.keys, base, c)
	}
	contexts(e.slots, e.keys, how.depth)
}

// describe adds the span of a column whose planes are at the end of bulk. One that is 0 in every row
// is left out.
func (e *encoder) describe(field int, base uint64, how coding, l layout, bulk, rows int) {
	size := len(e.bulk) - bulk
	if size == 0 && base == 0 && how == (coding{}) {
		return
	}
	head := len(e.heads)
	if base != 0 {
		e.varint(columnBase, protowire.EncodeZigZag(int64(base)))
	}
	if how.chain != chainBase {
		e.varint(columnChain, uint64(how.chain))
	}
	if how.key != 0 {
		e.varint(columnKey, uint64(how.key))
	}
	if how.depth != 0 {
		e.varint(columnDepth, uint64(how.depth))
	}
	if how.chain == chainLaunch {
		e.varint(columnLag, protowire.EncodeZigZag(how.lag))
		e.varint(columnReach, uint64(how.reach))
	}
	if l.low != 8 {
		e.varint(columnLow, uint64(l.low))
	}
	if l.pack != 1 {
		e.varint(columnPack, uint64(l.pack))
	}
	if size > 0 {
		e.heads = protowire.AppendTag(e.heads, columnPlanes, protowire.BytesType)
		e.heads = protowire.AppendVarint(e.heads, uint64(size))
	}
	// The column's own tag and length stand before what has just been appended.
	size += len(e.heads) - head
	tag := len(e.heads)
	e.heads = protowire.AppendTag(e.heads, protowire.Number(field), protowire.BytesType)
	e.heads = protowire.AppendVarint(e.heads, uint64(size))
	e.spans = append(e.spans,
		span{head: tag, headEnd: len(e.heads)},
		span{head: head, headEnd: tag, bulk: bulk, bulkEnd: len(e.bulk), first: l.first(rows), plane: rows, field: field})
}

// times widens the frame's span of time by a column of times.
func (e *encoder) times(values []uint64, lasts bool) {
	for i, v := range values {
		t := event.Time(v)
		if t == 0 {
			continue
		}
		if e.min == 0 || t < e.min {
			e.min = t
		}
		if lasts {
			t += event.Time(max(0, int64(e.durations[i])))
		}
		e.max = max(e.max, t)
	}
}
