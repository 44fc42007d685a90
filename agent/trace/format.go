package trace

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/warpscope/warpscope/agent/event"
)

// The version of the format that this package writes. A reader refuses another major version and
// reads any minor one, skipping what it does not know.
const (
	Major = 1
	Minor = 0
)

// Sizes of the fixed parts of a file, in bytes.
const (
	fileHeaderSize  = 16
	frameHeaderSize = 56
	trailerSize     = 24
)

// frameType is what the payload of a frame is.
type frameType uint8

const (
	frameProvenance  frameType = 1
	frameDefinitions frameType = 2
	frameBatch       frameType = 3
	frameLive        frameType = 4
	frameSummary     frameType = 5
	frameIndex       frameType = 6
)

// flagZstd marks a payload that is a zstd frame; no other flag exists.
const flagZstd = 1

// magic, marker and ending begin the file, each frame and the trailer. The first byte is not
// ASCII; the line ends in magic show a transfer that converted them.
func magic() [8]byte  { return [8]byte{0x89, 'W', 'S', 'C', 'O', 'P', '\r', '\n'} }
func marker() [8]byte { return [8]byte{0xf5, 'W', 'S', 'F', 0x9e, 0x37, 0x79, 0xb1} }
func ending() [8]byte { return [8]byte{0xf5, 'W', 'S', 'E', 'N', 'D', '\r', '\n'} }

// castagnoli is the table of CRC32C; the standard library builds it once.
func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// appendFileHeader appends what a file begins with.
func appendFileHeader(b []byte) []byte {
	start := len(b)
	m := magic()
	b = append(b, m[:]...)
	b = binary.LittleEndian.AppendUint16(b, Major)
	b = binary.LittleEndian.AppendUint16(b, Minor)
	return binary.LittleEndian.AppendUint32(b, checksum(b[start:]))
}

// parseFileHeader returns the version of the format; false if the header is damaged.
func parseFileHeader(b []byte) (major, minor uint16, ok bool) {
	le := binary.LittleEndian
	m := magic()
	ok = bytes.Equal(b[:8], m[:]) && le.Uint32(b[12:]) == checksum(b[:12])
	return le.Uint16(b[8:]), le.Uint16(b[10:]), ok
}

// frameHeader stands before every payload.
type frameHeader struct {
	typ      frameType
	flags    uint8
	sequence uint32 // of the frame in the file, from 0
	process  event.ProcessID
	stored   uint32 // bytes of the payload in the file
	raw      uint32 // bytes of the payload when decompressed
	rows     uint32 // of all its tables
	min, max event.Time
	sum      uint32 // CRC32C of the payload as stored
}

// put writes the header to the first frameHeaderSize bytes of b.
func (h *frameHeader) put(b []byte) {
	le := binary.LittleEndian
	m := marker()
	copy(b, m[:])
	b[8], b[9], b[10], b[11] = byte(h.typ), h.flags, 0, 0
	le.PutUint32(b[12:], h.sequence)
	le.PutUint32(b[16:], uint32(h.process))
	le.PutUint32(b[20:], h.stored)
	le.PutUint32(b[24:], h.raw)
	le.PutUint32(b[28:], h.rows)
	le.PutUint64(b[32:], uint64(h.min))
	le.PutUint64(b[40:], uint64(h.max))
	le.PutUint32(b[48:], h.sum)
	le.PutUint32(b[52:], checksum(b[:52]))
}

// parseFrameHeader reads the header that b begins with; false if there is none, or if it declares
// more than a reader takes.
func parseFrameHeader(b []byte) (frameHeader, bool) {
	le := binary.LittleEndian
	m := marker()
	if len(b) < frameHeaderSize || !bytes.Equal(b[:8], m[:]) || le.Uint32(b[52:]) != checksum(b[:52]) {
		return frameHeader{}, false
	}
	h := frameHeader{
		typ: frameType(b[8]), flags: b[9], sequence: le.Uint32(b[12:]), process: event.ProcessID(le.Uint32(b[16:])),
		stored: le.Uint32(b[20:]), raw: le.Uint32(b[24:]), rows: le.Uint32(b[28:]),
		min: event.Time(le.Uint64(b[32:])), max: event.Time(le.Uint64(b[40:])), sum: le.Uint32(b[48:]),
	}
	ok := h.stored <= maxPayload && h.raw <= maxPayload && h.rows <= maxRows
	if h.typ != frameBatch && h.typ != frameLive {
		ok = ok && h.raw <= maxControl
	}
	return h, ok
}

// size is how many bytes the frame takes in the file.
func (h *frameHeader) size() int { return frameHeaderSize + int(h.stored) }

// appendTrailer appends what a whole file ends with: where the last index frame is.
func appendTrailer(b []byte, offset int64, size int) []byte {
	start := len(b)
	e := ending()
	b = append(b, e[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(offset))
	b = binary.LittleEndian.AppendUint32(b, uint32(size))
	return binary.LittleEndian.AppendUint32(b, checksum(b[start:]))
}

// parseTrailer returns where the last index frame is.
func parseTrailer(b []byte) (offset int64, size int, ok bool) {
	le := binary.LittleEndian
	e := ending()
	if len(b) != trailerSize || !bytes.Equal(b[:8], e[:]) || le.Uint32(b[20:]) != checksum(b[:20]) {
		return 0, 0, false
	}
	offset, size = int64(le.Uint64(b[8:])), int(le.Uint32(b[16:]))
	return offset, size, offset > 0 && size >= frameHeaderSize && size <= frameHeaderSize+maxPayload
}
