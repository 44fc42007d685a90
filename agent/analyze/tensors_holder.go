package analyze

import (
	"cmp"
	"slices"

	"github.com/warpscope/warpscope/agent/event"
)

// holder sums up what is held.
type holder struct {
	s     *event.Snapshot
	roles []Role          // by stack; "" not known yet
	known map[uint64]Role // by address
}

// know takes over tensors whose use is known by their addresses.
func (h *holder) know(roles []event.RoleRange) {
	for _, r := range roles {
		if h.known == nil {
			h.known = make(map[uint64]Role, len(roles))
		}
		h.known[r.Address] = Role(r.Role)
	}
}

// holderKey is what tensors of one row have in common.
type holderKey struct {
	stack uint32
	role  Role // if it is known by the address; else ""
}

func (h *holder) role(stack uint32) Role {
	if h.roles[stack] == "" {
		h.roles[stack] = roleOf(h.s, stack)
	}
	return h.roles[stack]
}

type poolStream struct {
	pool, stream      uint32
	small, expandable bool
}

func (h *holder) holding(segments []event.TensorSegment) Holding {
	out := Holding{Bare: map[uint64]uint64{}}
	pools := map[poolStream]*PoolHolding{}
	stacks := map[holderKey]*StackHolding{}
	for i := range segments {
		seg := &segments[i]
		key := poolStream{seg.Pool, seg.Stream, seg.Small, seg.Expandable}
		p := pools[key]
		if p == nil {
			p = &PoolHolding{Pool: poolName(h.s, seg.Pool), Stream: seg.Stream, Small: seg.Small, Expandable: seg.Expandable}
			pools[key] = p
		}
		h.segment(&out, p, seg, stacks)
	}
	for _, p := range pools {
		out.Pools = append(out.Pools, *p)
	}
	slices.SortFunc(out.Pools, func(x, y PoolHolding) int {
		return cmp.Or(cmp.Compare(y.Reserved, x.Reserved), cmp.Compare(x.Pool, y.Pool), cmp.Compare(x.Stream, y.Stream))
	})
	h.stacks(&out, stacks)
	return out
}

func (h *holder) segment(out *Holding, p *PoolHolding, seg *event.TensorSegment, stacks map[holderKey]*StackHolding) {
	out.Segments++
	p.Segments++
	out.Reserved += seg.Size
	p.Reserved += seg.Size
	free, largest, used := uint64(0), uint64(0), false
	for i := range seg.Blocks {
		b := &seg.Blocks[i]
		switch b.State {
		case event.BlockFree:
			free += b.Size
			largest = max(largest, b.Size)
			continue
		case event.BlockPending:
			out.Pending += b.Size
			p.Pending += b.Size
		default:
			out.Live += b.Size
			out.Requested += b.Requested
			out.Blocks++
			p.Live += b.Size
			key := holderKey{b.Stack, h.known[b.Address]}
			st := stacks[key]
			if st == nil {
				st = &StackHolding{id: b.Stack, Role: key.role, Known: key.role != ""}
				stacks[key] = st
			}
			if b.Stack == 0 && key.role == "" {
				out.Bare[b.Requested] += b.Requested
			}
			st.Bytes += b.Requested
			st.Blocks++
			st.Largest = max(st.Largest, b.Requested)
		}
		used = true
	}
	out.Free += free
	p.LargestFree = max(p.LargestFree, largest)
	if seg.Pool != 0 {
		out.Private += seg.Size
		out.PrivateIdle += free
	} else {
		out.LargestFree = max(out.LargestFree, largest)
	}
	if used {
		p.FreePartly += free
		out.FreePartly += free
	} else {
		p.FreeWhole += free
	}
}

func (h *holder) stacks(out *Holding, stacks map[holderKey]*StackHolding) {
	roles := map[Role]*RoleHolding{}
	for _, st := range stacks {
		if !st.Known {
			st.Role = h.role(st.id)
		}
		r := roles[st.Role]
		if r == nil {
			r = &RoleHolding{Role: st.Role}
			roles[st.Role] = r
		}
		r.Bytes += st.Bytes
		if st.Known {
			r.Known += st.Bytes
		}
		r.Blocks += st.Blocks
		out.Stacks = append(out.Stacks, *st)
	}
	slices.SortFunc(out.Stacks, func(x, y StackHolding) int {
		return cmp.Or(cmp.Compare(y.Bytes, x.Bytes), cmp.Compare(x.id, y.id), cmp.Compare(x.Role, y.Role))
	})
	out.Stacks = out.Stacks[:min(len(out.Stacks), stackRows)]
	for i := range out.Stacks {
		st := &out.Stacks[i]
		st.Stack = linesOf(h.s, st.id)
		st.Guilty = GuiltyLine(st.Stack)
	}
	for _, r := range roles {
		out.Roles = append(out.Roles, *r)
	}
	slices.SortFunc(out.Roles, func(x, y RoleHolding) int { return cmp.Or(cmp.Compare(y.Bytes, x.Bytes), cmp.Compare(x.Role, y.Role)) })
}

// Serving returns what is free in the default pool that serves requests of a size on a stream, and the
// largest piece of it.
func (h *Holding) Serving(size uint64, stream uint32) (free, largest uint64) {
	for i := range h.Pools {
		if p := &h.Pools[i]; p.Pool == "default" && p.Stream == stream && p.Small == (size <= cacheSmallSize) {
			free += p.FreePartly + p.FreeWhole
			largest = max(largest, p.LargestFree)
		}
	}
	return free, largest
}

// Role returns what tensors of a role hold.
func (h *Holding) Role(r Role) RoleHolding {
	for _, row := range h.Roles {
		if row.Role == r {
			return row
		}
	}
	return RoleHolding{Role: r}
}
