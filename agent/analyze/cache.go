package analyze

import (
	"math"
	"math/bits"

	"github.com/warpscope/warpscope/agent/event"
)

// Sizes of PyTorch's caching allocator: the same in all versions from 1.12 to 2.11.
const (
	cacheMinBlock   = 512
	cacheSmallSize  = 1 << 20  // requests up to here come from the small pool
	cacheSmallGrow  = 2 << 20  // which grows by this
	cacheLargeGrow  = 20 << 20 // the large one, for requests below cacheLargeAlloc
	cacheLargeAlloc = 10 << 20
	cacheRoundLarge = 2 << 20 // requests from there on grow it by themselves, rounded
	// cacheSpace is the address space of an expandable segment: more than any GPU has.
	cacheSpace = 1 << 41
)

// cache is a model of PyTorch's caching allocator on one device: it makes the decisions that the
// allocator makes, on addresses without memory behind them.
type cache struct {
	settings cacheSettings
	pools    map[cachePoolKey]*cachePool
	order    []*cachePool // the default ones first, large before small: the order of releases

	reserved uint64 // bytes taken from the driver
	peak     uint64
	used     uint64 // bytes in blocks that are allocated or pending
	retries  uint64 // releases of everything because the driver had no more
	pending  map[*cacheBlock]bool
	space    uint64 // next address that nobody gave
	dry      bool   // the next request found nothing cached, as the recording shows

	// limit says whether a limit of the program's own allows so much more, by what the native allocator
	// would take; allow says whether the driver gives so much more; attempt counts from 1 within a request.
	limit func(grow uint64) bool
	allow func(attempt int, grow uint64) bool
	// place returns the address of new memory; 0: any.
	place func(a event.TensorAction, size uint64, stream uint32) uint64
	// completed is told of blocks that become free because the allocator waits for other streams.
	completed func(b *cacheBlock)
	// did is told what happened to segments.
	did func(a event.TensorAction, address, size uint64, stream uint32)
}

// cacheSettings are the settings that the model follows.
type cacheSettings struct {
	expandable       bool
	maxSplit         uint64 // math.MaxUint64: no limit
	nonSplitRounding uint64
	largeGrow        uint64
	divisions        [16]uint64
}

func settingsOf(s *event.AllocatorSettings) cacheSettings {
	c := cacheSettings{expandable: s.Expandable, maxSplit: s.MaxSplit, nonSplitRounding: s.NonSplitRounding, largeGrow: s.LargeSegment, divisions: s.Divisions}
	if c.maxSplit == 0 {
		c.maxSplit = math.MaxUint64
	}
	if c.nonSplitRounding == 0 {
		c.nonSplitRounding = cacheLargeGrow
	}
	if c.largeGrow == 0 {
		c.largeGrow = cacheLargeGrow
	}
	return c
}

type cachePoolKey struct {
	pool  uint32
	small bool
}

// cachePool is the free blocks of one pool.
type cachePool struct {
	key      cachePoolKey
	free     map[uint32]*blockList // by stream
	unmapped map[uint32]*blockList // of expandable segments, by stream
	streams  []uint32              // in the order in which they came
}

// cacheBlock is a part of a segment.
type cacheBlock struct {
	address, size, requested uint64
	stream                   uint32
	stack                    uint32
	pool                     *cachePool
	prev, next               *cacheBlock
	allocated, pending       bool
	mapped                   bool
	base                     uint64 // where its expandable segment begins
	expandable               bool
}

func (b *cacheBlock) split() bool { return b.prev != nil || b.next != nil }

func newCache(s cacheSettings) *cache {
	c := &cache{settings: s, pools: map[cachePoolKey]*cachePool{}, pending: map[*cacheBlock]bool{}, space: 1 << 56}
	c.pool(cachePoolKey{0, false})
	c.pool(cachePoolKey{0, true})
	c.limit = func(uint64) bool { return true }
	c.allow = func(int, uint64) bool { return true }
	c.place = func(event.TensorAction, uint64, uint32) uint64 { return 0 }
	c.completed = func(*cacheBlock) {}
	c.did = func(event.TensorAction, uint64, uint64, uint32) {}
	return c
}

func (c *cache) pool(key cachePoolKey) *cachePool {
	p := c.pools[key]
	if p == nil {
		p = &cachePool{key: key, free: map[uint32]*blockList{}, unmapped: map[uint32]*blockList{}}
		c.pools[key] = p
		c.order = append(c.order, p)
	}
	return p
}

func (p *cachePool) list(stream uint32) *blockList {
	l := p.free[stream]
	if l == nil {
		l = &blockList{}
		p.free[stream] = l
		p.unmapped[stream] = &blockList{byAddress: true}
		p.streams = append(p.streams, stream)
	}
	return l
}

// round returns how large the block for a request is.
func (s *cacheSettings) round(size uint64) uint64 {
	if size < cacheMinBlock {
		return cacheMinBlock
	}
	at := min(max(bits.Len64(size)-1-20, 0), len(s.divisions)-1)
	if d := s.divisions[at]; d > 1 && size > cacheMinBlock*d {
		floor := uint64(1) << (bits.Len64(size) - 1)
		if size == floor {
			return size
		}
		part := floor >> (bits.Len64(d) - 1)
		if part == 0 {
			return floor << 1
		}
		return (size + part - 1) / part * part
	}
	return (size + cacheMinBlock - 1) / cacheMinBlock * cacheMinBlock
}

// growth returns how much the native allocator takes from the driver for a block.
func (s *cacheSettings) growth(size uint64) uint64 {
	switch {
	case size <= cacheSmallSize:
		return cacheSmallGrow
	case size < cacheLargeAlloc:
		return s.largeGrow
	}
	return (size + cacheRoundLarge - 1) / cacheRoundLarge * cacheRoundLarge
}

// malloc allocates; nil: the driver has not so much.
func (c *cache) malloc(requested uint64, stream, pool, stack uint32) *cacheBlock {
	size := c.settings.round(requested)
	p := c.pool(cachePoolKey{pool, size <= cacheSmallSize})
	var b *cacheBlock
	if !c.dry {
		b = c.fit(p, size, stream)
	}
	if b == nil {
		b = c.obtain(p, size, stream)
	}
	c.dry = false
	if b == nil {
		return nil
	}
	return c.take(b, size, requested, stack)
}

// take cuts a block off a free one that was removed from its list.
func (c *cache) take(b *cacheBlock, size, requested uint64, stack uint32) *cacheBlock {
	if c.splits(b, size) {
		rest := b
		b = &cacheBlock{
			address: rest.address, size: size, stream: rest.stream, pool: rest.pool, prev: rest.prev, next: rest,
			mapped: true, expandable: rest.expandable, base: rest.base,
		}
		if b.prev != nil {
			b.prev.next = b
		}
		rest.prev = b
		rest.address += size
		rest.size -= size
		rest.pool.list(rest.stream).insert(rest)
	}
	b.allocated, b.requested, b.stack = true, requested, stack
	c.used += b.size
	return b
}

func (c *cache) splits(b *cacheBlock, size uint64) bool {
	rest := b.size - size
	if b.pool.key.small || c.settings.expandable {
		return rest >= cacheMinBlock
	}
	return size < c.settings.maxSplit && rest > cacheSmallSize
}

// fit finds the smallest free block that is large enough, and removes it from its list.
func (c *cache) fit(p *cachePool, size uint64, stream uint32) *cacheBlock {
	l := p.list(stream)
	at := c.find(l, size)
	if at < 0 {
		return nil
	}
	b := l.blocks[at]
	l.removeAt(at)
	return b
}

// has says whether a request needs nothing from the driver.
func (c *cache) has(requested uint64, stream, pool uint32) bool {
	size := c.settings.round(requested)
	p := c.pool(cachePoolKey{pool, size <= cacheSmallSize})
	return c.find(p.list(stream), size) >= 0
}

// find returns the place of the block that serves a request; -1: none does.
func (c *cache) find(l *blockList, size uint64) int {
	at := l.search(size, 0)
	if at == len(l.blocks) {
		return -1
	}
	b := l.blocks[at]
	if b.expandable {
		// The block at the end of an expandable segment counts as large as it can become.
		become := func(b *cacheBlock) uint64 {
			if b.next != nil && !b.next.mapped {
				return b.size + b.next.size
			}
			return b.size
		}
		for b.expandable && at+1 < len(l.blocks) && become(l.blocks[at+1]) < become(b) {
			at++
			b = l.blocks[at]
		}
	}
	if size < c.settings.maxSplit && b.size >= c.settings.maxSplit {
		return -1
	}
	if size >= c.settings.maxSplit && b.size >= size+c.settings.nonSplitRounding {
		return -1
	}
	return at
}

// release gives a block back; one that another stream may still use waits for done.
func (c *cache) release(b *cacheBlock) {
	if b.allocated {
		b.allocated, b.pending = false, true
		c.pending[b] = true
	}
}

// done makes a block that was given back free.
func (c *cache) done(b *cacheBlock) {
	if !b.allocated && !b.pending {
		return
	}
	b.allocated, b.pending = false, false
	delete(c.pending, b)
	c.used -= b.size
	b.requested, b.stack = 0, 0
	c.merge(b, b.prev)
	c.merge(b, b.next)
	b.pool.list(b.stream).insert(b)
}

// merge makes src, a neighbour, a part of dst if it is free likewise.
func (c *cache) merge(dst, src *cacheBlock) {
	if src == nil || src.allocated || src.pending || dst.mapped != src.mapped {
		return
	}
	if src.mapped {
		src.pool.list(src.stream).remove(src)
	} else {
		src.pool.list(src.stream)
		src.pool.unmapped[src.stream].remove(src)
	}
	if dst.prev == src {
		dst.address = src.address
		if dst.prev = src.prev; dst.prev != nil {
			dst.prev.next = dst
		}
	} else if dst.next = src.next; dst.next != nil {
		dst.next.prev = dst
	}
	dst.size += src.size
}

func (c *cache) grew(size uint64) {
	c.reserved += size
	c.peak = max(c.peak, c.reserved)
}

// anywhere returns an address that nobody else has.
func (c *cache) anywhere(size uint64) uint64 {
	at := c.space
	c.space += size + cacheSmallGrow
	return at
}
