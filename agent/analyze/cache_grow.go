package analyze

import "github.com/warpscope/warpscope/agent/event"

// obtain takes memory from the driver; where that has none, cached memory goes back first.
func (c *cache) obtain(p *cachePool, size uint64, stream uint32) *cacheBlock {
	attempt := 1
	if b := c.grow(p, size, stream, attempt); b != nil {
		return b
	}
	if c.releaseOversize(p, size, stream) {
		attempt++
		if b := c.grow(p, size, stream, attempt); b != nil {
			return b
		}
	}
	c.retries++
	c.releaseAll()
	return c.grow(p, size, stream, attempt+1)
}

// grow makes a segment, or makes an expandable one longer.
func (c *cache) grow(p *cachePool, size uint64, stream uint32, attempt int) *cacheBlock {
	grow := c.settings.growth(size)
	if !c.limit(grow) {
		return nil
	}
	if c.settings.expandable {
		return c.expand(p, size, stream, attempt)
	}
	if !c.allow(attempt, grow) {
		return nil
	}
	b := &cacheBlock{address: c.place(event.TensorSegmentAlloc, grow, stream), size: grow, stream: stream, pool: p, mapped: true}
	if b.address == 0 {
		b.address = c.anywhere(grow)
	}
	c.grew(grow)
	c.did(event.TensorSegmentAlloc, b.address, grow, stream)
	return b
}

// expand makes room for a block in the pool's expandable segments.
func (c *cache) expand(p *cachePool, size uint64, stream uint32, attempt int) *cacheBlock {
	b := c.room(p, size, stream)
	if c.dry && attempt == 1 && b.mapped && b.size >= size {
		return nil // it was not there when the allocator looked
	}
	if !b.mapped && !c.mapPages(b, min(b.size, size), attempt) {
		return nil
	}
	for b.size < size {
		next := b.next
		if !c.mapPages(next, min(size-b.size, next.size), attempt) {
			return nil
		}
		b = next
	}
	p.list(stream).remove(b)
	return b
}

// room finds the lowest place where a block can be: unmapped, perhaps behind a free block.
func (c *cache) room(p *cachePool, size uint64, stream uint32) *cacheBlock {
	p.list(stream)
	vacant := func(b *cacheBlock) bool { return b != nil && !b.allocated && !b.pending }
	for _, b := range p.unmapped[stream].blocks {
		if vacant(b.prev) {
			b = b.prev
		}
		bytes := uint64(0)
		for n := b; bytes < size && vacant(n); n = n.next {
			bytes += n.size
		}
		if bytes >= size {
			return b
		}
	}
	b := &cacheBlock{size: cacheSpace, stream: stream, pool: p, expandable: true}
	// The address shows when pages are mapped.
	if b.address = c.place(event.TensorSegmentMap, 0, stream); b.address == 0 {
		b.address = c.anywhere(cacheSpace)
	}
	b.base = b.address
	p.unmapped[stream].insert(b)
	return b
}

// page is how much is mapped at a time.
func (c *cache) page(p *cachePool) uint64 {
	if p.key.small {
		return cacheSmallGrow
	}
	return c.settings.largeGrow
}

// mapPages maps the beginning of an unmapped block.
func (c *cache) mapPages(b *cacheBlock, size uint64, attempt int) bool {
	page := c.page(b.pool)
	size = (size + page - 1) / page * page
	if !c.allow(attempt, size) {
		return false
	}
	unmapped := b.pool.unmapped[b.stream]
	unmapped.remove(b)
	b.mapped = true
	if size < b.size {
		rest := &cacheBlock{
			address: b.address + size, size: b.size - size, stream: b.stream, pool: b.pool, prev: b, next: b.next, expandable: true, base: b.base,
		}
		if rest.next != nil {
			rest.next.prev = rest
		}
		b.next, b.size = rest, size
		unmapped.insert(rest)
	}
	address := b.address
	c.place(event.TensorSegmentMap, size, b.stream)
	c.merge(b, b.prev)
	c.merge(b, b.next)
	b.pool.list(b.stream).insert(b)
	c.grew(size)
	c.did(event.TensorSegmentMap, address, size, b.stream)
	return true
}

// releaseOversize gives back cached blocks of max_split_size and more: one that is large enough, or
// several from the largest on; false: that is not enough.
func (c *cache) releaseOversize(p *cachePool, size uint64, stream uint32) bool {
	limit := c.settings.maxSplit
	if limit == ^uint64(0) {
		return false
	}
	want := max(size, limit)
	l := p.list(stream)
	if at := l.search(want, 0); at < len(l.blocks) && !l.blocks[at].expandable {
		c.free(l.blocks[at])
		return true
	}
	released := uint64(0)
	for i := len(l.blocks) - 1; i >= 0 && released < want && l.blocks[i].size >= limit; i-- {
		if b := l.blocks[i]; !b.expandable {
			released += b.size
			c.free(b)
		}
	}
	return released >= want
}

// free gives a whole segment back to the driver.
func (c *cache) free(b *cacheBlock) {
	b.pool.list(b.stream).remove(b)
	c.reserved -= b.size
	c.did(event.TensorSegmentFree, b.address, b.size, b.stream)
}

// releaseAll gives all cached memory back that is not a part of something in use. Pools of CUDA graphs
// keep theirs.
func (c *cache) releaseAll() {
	for b := range c.pending { // the allocator waits for the other streams
		c.completed(b)
		c.done(b)
	}
	for _, p := range c.order {
		if p.key.pool != 0 {
			continue
		}
		for _, stream := range p.streams {
			c.releasePool(p, stream)
		}
	}
}

func (c *cache) releasePool(p *cachePool, stream uint32) {
	var expandable []*cacheBlock
	l := p.list(stream)
	for _, b := range append([]*cacheBlock(nil), l.blocks...) {
		switch {
		case b.expandable:
			expandable = append(expandable, b)
		case !b.split():
			c.free(b)
		}
	}
	for _, b := range expandable {
		c.unmap(b)
	}
}

// unmap gives back the whole pages of a free block in an expandable segment.
func (c *cache) unmap(b *cacheBlock) {
	page := c.page(b.pool)
	begin := b.base + (b.address-b.base+page-1)/page*page
	end := b.base + (b.address+b.size-b.base)/page*page
	if begin >= end {
		return
	}
	l := b.pool.list(b.stream)
	l.remove(b)
	if begin > b.address {
		before := &cacheBlock{
			address: b.address, size: begin - b.address, stream: b.stream, pool: b.pool, prev: b.prev, next: b, mapped: true, expandable: true, base: b.base,
		}
		if before.prev != nil {
			before.prev.next = before
		}
		b.prev = before
		l.insert(before)
	}
	if last := b.address + b.size; last > end {
		after := &cacheBlock{
			address: end, size: last - end, stream: b.stream, pool: b.pool, prev: b, next: b.next, mapped: true, expandable: true, base: b.base,
		}
		if after.next != nil {
			after.next.prev = after
		}
		b.next = after
		l.insert(after)
	}
	b.address, b.size, b.mapped = begin, end-begin, false
	c.reserved -= end - begin
	c.did(event.TensorSegmentUnmap, begin, end-begin, b.stream)
	c.merge(b, b.prev)
	c.merge(b, b.next)
	if b.split() {
		b.pool.unmapped[b.stream].insert(b)
	} // else the segment is gone, with its address space
}
