// Package trace writes and reads .wscope files, as proto/README.md specifies them.
//
// It owns the file: framing, compression, column encodings, the index, recovery, and the bounds
// on what a reader believes. It never interprets events, never resolves identifiers, and never
// executes anything found in a file. A file is data from a stranger: whatever its bytes, reading
// ends with items or a typed error, in bounded memory.
//
// It is the only package that imports the generated protobuf code. The collector writes through
// it; analyses, reports and exporters read through it.
package trace
