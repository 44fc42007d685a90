package symbols

import (
	"container/list"
	"sync"
	"time"
)

// Module is a file that was loaded into a process.
type Module struct {
	Path    string // as the process names it
	Root    string // folder in which Path is looked up ("/proc/PID/root"); "" this process's own
	BuildID string // hexadecimal; "" for a file without one
	Base    uint64 // what is added to the file's own addresses
}

// Limits bound what a Resolver takes. A zero field means its default.
type Limits struct {
	Symbols int           // of one file; a larger table is not read; default 4 million
	Bytes   int64         // of memory for all tables together; default 256 MiB
	Files   int           // kept open; default 64
	Time    time.Duration // spent reading tables, all in all; default 20 s
}

// Resolver resolves addresses. It is safe for concurrent use.
type Resolver struct {
	limits Limits

	mu     sync.Mutex
	files  map[file]*list.Element // of *loaded
	recent *list.List             // most recently used first
	bytes  int64
	spent  time.Duration
}

// file is what tells two modules' tables apart.
type file struct {
	path, root, buildID string
}

// loaded is an opened file, or one that could not be used.
type loaded struct {
	file  file
	table *table // nil: nothing to resolve with
}

// New returns a Resolver with default limits.
func New() *Resolver { return NewWithLimits(Limits{}) }

// NewWithLimits returns a Resolver that keeps to limits.
func NewWithLimits(limits Limits) *Resolver {
	if limits.Symbols <= 0 {
		limits.Symbols = 4 << 20
	}
	if limits.Bytes <= 0 {
		limits.Bytes = 256 << 20
	}
	if limits.Files <= 0 {
		limits.Files = 64
	}
	if limits.Time <= 0 {
		limits.Time = 20 * time.Second
	}
	return &Resolver{limits: limits, files: map[file]*list.Element{}, recent: list.New()}
}

// Resolve names the function to which a return address belongs, as the linker named it, without a
// version. offset is the return address's distance in bytes from that symbol. Without a symbol (no
// such file, another build of it, no table, no function there) ok is false and offset counts from
// the module's base.
func (r *Resolver) Resolve(m Module, pc uint64) (symbol string, offset uint64, ok bool) {
	// A return address lies behind its call, which may be its function's last instruction.
	symbol, offset, ok = r.Lookup(m, pc-1)
	return symbol, offset + 1, ok
}

// Lookup does the same for the address of an instruction.
func (r *Resolver) Lookup(m Module, address uint64) (symbol string, offset uint64, ok bool) {
	offset = address - m.Base
	if address < m.Base {
		return "", offset, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.table(file{path: m.Path, root: m.Root, buildID: m.BuildID})
	if t == nil {
		return "", offset, false
	}
	name, start, ok := t.lookup(offset)
	if !ok {
		return "", offset, false
	}
	return name, offset - start, true
}

// Close closes all files. The Resolver stays usable.
func (r *Resolver) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.recent.Len() > 0 {
		r.forgetOldest()
	}
	return nil
}

// table returns the table of a file, read now or before; nil if there is none.
func (r *Resolver) table(f file) *table {
	if element, ok := r.files[f]; ok {
		r.recent.MoveToFront(element)
		return element.Value.(*loaded).table
	}
	l := &loaded{file: f}
	if left := r.limits.Time - r.spent; left > 0 {
		start := time.Now()
		// A file that cannot be read is remembered as well: trying again would cost the same.
		l.table, _ = open(f, r.limits.Symbols, start.Add(left))
		r.spent += time.Since(start)
	}
	r.files[f] = r.recent.PushFront(l)
	r.bytes += l.table.bytes()
	for r.recent.Len() > 1 && (r.bytes > r.limits.Bytes || r.recent.Len() > r.limits.Files) {
		r.forgetOldest()
	}
	return l.table
}

func (r *Resolver) forgetOldest() {
	element := r.recent.Back()
	l := r.recent.Remove(element).(*loaded)
	delete(r.files, l.file)
	r.bytes -= l.table.bytes()
	l.table.close()
}
