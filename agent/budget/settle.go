package budget

import "slices"

// patience is how long after its end a window is waited for: until the ruler has gone on, or a
// process that never switched is given up.
const patience = 10 * second

// settle measures the windows that are over. With final set nothing more will come.
func (c *Controller) settle(now int64, final bool) {
	for _, pid := range c.pids() {
		m := c.meters[pid]
		m.settleMark()
		for _, w := range c.windows {
			if w.settled[pid] || now < w.spanEnd && !final && !m.gone {
				continue
			}
			row, done := c.row(m, w, now, final || m.gone)
			if !done {
				break // in order: a span begins where the last one ended
			}
			w.settled[pid] = true
			c.done = append(c.done, row)
		}
	}
	for len(c.windows) > 1 && c.settledByAll(c.windows[0]) {
		c.windows = slices.Delete(c.windows, 0, 1)
	}
}

func (c *Controller) settledByAll(w *window) bool {
	for pid := range c.meters {
		if !w.settled[pid] {
			return false
		}
	}
	return true
}

// row accounts for one window and its span.
func (c *Controller) row(m *meter, w *window, now int64, final bool) (Window, bool) {
	row := Window{PID: m.pid, SpanBegin: w.spanBegin, Span: w.spanEnd - w.spanBegin, Planned: w.planned}
	if final && w.spanEnd > now {
		row.Span = max(0, now-w.spanBegin)
	}
	p := m.find(w)
	waiting := !final && now < w.spanEnd+patience
	switch {
	case p == nil && waiting && now < w.off+2*second,
		p != nil && p.off.Ended == 0 && !final:
		return row, false
	}
	if p != nil {
		end := p.off.Taken
		if p.off.Ended == 0 { // the process ended meanwhile
			end = now
		}
		row.Begin, row.Length = p.on.Taken, max(1, end-p.on.Taken)
		row.Work, row.SpanWork = row.Length, row.Span
		if m.ruler != nil && p.off.Ended != 0 {
			loss, ok, done := m.measure(p, now)
			if !done && waiting {
				return row, false
			}
			if ok {
				row.Loss, row.Measured = int64(loss), true
			}
		}
	}
	work, known := m.spanWork(row.SpanBegin+row.Span, final)
	if !known && waiting {
		return row, false
	}
	if !known {
		work = float64(row.Span)
		m.mark = mark{at: row.SpanBegin + row.Span}
	}
	row.SpanWork = int64(work)
	if p != nil && m.ruler != nil {
		c.learn(m, p, &row)
	}
	return row, true
}

// learn takes what a window has shown into account for the ones to come.
func (c *Controller) learn(m *meter, p *period, row *Window) {
	if row.Measured {
		m.losses.add(float64(row.Loss), float64(row.Length))
		m.waits += float64(p.on.Ended - p.on.Began + p.off.Ended - p.off.Began)
		m.waited += float64(row.Length)
		m.placebo(p, m.ended)
		m.compare(p, m.ended)
	} else {
		m.losses.miss(float64(row.Length))
	}
	if p.off.Ended != 0 {
		m.ended = p.off.Ended
	}
	v := view{s: m.ruler, usual: 1 << 62, periods: m.around(row.Begin, row.Begin+row.Length), slow: m.pacing()}
	if n, _, known := v.progress(row.Begin, min(row.Begin+row.Length, m.ruler.last())); known {
		row.Work = int64(n / m.rate)
	}
}

// pacing is the share of its pace that the program is reckoned to keep in windows, apart from their switching.
func (m *meter) pacing() float64 {
	lost := m.losses.share()
	if m.waited > 0 {
		lost -= m.waits / m.waited
	}
	return 1 - min(0.9, max(0, lost))
}

// find returns the period in which a process carried a window out.
func (m *meter) find(w *window) *period {
	for i := range m.periods {
		p := &m.periods[i]
		if p.on.Began >= w.on-millisecond && p.on.Began < max(w.off, w.on+latest) {
			return p
		}
	}
	return nil
}

// begin marks the beginning of the first span.
func (m *meter) begin(at int64) {
	if m.mark.at == 0 {
		m.mark.at = at
	}
}

// settleMark looks up the count at the mark as soon as the ruler has passed it.
func (m *meter) settleMark() {
	if m.ruler == nil || m.mark.at == 0 || m.mark.known || m.ruler.last() < m.mark.at || len(m.ruler.at) == 0 {
		return
	}
	m.mark.known = true
	m.mark.count = m.ruler.countAt(max(m.mark.at, m.ruler.at[0]))
}

// spanWork returns the work from the mark to a moment, in ns, and moves the mark there.
func (m *meter) spanWork(to int64, final bool) (work float64, known bool) {
	if m.ruler == nil || !m.mark.known {
		return 0, false
	}
	if final {
		to = min(to, m.ruler.last())
	}
	if m.ruler.last() < to || to < m.ruler.at[0] {
		return 0, false
	}
	count := m.ruler.countAt(to)
	work = max(0, count-m.mark.count) / m.rate
	m.mark = mark{at: to, known: true, count: count}
	return work, true
}

// Windows returns the windows that have been settled since it was called last, in order of time for
// each process.
func (c *Controller) Windows() []Window {
	done := c.done
	c.done = nil
	return done
}

// Close settles what is left, at the end of the run, and accounts for the time after the last span.
func (c *Controller) Close(now int64) {
	c.settle(now, true)
	for _, pid := range c.pids() {
		m := c.meters[pid]
		if m.ruler == nil || !m.mark.known || m.ruler.last() <= m.mark.at {
			continue
		}
		begin := m.mark.at
		if work, known := m.spanWork(now, true); known && work > 0 {
			c.done = append(c.done, Window{PID: pid, SpanBegin: begin, Span: m.mark.at - begin, SpanWork: int64(work)})
		}
	}
}
