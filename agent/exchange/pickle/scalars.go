package pickle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// line returns the rest of a line, without its end.
func (m *machine) line() ([]byte, error) {
	for n := 64; ; n *= 2 {
		ok, err := m.need(n)
		if err != nil {
			return nil, err
		}
		rest := m.buf[m.at:min(m.end, m.at+n)]
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			m.at += i + 1
			return bytes.TrimSuffix(rest[:i], []byte{'\r'}), nil
		}
		if !ok {
			return nil, m.truncated()
		}
		if n >= maxLine {
			return nil, &LimitError{Offset: m.begin, What: fmt.Sprintf("a line of more than %d bytes", maxLine)}
		}
	}
}

// number pushes an integer.
func (m *machine) number(op byte) error {
	switch op {
	case opBinInt1:
		b, err := m.arg(1)
		if err != nil {
			return err
		}
		m.push(m.h.integer(int64(b[0])))
	case opBinInt2:
		b, err := m.arg(2)
		if err != nil {
			return err
		}
		m.push(m.h.integer(int64(binary.LittleEndian.Uint16(b))))
	case opBinInt:
		b, err := m.arg(4)
		if err != nil {
			return err
		}
		m.push(m.h.integer(int64(int32(binary.LittleEndian.Uint32(b)))))
	case opLong1:
		b, err := m.arg(1)
		if err != nil {
			return err
		}
		return m.long(uint64(b[0]))
	case opLong4:
		b, err := m.arg(4)
		if err != nil {
			return err
		}
		return m.long(uint64(binary.LittleEndian.Uint32(b)))
	default:
		return m.decimal(op)
	}
	return nil
}

// long pushes an integer of n bytes, least significant first.
func (m *machine) long(n uint64) error {
	if n > 9 {
		return &LimitError{Offset: m.begin, What: fmt.Sprintf("an integer of %d bytes: 64 bits are the most that sizes and addresses need", n)}
	}
	b, err := m.arg(int(n))
	if err != nil {
		return err
	}
	var bits uint64
	for i, c := range b[:min(n, 8)] {
		bits |= uint64(c) << (8 * i)
	}
	switch {
	case n == 9 && b[8] == 0:
		m.push(m.h.big(bits))
	case n == 9:
		return &LimitError{Offset: m.begin, What: "an integer of more than 64 bits"}
	case n > 0 && n < 8 && b[n-1]&0x80 != 0:
		m.push(m.h.integer(int64(bits | ^uint64(0)<<(8*n))))
	default:
		m.push(m.h.integer(int64(bits)))
	}
	return nil
}

// decimal pushes an integer that is written in digits; 00 and 01 of opcode INT are booleans.
func (m *machine) decimal(op byte) error {
	line, err := m.line()
	if err != nil {
		return err
	}
	text := string(line)
	if op == opInt && (text == "00" || text == "01") {
		m.push(pack(Bool, uint64(text[1]-'0')))
		return nil
	}
	text = strings.TrimSuffix(text, "L")
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		m.push(m.h.integer(n))
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return m.damage("%.30q is no integer of 64 bits", line)
	}
	m.push(m.h.big(n))
	return nil
}

// text pushes a text.
func (m *machine) text(op byte) error {
	var n uint64
	switch op {
	case opUnicode, opString:
		return m.textLine(op)
	case opShortBinUnicode, opShortBinString:
		b, err := m.arg(1)
		if err != nil {
			return err
		}
		n = uint64(b[0])
	case opBinUnicode, opBinString:
		b, err := m.arg(4)
		if err != nil {
			return err
		}
		n = uint64(binary.LittleEndian.Uint32(b))
	default:
		b, err := m.arg(8)
		if err != nil {
			return err
		}
		n = binary.LittleEndian.Uint64(b)
	}
	if n > uint64(m.limits.Text) {
		return &LimitError{Offset: m.begin, What: fmt.Sprintf("a text of %d bytes: more than %d are not read", n, m.limits.Text)}
	}
	b, err := m.arg(int(n))
	if err != nil {
		return err
	}
	m.push(m.h.text(valid(b)))
	return nil
}

// valid makes b UTF-8: Python writes lone surrogates as they are, and old strings are any bytes.
func valid(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	return bytes.ToValidUTF8(b, []byte("\uFFFD"))
}

// textLine pushes a text of protocol 0.
func (m *machine) textLine(op byte) error {
	line, err := m.line()
	if err != nil {
		return err
	}
	if op == opUnicode {
		m.push(m.h.text([]byte(unescape(string(line)))))
		return nil
	}
	if n := len(line); n < 2 || line[0] != line[n-1] || line[0] != '\'' && line[0] != '"' {
		return m.damage("a string without quotes")
	}
	m.push(m.h.text(valid([]byte(unescape(string(line[1 : len(line)-1]))))))
	return nil
}

// unescape undoes Python's \u, \U, \x and simple escapes; what is none of them stays as it is.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[i+1]]
		if digits > 0 && i+2+digits <= len(s) {
			if n, err := strconv.ParseUint(s[i+2:i+2+digits], 16, 32); err == nil {
				b.WriteRune(rune(n))
				i += 1 + digits
				continue
			}
		}
		if at := strings.IndexByte(`\'"nrt`, s[i+1]); at >= 0 {
			b.WriteByte("\\'\"\n\r\t"[at])
			i++
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// get pushes a value of the memo.
func (m *machine) get(op byte) error {
	at, err := m.index(op, opGet, opBinGet)
	if err != nil {
		return err
	}
	v, err := m.recall(at)
	if err != nil {
		return err
	}
	m.push(v)
	return nil
}

// put keeps the value on top of the stack in the memo.
func (m *machine) put(op byte) error {
	at, err := m.index(op, opPut, opBinPut)
	if err != nil {
		return err
	}
	if len(m.stack) == 0 {
		return m.damage("a value is missing")
	}
	return m.remember(at, m.stack[len(m.stack)-1])
}

// index returns the number of a memo entry: in digits, in a byte or in four.
func (m *machine) index(op, decimal, short byte) (uint32, error) {
	if op == decimal {
		line, err := m.line()
		if err != nil {
			return 0, err
		}
		n, err := strconv.ParseUint(string(line), 10, 32)
		if err != nil {
			return 0, m.damage("%.20q is no memo entry", line)
		}
		return uint32(n), nil
	}
	if op == short {
		b, err := m.arg(1)
		if err != nil {
			return 0, err
		}
		return uint32(b[0]), nil
	}
	b, err := m.arg(4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}
