package pickle

import "fmt"

// mark removes the last mark and returns where it was.
func (m *machine) mark() (int, error) {
	n := len(m.marks)
	if n == 0 {
		return 0, m.damage("a mark is missing")
	}
	at := m.marks[n-1]
	m.marks = m.marks[:n-1]
	return at, nil
}

// collect moves what lies above the mark into the container below it.
func (m *machine) collect(op byte) error {
	at, err := m.mark()
	if err != nil {
		return err
	}
	items := m.stack[at:]
	m.stack = m.stack[:at]
	if len(m.marks) > 0 && at <= m.marks[len(m.marks)-1] || at == 0 {
		return m.damage("items without a container")
	}
	return m.extend(m.stack[at-1], op == opSetItems, items)
}

// single moves one item into the container below it.
func (m *machine) single(op byte) error {
	n := 1
	if op == opSetItem {
		n = 2
	}
	floor := 0
	if k := len(m.marks); k > 0 {
		floor = m.marks[k-1]
	}
	if len(m.stack) < floor+n+1 {
		return m.damage("items without a container")
	}
	at := len(m.stack) - n
	items := m.stack[at:]
	m.stack = m.stack[:at]
	if op == opSetItem {
		// One pair at a time is how protocol 0 writes: a dict is never known to be complete.
		return m.extendAs(m.stack[at-1], true, items, nil)
	}
	return m.extend(m.stack[at-1], false, items)
}

func (m *machine) extend(v Value, pairs bool, items []Value) error {
	return m.extendAs(v, pairs, items, m.b)
}

// extendAs adds items to a container, or lets the builder replace it.
func (m *machine) extendAs(v Value, pairs bool, items []Value, b Builder) error {
	want := List
	if pairs {
		want = Dict
	}
	if v.tag() != want {
		return m.damage("items for what is neither a list nor a dict")
	}
	if pairs && len(items)%2 != 0 {
		return m.damage("a key without a value")
	}
	for i, item := range items {
		items[i] = m.h.Resolve(item)
	}
	s := *m.h.slots.at(v.payload())
	if b != nil && len(items) > 0 && (s == 0 || s&isRecord != 0) {
		done, err := m.build(v, s, pairs, items)
		if done || err != nil {
			return err
		}
	}
	if s&isRecord != 0 {
		return m.damage("what was complete grows again")
	}
	m.h.extend(v, items)
	return nil
}

// build asks the builder for a record.
func (m *machine) build(v Value, s slot, pairs bool, items []Value) (done bool, err error) {
	var record uint64
	if pairs {
		if s != 0 {
			return false, nil
		}
		record, done, err = m.b.Dict(m.h, items)
	} else {
		record, done, err = m.b.List(m.h, uint64(s&^isRecord), s != 0, items)
	}
	if err != nil {
		return false, &DamageError{Offset: m.begin, What: err.Error(), cause: err}
	}
	if done {
		m.h.replace(v, record)
		if m.h.used+m.b.Used() > m.h.limit {
			return false, m.tooLarge()
		}
	}
	return done, nil
}

// close makes a container of what lies above the mark.
func (m *machine) close(op byte) error {
	at, err := m.mark()
	if err != nil {
		return err
	}
	items := m.stack[at:]
	m.stack = m.stack[:at]
	if op == opTuple {
		return m.pack(items)
	}
	kind := List
	if op == opDict {
		kind = Dict
	}
	v := m.h.container(kind)
	if len(items) > 0 {
		if err := m.extend(v, op == opDict, items); err != nil {
			return err
		}
	}
	m.push(v)
	return nil
}

// tuple makes one of the last n values.
func (m *machine) tuple(n int) error {
	floor := 0
	if k := len(m.marks); k > 0 {
		floor = m.marks[k-1]
	}
	at := len(m.stack) - n
	if at < floor {
		return m.damage("a value is missing")
	}
	items := m.stack[at:]
	m.stack = m.stack[:at]
	return m.pack(items)
}

func (m *machine) pack(items []Value) error {
	v := m.h.container(Tuple)
	if len(items) > 0 {
		for i, item := range items {
			items[i] = m.h.Resolve(item)
		}
		m.h.extend(v, items)
	}
	m.push(v)
	return nil
}

// denseGap is how far ahead of the others a memo entry may be and still lie with them.
const denseGap = 1 << 10

// remember keeps a value in the memo.
func (m *machine) remember(at uint32, v Value) error {
	m.h.used += 8
	if uint64(at) < m.memo.n {
		*m.memo.at(uint64(at)) = v
		return nil
	}
	if uint64(at) < m.memo.n+denseGap {
		for m.memo.n < uint64(at) {
			m.memo.add(0)
			m.h.used += 8
		}
		m.memo.add(v)
		return nil
	}
	if m.sparse == nil {
		m.sparse = make(map[uint32]Value)
	}
	if _, ok := m.sparse[at]; !ok {
		m.h.used += 32
	}
	m.sparse[at] = v
	return nil
}

// recall returns a value of the memo.
func (m *machine) recall(at uint32) (Value, error) {
	if uint64(at) < m.memo.n {
		return *m.memo.at(uint64(at)), nil
	}
	if v, ok := m.sparse[at]; ok {
		return v, nil
	}
	return 0, m.damage("memo entry %d was never made", at)
}

func (m *machine) memoize() error {
	if len(m.stack) == 0 {
		return m.damage("a value is missing")
	}
	v := m.stack[len(m.stack)-1]
	at := m.memo.n + uint64(len(m.sparse))
	if at > 1<<32-1 {
		return &LimitError{Offset: m.begin, What: fmt.Sprintf("more than %d memo entries", uint64(1)<<32)}
	}
	return m.remember(uint32(at), v)
}
