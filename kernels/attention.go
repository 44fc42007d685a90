package kernels

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/warpscope/warpscope/cuda"
)

// Attention is the family of attention kernels; see attention.cu and attention_sm90.cuh.
func Attention() Family { return Family{"attention"} }

// Attend is O = softmax(Q K^T / sqrt(D)) V, forward. Tensors are bf16 and lie batch by batch, head by head, position by
// position; Heads is a multiple of KeyHeads, and D is 64 or 128.
type Attend struct {
	Batch, Heads, KeyHeads int
	Queries, Keys, D       int
	Causal                 bool // a query sees the keys up to its own position, counted from the end
	Q, K, V, O             cuda.Pointer
}

// Operations is FlashAttention's count: two products of 2 operations an element, half of it when causal.
func (a Attend) Operations() float64 {
	n := 4 * float64(a.Batch*a.Heads) * float64(a.Queries) * float64(a.Keys) * float64(a.D)
	if a.Causal {
		n /= 2
	}
	return n
}

// QueryElements and KeyElements are how many elements Q and O, and K and V, have each.
func (a Attend) QueryElements() uint64 { return uint64(a.Batch*a.Heads) * uint64(a.Queries*a.D) }

// KeyElements is how many elements K has, and V.
func (a Attend) KeyElements() uint64 { return uint64(a.Batch*a.KeyHeads) * uint64(a.Keys*a.D) }

// Bytes is the least that moves: every element of Q, K and V read once, of O written once.
func (a Attend) Bytes() float64 { return 2 * float64(2*a.QueryElements()+2*a.KeyElements()) }

func (a Attend) group() int { return a.Heads / a.KeyHeads }

// scale is of scores, for exponentials of base 2.
func (a Attend) scale() float32 { return float32(math.Log2E / math.Sqrt(float64(a.D))) }

// hopper is how attention_sm90.cuh instantiates a kernel.
type hopper struct {
	kernel string
	groups int // warpgroups of 64 queries
	keys   int // a block of keys
	own    bool
}

func (a Attend) hopper() hopper {
	h := hopper{kernel: fmt.Sprintf("attention_sm90_bf16_%d", a.D), groups: 2, keys: 128, own: true}
	if a.D == 64 {
		h.groups = 3
	}
	switch {
	case a.Causal:
		h.kernel += "_causal"
	case a.D == 128:
		h.keys, h.own = 192, false
	}
	return h
}

// HopperKernel is the name of the kernel that Hopper launches.
func (a Attend) HopperKernel() string { return a.hopper().kernel }

// HopperOrder is the order in which blocks take tiles, block by block of a row: heads whose keys fit in L2 together, and
// causal tiles, which differ in length, dealt out so that all blocks end together.
func (a Attend) HopperOrder(multiprocessors int) []uint32 {
	h := a.hopper()
	rows := 64 * h.groups
	tiles := ceil(a.Queries, rows)
	const l2 = 32 << 20 // of keys and values in use together
	together := max(1, l2/(a.Keys*a.D*4)) * a.group()
	heads, order := a.Batch*a.Heads, make([]uint32, 0, a.Batch*a.Heads*tiles)
	put := func(tile, head int) {
		order = append(order, uint32(tile|head%a.Heads<<12|head/a.Heads<<22))
	}
	for first := 0; first < heads; first += together {
		last := min(first+together, heads)
		if a.Causal { // the longest first, over all heads
			for tile := tiles - 1; tile >= 0; tile-- {
				for head := first; head < last; head++ {
					put(tile, head)
				}
			}
			continue
		}
		for head := first; head < last; head++ {
			for tile := range tiles {
				put(tile, head)
			}
		}
	}
	if !a.Causal {
		return order
	}
	const perTile = 1.0 // what a tile costs beside its blocks of keys, in such blocks
	return deal(order, min(multiprocessors, len(order)), func(where uint32) float64 {
		limit := min(a.Keys, (int(where&0xfff)+1)*rows+a.Keys-a.Queries)
		return float64(ceil(limit, h.keys)) + perTile
	})
}

// nothing ends a block's list of tiles.
const nothing = 0xffffffff

// load is a block and what it has to do so far.
type load struct {
	cost  float64
	block int
}

type loads []load

func (l loads) Len() int { return len(l) }
func (l loads) Less(i, j int) bool {
	return l[i].cost < l[j].cost || l[i].cost == l[j].cost && l[i].block < l[j].block
}
func (l loads) Swap(i, j int) { l[i], l[j] = l[j], l[i] }
func (l *loads) Push(v any)   { *l = append(*l, v.(load)) }
func (l *loads) Pop() any {
	last := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return last
}

// deal is the order in which blocks would take tiles if each took the next one when it is free, as lists of equal length
// that lie across each other.
func deal(order []uint32, blocks int, cost func(where uint32) float64) []uint32 {
	free, lists, longest := make(loads, blocks), make([][]uint32, blocks), 0
	for b := range free {
		free[b].block = b
	}
	for _, where := range order {
		next := &free[0]
		lists[next.block] = append(lists[next.block], where)
		longest = max(longest, len(lists[next.block]))
		next.cost += cost(where)
		heap.Fix(&free, 0)
	}
	out := make([]uint32, 0, longest*blocks)
	for i := range longest {
		for b := range blocks {
			if i < len(lists[b]) {
				out = append(out, lists[b][i])
			} else {
				out = append(out, nothing)
			}
		}
	}
	return out
}

// Hopper is attention by wgmma, for compute capability 9.0: order is where HopperOrder's `length` numbers are.
func (a Attend) Hopper(d *cuda.Driver, multiprocessors int, order cuda.Pointer, length int) (Launch, error) {
	h := a.hopper()
	rows := 64 * h.groups
	tensor := func(at cuda.Pointer, heads, positions, box int) (cuda.Arg, error) {
		across, row := uint64(a.D), uint64(a.D*2)
		return d.NewTensorMap(cuda.Tensor{
			Address: at, Element: cuda.ElementBFloat16,
			Dims:    []uint64{across, uint64(positions), uint64(heads), uint64(a.Batch)},
			Strides: []uint64{row, row * uint64(positions), row * uint64(positions*heads)},
			Box:     []uint32{64, uint32(box), 1, 1},
		})
	}
	args := make([]cuda.Arg, 0, 7)
	for _, t := range []struct {
		at                    cuda.Pointer
		heads, positions, box int
	}{{a.Q, a.Heads, a.Queries, rows}, {a.K, a.KeyHeads, a.Keys, h.keys}, {a.V, a.KeyHeads, a.Keys, h.keys}, {a.O, a.Heads, a.Queries, 64}} {
		m, err := tensor(t.at, t.heads, t.positions, t.box)
		if err != nil {
			return Launch{}, err
		}
		args = append(args, m)
	}
	var shape []byte
	for _, v := range []uint32{uint32(a.Queries), uint32(a.Keys), uint32(a.group()), math.Float32bits(a.scale())} {
		shape = binary.NativeEndian.AppendUint32(shape, v)
	}
	shared := rows*a.D*2 + 4*h.keys*a.D*2 + 10*8 + 1024 // two stages of keys and of values, barriers, room to align
	if h.own {
		shared += rows * a.D * 2
	}
	return Launch{
		Kernel: h.kernel,
		Config: cuda.LaunchConfig{Grid: cuda.Dim{uint32(min(multiprocessors, length))}, Block: cuda.Dim{uint32(128 * (h.groups + 1))}, Shared: uint32(shared)},
		Args:   append(args, cuda.Struct(shape), cuda.Address(order), cuda.Int32(int32(length))),
	}, nil
}

// Ampere is attention by mma.sync, for compute capability 8.0 and newer.
func (a Attend) Ampere() Launch {
	const rows = 128
	kernel, keys := fmt.Sprintf("attention_sm80_%d", a.D), 64
	if a.D == 128 {
		keys = 32
	}
	if a.Causal {
		kernel += "_causal"
	}
	return Launch{
		Kernel: kernel,
		Config: cuda.LaunchConfig{
			Grid: cuda.Dim{uint32(ceil(a.Queries, rows)), uint32(a.Batch * a.Heads)}, Block: cuda.Dim{128}, Shared: uint32(rows*a.D*2 + 4*keys*a.D*2),
		},
		Args: []cuda.Arg{cuda.Address(a.Q), cuda.Address(a.K), cuda.Address(a.V), cuda.Address(a.O), cuda.Int32(int32(a.Queries)), cuda.Int32(int32(a.Keys)),
			cuda.Int32(int32(a.group())), cuda.Float32(a.scale())},
	}
}
