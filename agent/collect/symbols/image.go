package symbols

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// Bounds for what a file may claim. Real files stay far below: libtorch_cuda.so has some 40
// sections, large programs a few thousand when built with -ffunction-sections.
const (
	maxSections = 1 << 16
	maxSegments = 1 << 10
	maxNotes    = 64 << 10 // bytes of one note segment
	headerSize  = 64
	sectionSize = 64
	segmentSize = 56
	symbolSize  = 24
)

var errNotELF = errors.New("not a 64-bit little-endian ELF file")

// section is what is kept of a section header.
type section struct {
	kind         elf.SectionType
	flags        elf.SectionFlag
	address      uint64
	offset, size uint64
	link         uint32
	entrySize    uint64
}

// image is an ELF file opened for reading symbols. It is read piece by piece, because the files are
// large, and by hand, because debug/elf is not made for hostile ones.
type image struct {
	in       io.ReaderAt
	size     uint64 // bytes of the file
	sections []section
	buildID  string // hexadecimal; "" none
}

// readImage reads the headers of an ELF file of the given size.
func readImage(in io.ReaderAt, size int64) (*image, error) {
	im := &image{in: in, size: uint64(max(size, 0))}
	raw, err := im.read(0, headerSize)
	if err != nil {
		return nil, errNotELF
	}
	ident := raw[:elf.EI_NIDENT]
	if !bytes.HasPrefix(ident, []byte(elf.ELFMAG)) || elf.Class(ident[elf.EI_CLASS]) != elf.ELFCLASS64 ||
		elf.Data(ident[elf.EI_DATA]) != elf.ELFDATA2LSB {
		return nil, errNotELF
	}
	var h elf.Header64
	if _, err := binary.Decode(raw, binary.LittleEndian, &h); err != nil {
		return nil, errNotELF
	}
	if err := im.readSections(&h); err != nil {
		return nil, err
	}
	im.readBuildID(&h)
	return im, nil
}

// read returns n bytes at offset.
func (im *image) read(offset, n uint64) ([]byte, error) {
	if offset > im.size || n > im.size-offset {
		return nil, fmt.Errorf("read %d bytes at %d of %d: %w", n, offset, im.size, io.ErrUnexpectedEOF)
	}
	data := make([]byte, n)
	if read, err := im.in.ReadAt(data, int64(offset)); read < len(data) {
		return nil, fmt.Errorf("read %d bytes at %d: %w", n, offset, err)
	}
	return data, nil
}

func (im *image) readSections(h *elf.Header64) error {
	count := uint64(h.Shnum)
	if h.Shoff == 0 {
		return nil
	}
	if h.Shentsize != sectionSize {
		return fmt.Errorf("section headers of %d bytes", h.Shentsize)
	}
	if count == 0 { // more than fit the field: the first header has the number
		first, err := im.readSection(h.Shoff)
		if err != nil {
			return err
		}
		count = first.size
	}
	if count > maxSections {
		return fmt.Errorf("%d sections", count)
	}
	raw, err := im.read(h.Shoff, count*sectionSize)
	if err != nil {
		return err
	}
	im.sections = make([]section, count)
	for i := range im.sections {
		im.sections[i] = decodeSection(raw[i*sectionSize:])
	}
	return nil
}

func (im *image) readSection(offset uint64) (section, error) {
	raw, err := im.read(offset, sectionSize)
	if err != nil {
		return section{}, err
	}
	return decodeSection(raw), nil
}

func decodeSection(raw []byte) section {
	le := binary.LittleEndian
	return section{
		kind:      elf.SectionType(le.Uint32(raw[4:])),
		flags:     elf.SectionFlag(le.Uint64(raw[8:])),
		address:   le.Uint64(raw[16:]),
		offset:    le.Uint64(raw[24:]),
		size:      le.Uint64(raw[32:]),
		link:      le.Uint32(raw[40:]),
		entrySize: le.Uint64(raw[56:]),
	}
}

// readBuildID looks through the note segments, which is what the process itself saw; a file
// without segments (a separate debug file) has note sections.
func (im *image) readBuildID(h *elf.Header64) {
	le := binary.LittleEndian
	if h.Phentsize == segmentSize && h.Phnum <= maxSegments {
		raw, err := im.read(h.Phoff, uint64(h.Phnum)*segmentSize)
		for ; err == nil && len(raw) >= segmentSize && im.buildID == ""; raw = raw[segmentSize:] {
			if elf.ProgType(le.Uint32(raw)) == elf.PT_NOTE {
				im.buildID = im.noteBuildID(le.Uint64(raw[8:]), le.Uint64(raw[32:]), le.Uint64(raw[48:]))
			}
		}
	}
	for i := 0; i < len(im.sections) && im.buildID == ""; i++ {
		if s := &im.sections[i]; s.kind == elf.SHT_NOTE {
			im.buildID = im.noteBuildID(s.offset, s.size, 4)
		}
	}
}

func (im *image) noteBuildID(offset, size, align uint64) string {
	const buildIDNote = 3
	if size > maxNotes {
		return ""
	}
	raw, err := im.read(offset, size)
	if err != nil {
		return ""
	}
	if align != 8 {
		align = 4
	}
	le := binary.LittleEndian
	for len(raw) >= 12 {
		nameSize, descSize, kind := uint64(le.Uint32(raw)), uint64(le.Uint32(raw[4:])), le.Uint32(raw[8:])
		desc := 12 + roundUp(nameSize, align)
		next := desc + roundUp(descSize, align)
		left := uint64(len(raw))
		if desc > left || descSize > left-desc {
			return ""
		}
		if kind == buildIDNote && nameSize == 4 && string(raw[12:16]) == "GNU\x00" {
			return hex.EncodeToString(raw[desc : desc+descSize])
		}
		if next > left {
			return ""
		}
		raw = raw[next:]
	}
	return ""
}

func roundUp(n, align uint64) uint64 { return (n + align - 1) &^ (align - 1) }
