package symbols

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"testing"
	"time"
	"unicode/utf8"
)

// smallELF is a file with one function of 16 bytes at 0x1000, and a build id.
func smallELF(t testing.TB) []byte {
	t.Helper()
	const notesAt, symbolsAt, stringsAt, sectionsAt, segmentsAt = 0x80, 0xc0, 0x110, 0x200, 0x40
	le := binary.LittleEndian
	out := make([]byte, sectionsAt+4*sectionSize)
	put := func(at int, v any) {
		if _, err := binary.Encode(out[at:], le, v); err != nil {
			t.Fatal(err)
		}
	}
	h := elf.Header64{
		Type: uint16(elf.ET_DYN), Machine: uint16(elf.EM_X86_64), Version: 1, Phoff: segmentsAt, Shoff: sectionsAt,
		Ehsize: headerSize, Phentsize: segmentSize, Phnum: 1, Shentsize: sectionSize, Shnum: 4,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	put(0, &h)
	put(segmentsAt, &elf.Prog64{Type: uint32(elf.PT_NOTE), Off: notesAt, Filesz: 20, Align: 4})
	put(notesAt, []uint32{4, 4, 3, 0x00554e47, 0x04030201})
	put(symbolsAt+symbolSize, &elf.Sym64{Name: 1, Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_FUNC), Shndx: 1, Value: 0x1000, Size: 16})
	copy(out[stringsAt:], "\x00hello@@V1\x00")
	put(sectionsAt+sectionSize, &elf.Section64{Type: uint32(elf.SHT_PROGBITS), Flags: uint64(elf.SHF_ALLOC | elf.SHF_EXECINSTR), Addr: 0x1000, Size: 0x100})
	put(sectionsAt+2*sectionSize, &elf.Section64{Type: uint32(elf.SHT_SYMTAB), Off: symbolsAt, Size: 2 * symbolSize, Link: 3, Entsize: symbolSize})
	put(sectionsAt+3*sectionSize, &elf.Section64{Type: uint32(elf.SHT_STRTAB), Off: stringsAt, Size: 12})
	return out
}

func TestSmallELF(t *testing.T) {
	data := smallELF(t)
	table, err := newTable(bytes.NewReader(data), int64(len(data)), "01020304", 10, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if name, start, ok := table.lookup(0x100f); !ok || name != "hello" || start != 0x1000 {
		t.Errorf("got %q at %#x, %v", name, start, ok)
	}
	if name, _, ok := table.lookup(0x1010); ok {
		t.Errorf("behind the function: got %q", name)
	}
}

// FuzzTable: whatever a file holds, reading it neither panics nor takes more than its size allows.
func FuzzTable(f *testing.F) {
	small := smallELF(f)
	f.Add(small, uint64(0x1008))
	f.Add(small[:0x200], uint64(0))
	f.Add([]byte(elf.ELFMAG), ^uint64(0))
	f.Fuzz(func(t *testing.T, data []byte, address uint64) {
		im, err := readImage(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		table, err := newTable(bytes.NewReader(data), int64(len(data)), im.buildID, 1<<16, time.Now().Add(time.Hour))
		if err != nil {
			return
		}
		// Sections may overlap, so that bytes serve as several things; each serves once as a symbol.
		if len(table.symbols) > len(data)/symbolSize+1 || table.bytes() > 8*int64(len(data))+1024 {
			t.Fatalf("%d symbols, %d bytes from %d", len(table.symbols), table.bytes(), len(data))
		}
		addresses := []uint64{address, 0, ^uint64(0)}
		for _, s := range table.symbols[:min(len(table.symbols), 64)] {
			addresses = append(addresses, s.address, s.address+1, s.address+uint64(s.size))
		}
		for _, a := range addresses {
			name, start, ok := table.lookup(a)
			if ok && (name == "" || start > a || !utf8.ValidString(name)) {
				t.Fatalf("%#x: %q at %#x", a, name, start)
			}
		}
	})
}
