package collect

import (
	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/cupti/abi"
)

// forgetChunk is how much of a ring is read before its pages leave the agent's address space. They stay
// in the program's, which wrote them and will write them again: the agent only stops counting as a
// second owner of all of the ring. A fault brings back many pages at once, so that this costs little.
const forgetChunk = 4 << 20

// unmapPages takes parts of shared memory out of this process's address space; reading them brings them
// back as they were. It must not be used on memory that is not shared: there it would clear it.
func unmapPages(shared []byte) func(offset, length uint64) error {
	return func(offset, length uint64) error {
		return unix.Madvise(shared[offset:offset+length], unix.MADV_DONTNEED)
	}
}

// forget lets go of the pages of what was read and released, in whole chunks.
func (r *ring) forget() {
	chunk := min(forgetChunk, r.capacity/4)
	if r.unmap == nil || chunk < abi.Page || r.released-r.forgotten < chunk {
		return
	}
	to := r.released &^ (chunk - 1)
	for from := max(r.forgotten&^(chunk-1), to-min(to, r.capacity)); from < to; from += chunk {
		if err := r.unmap(r.offset+from&(r.capacity-1), chunk); err != nil {
			r.unmap = nil // not possible here: the pages stay, nothing else changes
			return
		}
	}
	r.forgotten = to
}
