package pickle

// Value is something in a [Heap]: a small one stands for itself, others lie in the Heap.
type Value uint64

// Kind is what a Value is.
type Kind uint8

// The kinds.
const (
	None Kind = iota
	Bool
	Int // between -2⁶³ and 2⁶⁴-1
	Float
	Text
	List
	Tuple
	Dict
	Record // what a Builder put there

	wide     // an Int that does not fit the payload, signed
	unsigned // one of 2⁶³ and more
)

const (
	kindBits = 4
	// payloadMax is the largest integer that stands for itself.
	payloadMax = 1<<(63-kindBits) - 1
)

func pack(k Kind, payload uint64) Value { return Value(payload<<kindBits | uint64(k)) }

func (v Value) tag() Kind       { return Kind(v & (1<<kindBits - 1)) }
func (v Value) payload() uint64 { return uint64(v) >> kindBits }

// Kind says what v is.
func (v Value) Kind() Kind {
	switch k := v.tag(); k {
	case wide, unsigned:
		return Int
	default:
		return k
	}
}

// Record returns what a Builder put there, and false for other values.
func (v Value) Record() (uint64, bool) { return v.payload(), v.tag() == Record }

// chunk is how many values are allocated at a time: growing by doubling would need thrice the memory
// for a moment.
const chunk = 1 << 14

// column is a list that grows without moving.
type column[T any] struct {
	chunks []*[chunk]T
	n      uint64
}

func (c *column[T]) add(v T) uint64 {
	at := c.n
	if at/chunk == uint64(len(c.chunks)) {
		c.chunks = append(c.chunks, new([chunk]T))
	}
	c.chunks[at/chunk][at%chunk] = v
	c.n++
	return at
}

func (c *column[T]) at(i uint64) *T { return &c.chunks[i/chunk][i%chunk] }

// Heap holds what was read. It is read only once [Read] returned.
type Heap struct {
	texts  []string
	ids    map[string]uint32
	wides  []uint64
	floats []float64
	// slots are what containers hold: 0 nothing yet, 1 + an index into items, or a record.
	slots column[slot]
	items column[[]Value]

	used, limit int64 // bytes
}

// slot is what a container holds.
type slot uint64

const isRecord slot = 1 << 63

func newHeap(limit int64) *Heap { return &Heap{ids: make(map[string]uint32), limit: limit} }

// Int returns an integer between -2⁶³ and 2⁶³-1, or a boolean as 0 or 1; false for other values.
func (h *Heap) Int(v Value) (int64, bool) {
	switch v.tag() {
	case Int:
		return int64(v) >> kindBits, true
	case Bool:
		return int64(v.payload()), true
	case wide:
		return int64(h.wides[v.payload()]), true
	}
	return 0, false
}

// Uint returns the bits of an integer; false for other values.
func (h *Heap) Uint(v Value) (uint64, bool) {
	if v.tag() == unsigned {
		return h.wides[v.payload()], true
	}
	n, ok := h.Int(v)
	return uint64(n), ok
}

// Float returns a float, or an integer as one; false for other values.
func (h *Heap) Float(v Value) (float64, bool) {
	if v.tag() == Float {
		return h.floats[v.payload()], true
	}
	n, ok := h.Int(v)
	return float64(n), ok
}

// Text returns a text; false for other values.
func (h *Heap) Text(v Value) (string, bool) {
	if v.tag() == Text {
		return h.texts[v.payload()], true
	}
	return "", false
}

// TextID returns a number that equal texts have in common, below [Heap.Texts]; false for other values.
func (h *Heap) TextID(v Value) (uint32, bool) { return uint32(v.payload()), v.tag() == Text }

// Texts returns how many different texts were read.
func (h *Heap) Texts() int { return len(h.texts) }

// TextOf returns the text with a number.
func (h *Heap) TextOf(id uint32) string { return h.texts[id] }

// Items returns what a list or tuple holds, and of a dict its keys and values in turn; nil for other
// values and for what a Builder replaced. The caller does not change them.
func (h *Heap) Items(v Value) []Value {
	switch v.tag() {
	case List, Tuple, Dict:
	default:
		return nil
	}
	s := *h.slots.at(v.payload())
	if s == 0 || s&isRecord != 0 {
		return nil
	}
	return *h.items.at(uint64(s - 1))
}

// Resolve returns the record that stands in the place of a dict or list, or v itself.
func (h *Heap) Resolve(v Value) Value {
	switch v.tag() {
	case List, Tuple, Dict:
		if s := *h.slots.at(v.payload()); s&isRecord != 0 {
			return pack(Record, uint64(s&^isRecord))
		}
	}
	return v
}

// Get returns the value of a text key in a dict; false if there is none.
func (h *Heap) Get(v Value, key string) (Value, bool) {
	if v.tag() != Dict {
		return 0, false
	}
	pairs := h.Items(v)
	for i := 0; i+1 < len(pairs); i += 2 {
		if text, ok := h.Text(pairs[i]); ok && text == key {
			return pairs[i+1], true
		}
	}
	return 0, false
}

func (h *Heap) integer(n int64) Value {
	if n >= -payloadMax-1 && n <= payloadMax {
		return Value(uint64(n)<<kindBits | uint64(Int))
	}
	h.used += 8
	h.wides = append(h.wides, uint64(n))
	return pack(wide, uint64(len(h.wides)-1))
}

func (h *Heap) big(n uint64) Value {
	h.used += 8
	h.wides = append(h.wides, n)
	return pack(unsigned, uint64(len(h.wides)-1))
}

func (h *Heap) float(f float64) Value {
	h.used += 8
	h.floats = append(h.floats, f)
	return pack(Float, uint64(len(h.floats)-1))
}

// text returns the value of a text; equal texts are kept once.
func (h *Heap) text(b []byte) Value {
	if id, ok := h.ids[string(b)]; ok {
		return pack(Text, uint64(id))
	}
	id := uint32(len(h.texts))
	s := string(b)
	h.texts = append(h.texts, s)
	h.ids[s] = id
	h.used += int64(len(s)) + 64 // its headers in list and map
	return pack(Text, uint64(id))
}

func (h *Heap) container(k Kind) Value {
	h.used += 8
	return pack(k, h.slots.add(0))
}

// extend adds items to a container.
func (h *Heap) extend(v Value, more []Value) {
	h.used += int64(len(more)) * 8
	s := h.slots.at(v.payload())
	if *s == 0 {
		h.used += 24
		*s = slot(h.items.add(append([]Value(nil), more...)) + 1)
		return
	}
	list := h.items.at(uint64(*s - 1))
	*list = append(*list, more...)
}

// replace puts a record in a container's place.
func (h *Heap) replace(v Value, record uint64) { *h.slots.at(v.payload()) = slot(record) | isRecord }
