package collect

import (
	"sort"
	"sync/atomic"
	"unsafe"

	"github.com/warpscope/warpscope/agent/collect/symbols"
	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/cupti/abi"
)

const (
	// maxDepth bounds the frames of one stack.
	maxDepth = 512
	// maxLibraries bounds the entries of one module map.
	maxLibraries = 16384
)

// stackReader resolves the stacks of one process. It is used by one goroutine at a time, which is
// not the one that drains the rings.
type stackReader struct {
	arena  *arena
	ids    *ids
	budget int // bytes that may still be copied out of the arena

	root   string        // where the process's paths are looked up; "": here
	newest func() uint32 // arena id of the module map in force now; nil: not known
	known  dense         // arena id → event.StackID
	maps   map[uint32][]library
	frames []event.FrameID // scratch

	blank atomic.Uint64 // rows whose stack is not in the arena; any goroutine may read it
}

// library is a part of a process's code.
type library struct {
	base, start, end uint64
	path, buildID    string
}

// place is an address in a library, the same in every process that loads it.
type place struct {
	root, path, buildID string
	offset              uint64
}

// stack returns the identifier of the stack with an arena id, 0 if there is none.
func (s *stackReader) stack(id uint32, r *resolver) event.StackID {
	if id == 0 {
		return 0
	}
	if known := s.known.get(id); known != 0 {
		return event.StackID(known)
	}
	b := s.arena.object(uint64(id), abi.ObjStack)
	const headSize = int(unsafe.Sizeof(abi.Stack{}))
	if len(b) < headSize {
		return 0
	}
	head := readAs[abi.Stack](b)
	b = b[headSize:]
	count := int(min(head.Count, maxDepth, uint32(len(b)/8)))
	if count == 0 || 8*count > s.budget {
		return 0
	}
	s.budget -= 8 * count
	s.frames = s.frames[:0]
	for i := range count {
		pc := readAs[uint64](b[8*i:])
		s.frames = append(s.frames, r.frame(s.root, s.find(head.Maps, pc), pc))
	}
	known := s.ids.stack(s.frames)
	s.known.set(id, uint32(known))
	return known
}

// find returns the library that a return address lies in, nil if none is known. A library may have
// been loaded after the stack's module map was made; then the next map has it.
func (s *stackReader) find(maps uint32, pc uint64) *library {
	if l := lookup(s.libraries(maps), pc); l != nil || s.newest == nil {
		return l
	}
	return lookup(s.libraries(s.newest()), pc)
}

// lookup finds the library of a return address. It may lie behind the end of its function, when that
// function's last instruction is the call. The byte before it is always part of the call.
func lookup(libraries []library, pc uint64) *library {
	call := pc - 1
	i := sort.Search(len(libraries), func(i int) bool { return libraries[i].start > call }) - 1
	if i < 0 || call >= libraries[i].end || libraries[i].path == "" {
		return nil
	}
	return &libraries[i]
}

// libraries returns the module map with an arena id, in the order of addresses.
func (s *stackReader) libraries(id uint32) []library {
	if known, ok := s.maps[id]; ok {
		return known
	}
	b := s.arena.object(uint64(id), abi.ObjMaps)
	const headSize, mapSize = int(unsafe.Sizeof(abi.Maps{})), int(unsafe.Sizeof(abi.Map{}))
	if len(b) < headSize {
		return nil
	}
	count := int(min(readAs[abi.Maps](b).Count, maxLibraries, uint32((len(b)-headSize)/mapSize)))
	if mapSize*count > s.budget {
		return nil
	}
	s.budget -= mapSize * count
	list := make([]library, 0, count)
	for i := range count {
		m := readAs[abi.Map](b[headSize+i*mapSize:])
		if m.End <= m.Start {
			continue
		}
		list = append(list, library{
			base: m.Base, start: m.Start, end: m.End,
			path: s.arena.text(uint64(m.Path), &s.budget), buildID: s.arena.text(uint64(m.Id), &s.budget),
		})
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].start < list[j].start })
	if s.maps == nil {
		s.maps = map[uint32][]library{}
	}
	s.maps[id] = list
	return list
}

// resolver names places in code, each once for the whole trace. One goroutine uses it at a time.
type resolver struct {
	ids     *ids
	resolve Resolve
	known   map[place]event.FrameID
	hurry   atomic.Bool // no more look-ups: frames keep library and offset
}

func newResolver(ids *ids, resolve Resolve) *resolver {
	return &resolver{ids: ids, resolve: resolve, known: map[place]event.FrameID{}}
}

// frame returns the identifier of the frame that will be returned to at pc in l; nil: in no library
// that is known.
func (r *resolver) frame(root string, l *library, pc uint64) event.FrameID {
	if l == nil {
		return r.ids.frame(event.Frame{Offset: pc})
	}
	at := place{root, l.path, l.buildID, pc - l.base}
	if id, ok := r.known[at]; ok {
		return id
	}
	f := event.Frame{Module: r.ids.text(l.path), BuildID: r.ids.text(l.buildID), Offset: at.offset}
	if !r.hurry.Load() {
		m := symbols.Module{Path: l.path, Root: root, BuildID: l.buildID, Base: l.base}
		if symbol, offset, ok := r.resolve(m, pc); ok && symbol != "" {
			f.Symbol, f.Offset = r.ids.text(symbol), offset
		}
	}
	id := r.ids.frame(f)
	r.known[at] = id
	return id
}
