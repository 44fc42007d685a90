// Package symbols turns addresses of a traced process into library, symbol and offset.
//
// It owns the reading of symbol tables from ELF files on this machine: lazily, within limits of
// memory and time, and only from files that are proved by their build id to be the ones that the
// process had loaded. It never reads the memory of a process, never loads a file whole, never
// trusts a file's content, and does not demangle. agent/collect imports it.
package symbols
