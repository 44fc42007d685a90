package analyze

import "sort"

// blockList is free blocks in order: by size and then by address, or by address alone. Allocators have
// some thousands of them at most, so that moving them costs less than a tree's pointers.
type blockList struct {
	blocks    []*cacheBlock
	byAddress bool
}

// search returns the place of the first block that is not before one of that size and address.
func (l *blockList) search(size, address uint64) int {
	if l.byAddress {
		return sort.Search(len(l.blocks), func(i int) bool { return l.blocks[i].address >= address })
	}
	return sort.Search(len(l.blocks), func(i int) bool {
		b := l.blocks[i]
		return b.size > size || b.size == size && b.address >= address
	})
}

func (l *blockList) insert(b *cacheBlock) {
	at := l.search(b.size, b.address)
	l.blocks = append(l.blocks, nil)
	copy(l.blocks[at+1:], l.blocks[at:])
	l.blocks[at] = b
}

func (l *blockList) remove(b *cacheBlock) {
	if at := l.search(b.size, b.address); at < len(l.blocks) && l.blocks[at] == b {
		l.removeAt(at)
	}
}

func (l *blockList) removeAt(at int) {
	copy(l.blocks[at:], l.blocks[at+1:])
	l.blocks[len(l.blocks)-1] = nil
	l.blocks = l.blocks[:len(l.blocks)-1]
}
