package symbols

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// chunk is how much of a symbol table is in memory at once, a multiple of symbolSize.
	chunk = 1 << 16 / symbolSize * symbolSize
	// maxName is where a name is cut. Names of C++ templates reach some 20 KiB.
	maxName = 64 << 10
	// maxUnsized is how far a symbol without a size reaches at most: assembly is written by hand.
	maxUnsized = 64 << 10
	// maxNested is how many symbols before an address are asked whether they hold it.
	maxNested = 32
)

var (
	errBuildID  = errors.New("the file is another build than the one loaded")
	errNoSymbol = errors.New("no symbols")
	errTooMany  = errors.New("too many symbols")
	errTime     = errors.New("out of time")
)

// symbol is a function; its name stays in the file.
type symbol struct {
	address uint64
	size    uint32 // bytes; 0 unknown
	name    uint32 // offset in the table's strings
	rank    uint8  // the lower, the rather this one among several at one address
}

// table is the functions of one file, sorted by address.
type table struct {
	image   *image
	closer  io.Closer // nil: nothing to close
	strings section
	code    []section // executable
	symbols []symbol
}

// open reads the table of a file, if it is the file that was loaded.
func open(f file, maxSymbols int, deadline time.Time) (*table, error) {
	path := f.root + f.path
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("open %q: not an absolute path", path)
	}
	// A path from a stranger may be a pipe or a device: opening it must not wait.
	in, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	info, err := in.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("open %q: not a regular file", path)
	}
	var t *table
	if err == nil {
		t, err = newTable(in, info.Size(), f.buildID, maxSymbols, deadline)
	}
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	t.closer = in
	return t, nil
}

// newTable reads the table of an ELF file that must have the given build id.
func newTable(in io.ReaderAt, size int64, buildID string, maxSymbols int, deadline time.Time) (*table, error) {
	im, err := readImage(in, size)
	if err != nil {
		return nil, err
	}
	if !strings.EqualFold(im.buildID, buildID) {
		return nil, errBuildID
	}
	t := &table{image: im}
	for _, s := range im.sections {
		if s.flags&elf.SHF_EXECINSTR != 0 && s.flags&elf.SHF_ALLOC != 0 {
			t.code = append(t.code, s)
		}
	}
	// The full table holds what the dynamic one does, and more; it is missing in stripped files.
	err = errNoSymbol
	for _, kind := range []elf.SectionType{elf.SHT_SYMTAB, elf.SHT_DYNSYM} {
		for i := range im.sections {
			if im.sections[i].kind != kind {
				continue
			}
			if err = t.readSymbols(im.sections[i], maxSymbols, deadline); err == nil {
				return t, nil
			}
		}
	}
	return nil, err
}

// readSymbols fills the table from one section.
func (t *table) readSymbols(s section, maxSymbols int, deadline time.Time) error {
	if s.entrySize != symbolSize || s.flags&elf.SHF_COMPRESSED != 0 || int64(s.link) >= int64(len(t.image.sections)) {
		return errNoSymbol
	}
	t.strings = t.image.sections[s.link]
	if t.strings.kind != elf.SHT_STRTAB || t.strings.flags&elf.SHF_COMPRESSED != 0 {
		return errNoSymbol
	}
	if s.size/symbolSize > uint64(maxSymbols) {
		return errTooMany
	}
	t.symbols = nil
	end := s.size / symbolSize * symbolSize
	for at := uint64(0); at < end; at += chunk {
		if time.Now().After(deadline) {
			return errTime
		}
		if at > ^s.offset {
			return errNoSymbol
		}
		raw, err := t.image.read(s.offset+at, min(chunk, end-at))
		if err != nil {
			return err
		}
		for ; len(raw) >= symbolSize; raw = raw[symbolSize:] {
			if sym, ok := t.decode(raw); ok {
				t.symbols = append(t.symbols, sym)
			}
		}
	}
	if len(t.symbols) == 0 {
		return errNoSymbol
	}
	t.symbols = slices.Clip(t.symbols)
	slices.SortFunc(t.symbols, func(a, b symbol) int {
		return cmp.Or(cmp.Compare(a.address, b.address), cmp.Compare(a.rank, b.rank), cmp.Compare(a.name, b.name))
	})
	return nil
}

// decode reads one entry; ok is false if it is no function that lies in the file.
func (t *table) decode(raw []byte) (symbol, bool) {
	le := binary.LittleEndian
	s := symbol{name: le.Uint32(raw), address: le.Uint64(raw[8:])}
	kind, binding, index := elf.ST_TYPE(raw[4]), elf.ST_BIND(raw[4]), elf.SectionIndex(le.Uint16(raw[6:]))
	s.size = uint32(min(le.Uint64(raw[16:]), 1<<32-1))
	if s.name == 0 || index == elf.SHN_UNDEF || index == elf.SHN_ABS || index == elf.SHN_COMMON {
		return s, false
	}
	switch kind {
	case elf.STT_FUNC:
	case elf.STT_GNU_IFUNC: // the code that chooses an implementation, named like what it chooses
		s.rank = 1
	case elf.STT_NOTYPE: // labels in assembly; local ones are the inside of functions
		if binding == elf.STB_LOCAL {
			return s, false
		}
		s.rank = 2
	default:
		return s, false
	}
	switch binding {
	case elf.STB_GLOBAL:
	case elf.STB_WEAK:
		s.rank += 4
	default:
		s.rank += 8
	}
	if s.size == 0 {
		s.rank += 16
	}
	return s, t.codeEnd(s.address) != 0
}

// codeEnd returns the end of the executable section that holds an address, 0 if there is none.
func (t *table) codeEnd(address uint64) uint64 {
	for i := range t.code {
		if c := &t.code[i]; address >= c.address && address-c.address < c.size {
			return c.address + c.size
		}
	}
	return 0
}

// lookup names the function that holds an address of the file.
func (t *table) lookup(address uint64) (name string, start uint64, ok bool) {
	after, _ := slices.BinarySearchFunc(t.symbols, address, func(s symbol, a uint64) int {
		if s.address <= a {
			return -1
		}
		return 1
	})
	// Functions may lie within others (a hot loop with a name of its own): the innermost counts.
	var held symbol
	for i := after - 1; i >= max(0, after-maxNested); i-- {
		s := t.symbols[i]
		if ok && s.address != held.address {
			break
		}
		if !t.holds(s, address) || ok && s.rank > held.rank {
			continue
		}
		candidate := t.name(s)
		if candidate == "" || ok && s.rank == held.rank && !plainer(candidate, name) {
			continue
		}
		name, held, ok = candidate, s, true
	}
	return name, held.address, ok
}

// holds reports whether an address at or behind the symbol's belongs to it.
func (t *table) holds(s symbol, address uint64) bool {
	if s.size != 0 {
		return address-s.address < uint64(s.size)
	}
	// Without a size it reaches up to the next symbol.
	next, _ := slices.BinarySearchFunc(t.symbols, s.address, func(other symbol, a uint64) int {
		if other.address <= a {
			return -1
		}
		return 1
	})
	if next < len(t.symbols) && t.symbols[next].address <= address {
		return false
	}
	return address-s.address < maxUnsized && address < t.codeEnd(s.address)
}

// plainer reports whether a is the name that people know rather than b: malloc, not __libc_malloc.
func plainer(a, b string) bool {
	underscores := func(s string) int { return len(s) - len(strings.TrimLeft(s, "_")) }
	return cmp.Or(cmp.Compare(underscores(a), underscores(b)), cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) < 0
}

// name reads a symbol's name; "" if the file has none there.
func (t *table) name(s symbol) string {
	if uint64(s.name) >= t.strings.size || t.strings.size > t.image.size {
		return ""
	}
	left := min(t.strings.size-uint64(s.name), maxName)
	for _, n := range []uint64{min(left, 256), left} {
		raw, err := t.image.read(t.strings.offset+uint64(s.name), n)
		if err != nil {
			return ""
		}
		if end := bytes.IndexByte(raw, 0); end >= 0 {
			return clean(raw[:end])
		}
		if n == left {
			return clean(raw)
		}
	}
	return ""
}

// clean makes a name printable and takes its version off: memcpy@@GLIBC_2.14.
func clean(raw []byte) string {
	if at := bytes.IndexByte(raw, '@'); at > 0 {
		raw = raw[:at]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(string(raw), "?"))
}

// bytes is the memory that the table takes.
func (t *table) bytes() int64 {
	if t == nil {
		return 0
	}
	const perSymbol, perSection = 24, 64 // sizes of these structs in memory
	return perSymbol*int64(cap(t.symbols)) + perSection*int64(cap(t.image.sections)+cap(t.code))
}

func (t *table) close() {
	if t != nil && t.closer != nil {
		// Opened for reading only: closing it loses nothing.
		_ = t.closer.Close()
	}
}
