package exchange

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Format is what a file holds, by its content.
type Format int

// The formats that [Sniff] tells apart.
const (
	Unknown Format = iota
	Wscope         // warpscope's own trace
	Kineto         // JSON as PyTorch's profiler writes it, plain or compressed
	Pickle         // a Python pickle, as PyTorch dumps its memory snapshots, plain or compressed
)

// SniffBytes is how much of a file's beginning Sniff looks at, at most.
const SniffBytes = 4 << 10

func (f Format) String() string {
	switch f {
	case Wscope:
		return "warpscope trace"
	case Kineto:
		return "PyTorch profiler trace"
	case Pickle:
		return "PyTorch memory snapshot"
	}
	return "unknown"
}

// Sniff says what a file holds that begins with head. JSON of any sort counts as Kineto: whether
// it holds events shows only in reading, and [ReadKineto] says so if it does not; likewise any pickle
// counts as a snapshot, and [ReadSnapshot] says what it is not.
func Sniff(head []byte) Format {
	head = head[:min(len(head), SniffBytes)]
	if bytes.HasPrefix(head, []byte("\x89WSCOP")) {
		return Wscope // what follows shows whether it was converted on the way; its reader tells
	}
	if compressionOf(head) != "" {
		r, _, done, err := unpack(bytes.NewReader(head))
		if err != nil {
			return Unknown
		}
		defer done()
		inner := make([]byte, 512)
		n, _ := io.ReadFull(r, inner) // the head is cut off somewhere: what came before counts
		head = inner[:n]
	}
	if isJSON(head) {
		return Kineto
	}
	if isPickle(head) {
		return Pickle
	}
	return Unknown
}

// isPickle says whether head begins like a pickle: from protocol 2 on with its number, before with a
// dict or list, of which only those count that hold what snapshots do.
func isPickle(head []byte) bool {
	if len(head) < 2 {
		return false
	}
	if head[0] == 0x80 {
		return head[1] >= 2 && head[1] <= 5
	}
	for _, begin := range []string{"(dp", "(lp", "}q", "]q", "}(", "]("} {
		if bytes.HasPrefix(head, []byte(begin)) {
			return bytes.Contains(head, []byte("segments")) || bytes.Contains(head, []byte("total_size"))
		}
	}
	return false
}

// isJSON says whether head begins like a JSON object, or an array of objects.
func isJSON(head []byte) bool {
	head = bytes.TrimLeft(bytes.TrimPrefix(head, []byte(byteOrderMark)), " \t\r\n")
	if len(head) == 0 {
		return false
	}
	rest := bytes.TrimLeft(head[1:], " \t\r\n")
	switch head[0] {
	case '{':
		return len(rest) == 0 || rest[0] == '"' || rest[0] == '}'
	case '[':
		return len(rest) == 0 || rest[0] == '{' || rest[0] == ']'
	}
	return false
}

const byteOrderMark = "\xef\xbb\xbf"

// compressionOf names the compression of a file that begins with head; "" is none.
func compressionOf(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return "gzip"
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return "zstd"
	}
	return ""
}

// maxWindow bounds what a zstd stream may ask for, as zstd's own command line does by default.
const maxWindow = 128 << 20

// unpack returns what src holds, decompressed if need be, and how it was compressed. Call done
// when it has been read.
func unpack(src io.Reader) (r io.Reader, compression string, done func(), err error) {
	b := bufio.NewReaderSize(src, 1<<14)
	head, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", nil, err
	}
	compression = compressionOf(head)
	switch compression {
	case "gzip":
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, "", nil, fmt.Errorf("decompress: %w", err)
		}
		return z, compression, func() { _ = z.Close() }, nil // it has nothing to say that reading had not
	case "zstd":
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, "", nil, fmt.Errorf("decompress: %w", err)
		}
		return z, compression, z.Close, nil
	}
	return b, "", func() {}, nil
}
