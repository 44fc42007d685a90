package pickle

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// Limits bound what reading takes.
type Limits struct {
	// Memory is how many bytes what is read may take; 0: 768 MiB.
	Memory int64
	// Text is how long a text may be, in bytes; 0: 16 MiB.
	Text int
}

// Builder replaces dicts and lists by its own records while they are read.
type Builder interface {
	// Dict is given the first pairs of a dict, keys and values in turn: up to 1,000 of them as Python
	// writes them. With ok, the record stands in the dict's place.
	Dict(h *Heap, pairs []Value) (record uint64, ok bool, err error)
	// List is given the first items of a list or, with more, items that follow those of a record that
	// it returned before.
	List(h *Heap, before uint64, more bool, items []Value) (record uint64, ok bool, err error)
	// Used returns how many bytes its records take.
	Used() int64
}

// Read reads one pickle from src; b may be nil.
func Read(ctx context.Context, src io.Reader, b Builder, l Limits) (Value, *Heap, error) {
	if l.Memory == 0 {
		l.Memory = 768 << 20
	}
	if l.Text == 0 {
		l.Text = 16 << 20
	}
	m := &machine{window: window{ctx: ctx, src: src, buf: make([]byte, windowBytes)}, h: newHeap(l.Memory), b: b, limits: l}
	v, err := m.run()
	if err != nil {
		return 0, nil, err
	}
	return v, m.h, nil
}

// machine is the pickle machine: a stack, marks on it, and a memo.
type machine struct {
	window
	h      *Heap
	b      Builder
	limits Limits
	stack  []Value
	marks  []int
	memo   column[Value]
	sparse map[uint32]Value // memo entries out of turn
	begin  int64            // of the opcode
}

const (
	// maxMarks bounds open marks: a level of nesting has one.
	maxMarks = 1 << 16
	// maxStack bounds values that wait. Some writers put a whole list there.
	maxStack = 16 << 20
	// maxLine bounds the numbers and texts of protocol 0.
	maxLine = 1 << 16
	// fixedBytes is at least as long as any opcode with an argument of fixed size.
	fixedBytes = 16
)

func (m *machine) damage(format string, v ...any) error {
	return &DamageError{Offset: m.begin, What: fmt.Sprintf(format, v...)}
}

func (m *machine) truncated() error {
	end := m.base + int64(m.end)
	return &DamageError{Offset: end, What: fmt.Sprintf("%s: it ends at byte %d, before it is complete", ErrTruncated, end), cause: ErrTruncated}
}

func (m *machine) run() (Value, error) {
	for {
		if m.end-m.at < fixedBytes {
			if _, err := m.need(fixedBytes); err != nil {
				return 0, err
			}
			if m.at == m.end {
				return 0, m.truncated()
			}
		}
		m.begin = m.offset()
		op := m.buf[m.at]
		m.at++
		if op == opStop {
			return m.result()
		}
		if !m.quick(op) {
			if err := m.step(op); err != nil {
				return 0, err
			}
		}
		if m.h.used > m.h.limit || len(m.stack) > maxStack {
			return 0, m.tooLarge()
		}
	}
}

// quick takes what most of a large snapshot is made of: stacks are rows of memo entries.
func (m *machine) quick(op byte) bool {
	if op != opLongBinGet || m.end-m.at < 4 {
		return false
	}
	at := uint64(binary.LittleEndian.Uint32(m.buf[m.at:]))
	if at >= m.memo.n {
		return false
	}
	m.at += 4
	m.stack = append(m.stack, *m.memo.at(at))
	return true
}

func (m *machine) tooLarge() error {
	return &LimitError{Offset: m.begin, What: fmt.Sprintf("what it holds takes more than %d MiB of memory", m.limits.Memory>>20)}
}

func (m *machine) result() (Value, error) {
	if len(m.stack) != 1 || len(m.marks) != 0 {
		return 0, m.damage("it stops with %d values where one is expected", len(m.stack))
	}
	return m.h.Resolve(m.stack[0]), nil
}

// step does what one opcode says.
func (m *machine) step(op byte) error {
	switch op {
	case opBinGet, opLongBinGet, opGet:
		return m.get(op)
	case opMemoize:
		return m.memoize()
	case opBinInt1, opBinInt2, opBinInt, opLong1, opLong4, opInt, opLong:
		return m.number(op)
	case opMark:
		if len(m.marks) == maxMarks {
			return &LimitError{Offset: m.begin, What: fmt.Sprintf("it nests more than %d levels deep", maxMarks)}
		}
		m.marks = append(m.marks, len(m.stack))
	case opShortBinUnicode, opBinUnicode, opBinUnicode8, opUnicode, opString, opBinString, opShortBinString:
		return m.text(op)
	case opEmptyDict:
		m.push(m.h.container(Dict))
	case opEmptyList:
		m.push(m.h.container(List))
	case opEmptyTuple:
		m.push(m.h.container(Tuple))
	case opSetItems, opAppends:
		return m.collect(op)
	case opSetItem, opAppend:
		return m.single(op)
	case opDict, opList, opTuple:
		return m.close(op)
	case opTuple1, opTuple2, opTuple3:
		return m.tuple(int(op-opTuple1) + 1)
	case opNone:
		m.push(pack(None, 0))
	case opNewTrue:
		m.push(pack(Bool, 1))
	case opNewFalse:
		m.push(pack(Bool, 0))
	case opBinFloat, opFloat:
		return m.float(op)
	case opBinPut, opLongBinPut, opPut:
		return m.put(op)
	case opFrame, opProto:
		return m.header(op)
	default:
		return m.refuse(op)
	}
	return nil
}

func (m *machine) push(v Value) { m.stack = append(m.stack, v) }

// arg returns n bytes that belong to the opcode.
func (m *machine) arg(n int) ([]byte, error) {
	if m.end-m.at < n {
		ok, err := m.need(n)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, m.truncated()
		}
	}
	b := m.buf[m.at : m.at+n]
	m.at += n
	return b, nil
}

// header takes a protocol number, or the length of a frame: frames only help readers to read ahead.
func (m *machine) header(op byte) error {
	if op == opFrame {
		_, err := m.arg(8)
		return err
	}
	b, err := m.arg(1)
	if err == nil && b[0] > 5 {
		return m.damage("pickle protocol %d: 0 to 5 are known", b[0])
	}
	return err
}

func (m *machine) float(op byte) error {
	if op == opFloat {
		line, err := m.line()
		if err != nil {
			return err
		}
		var f float64
		if _, err := fmt.Sscan(string(line), &f); err != nil {
			return m.damage("%.20q is no number", line)
		}
		m.push(m.h.float(f))
		return nil
	}
	b, err := m.arg(8)
	if err != nil {
		return err
	}
	m.push(m.h.float(math.Float64frombits(binary.BigEndian.Uint64(b))))
	return nil
}

// refuse tells of an opcode that data does not need, and what it asks for.
func (m *machine) refuse(op byte) error {
	name := refusedName(op)
	if name == "" {
		return m.damage("0x%02x is no opcode: this is not a pickle, or it is damaged", op)
	}
	e := &RefusedError{Offset: m.begin, Opcode: name}
	switch op {
	case opGlobal, opInst:
		module, err := m.line()
		if err != nil {
			return err
		}
		e.Name = string(module)
		attribute, err := m.line()
		if err != nil {
			return err
		}
		e.Name += "." + string(attribute)
	case opStackGlobal:
		if n := len(m.stack); n >= 2 {
			module, _ := m.h.Text(m.stack[n-2])
			attribute, _ := m.h.Text(m.stack[n-1])
			e.Name = module + "." + attribute
		}
	}
	if len(e.Name) > 200 {
		e.Name = e.Name[:200]
	}
	return e
}
