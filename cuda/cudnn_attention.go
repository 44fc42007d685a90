package cuda

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"unsafe"
)

// DNNConfig is an attention O = softmax(Scale Q K^T) V. Tensors lie as batch, head, position, element, without gaps; Q and O have
// Heads heads, K and V KeyHeads, a divisor of it.
type DNNConfig struct {
	Element                           ScalarType // ScalarFloat16 or ScalarBFloat16
	Batch, Heads, KeyHeads, Dimension int
	Queries, Keys                     int  // positions
	Causal                            bool // a query sees the keys up to its own position; Queries and Keys are equal then
	Scale                             float32
	Q, K, V, O                        Pointer
	MostPlans                         int // how many of the heuristics' ways to prepare, at least 1
}

// DNNAttention is an attention with the plans that the library's heuristics offer for it, the most promising first.
type DNNAttention struct {
	l         *DNN
	b         *dnnBuilder
	config    DNNConfig
	values    *[2]float32 // the scale, and what masked scores become
	plans     []uintptr
	pack      uintptr
	workspace uint64
}

// Unique ids of what a caller passes when an attention runs.
const (
	idQ int64 = 1 + iota
	idK
	idV
	idO
	idScale
	idMasked
	idVirtual // and those that follow: results that stay inside
)

// NewAttention asks the library how it would compute the attention; an error also when it has no way. Workspace says what memory Run needs.
func (l *DNN) NewAttention(c DNNConfig) (_ *DNNAttention, err error) {
	a := &DNNAttention{l: l, b: &dnnBuilder{l: l}, config: c, values: &[2]float32{c.Scale, float32(math.Inf(-1))}}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("prepare attention of cuDNN: %w", err), a.Close())
		}
	}()
	if c.Causal && c.Queries != c.Keys {
		return nil, fmt.Errorf("%d causal queries of %d keys: %w", c.Queries, c.Keys, ErrNotSupported)
	}
	if l.fn.version() < 91000 {
		a.values[1] = -math.MaxFloat32 // what its kernels up to 9.9 are made for
	}
	// Newer versions also know attention as one operation, with other engines behind it; masks for it are newer still.
	ways := []func(*dnnAttentionGraph) []uintptr{(*dnnAttentionGraph).operations}
	if !c.Causal {
		ways = append(ways, (*dnnAttentionGraph).operation)
	}
	var failures []error
	for _, way := range ways {
		b := &dnnBuilder{l: l}
		if err := a.plan(b, way(&dnnAttentionGraph{b: b, c: c, next: idVirtual})); err != nil {
			failures = append(failures, err)
		}
		a.b.made = append(a.b.made, b.made...)
	}
	if len(a.plans) == 0 {
		return nil, errors.Join(append([]error{errors.New("its heuristics offer no plan that works")}, failures...)...)
	}
	return a, nil
}

// plan prepares what the heuristics offer for a graph of operations. An offer that turns out not to work is passed over.
func (a *DNNAttention) plan(b *dnnBuilder, operations []uintptr) error {
	l := a.l
	graph := b.describe(dnnGraph, dnnValues(dnnGraphOperations, dnnTypeDescriptor, operations...), dnnValues(dnnGraphHandle, dnnTypeHandle, l.handle))
	heuristics := b.describe(dnnHeuristics, dnnValues(dnnHeuristicsGraph, dnnTypeDescriptor, graph),
		dnnValues(dnnHeuristicsMode, dnnTypeHeuristic, dnnHeuristicModeA))
	configs := make([]uintptr, max(a.config.MostPlans, 1))
	for i := range configs {
		configs[i] = b.blank(dnnEngineConfig)
	}
	if b.err != nil {
		return b.err
	}
	var offered int64
	code := l.fn.get(heuristics, dnnHeuristicsResults, dnnTypeDescriptor, int64(len(configs)), &offered, unsafe.Pointer(&configs[0]))
	if err := l.check("cudnnBackendGetAttribute", code); err != nil {
		return err
	}
	var failures []error
	for _, config := range configs[:min(max(offered, 0), int64(len(configs)))] {
		one := &dnnBuilder{l: l}
		p := one.describe(dnnPlan, dnnValues(dnnPlanHandle, dnnTypeHandle, l.handle), dnnValues(dnnPlanConfig, dnnTypeDescriptor, config))
		b.made = append(b.made, one.made...)
		if one.err != nil {
			failures = append(failures, one.err)
			continue
		}
		var size, count int64
		if err := l.check("cudnnBackendGetAttribute", l.fn.get(p, dnnPlanWorkspace, dnnTypeInt64, 1, &count, unsafe.Pointer(&size))); err != nil {
			return err
		}
		a.plans = append(a.plans, p)
		a.workspace = max(a.workspace, uint64(max(size, 0)))
	}
	return errors.Join(failures...)
}

// Workspace is the memory in bytes that Run needs, for whichever plan needs most.
func (a *DNNAttention) Workspace() uint64 { return a.workspace }

// SetWorkspace says where that memory lies. Once, before the first Run.
func (a *DNNAttention) SetWorkspace(p Pointer) error {
	c := a.config
	ids := []int64{idQ, idK, idV, idO, idScale}
	data := []uintptr{uintptr(c.Q), uintptr(c.K), uintptr(c.V), uintptr(c.O), uintptr(unsafe.Pointer(&a.values[0]))}
	if c.Causal {
		ids, data = append(ids, idMasked), append(data, uintptr(unsafe.Pointer(&a.values[1])))
	}
	a.pack = a.b.describe(dnnPack, dnnValues(dnnPackIDs, dnnTypeInt64, ids...), dnnValues(dnnPackPointers, dnnTypePointer, data...),
		dnnValues(dnnPackWorkspace, dnnTypePointer, uintptr(p)))
	return a.b.err
}

// Plans is how many plans there are.
func (a *DNNAttention) Plans() int { return len(a.plans) }

// Run puts the attention into the stream, by the plan with this number.
func (a *DNNAttention) Run(s *Stream, plan int) error {
	if err := a.l.check("cudnnSetStream", a.l.fn.setStream(a.l.handle, s.handle)); err != nil {
		return err
	}
	code := a.l.fn.execute(a.l.handle, a.plans[plan], a.pack)
	runtime.KeepAlive(a.values)
	return a.l.check("cudnnBackendExecute", code)
}

// Close gives the descriptions back. A second Close does nothing.
func (a *DNNAttention) Close() error { return a.b.close() }

// dnnAttentionGraph writes attention down as the operations whose pattern the library's fused engines know.
type dnnAttentionGraph struct {
	b    *dnnBuilder
	c    DNNConfig
	next int64
	made []uintptr // operations, in their order
}

// operations are: product with the keys, scale, mask, softmax (maximum, difference,
// exponential, sum, quotient), product with the values.
func (g *dnnAttentionGraph) operations() []uintptr {
	c, element := g.c, g.element()
	b, h, kh, s, t, d := int64(c.Batch), int64(c.Heads), int64(c.KeyHeads), int64(c.Queries), int64(c.Keys), int64(c.Dimension)
	q, v, o := g.heads(idQ, h, s), g.heads(idV, kh, t), g.heads(idO, h, s)
	k := g.tensor(idK, element, [4]int64{b, kh, d, t}, [4]int64{kh * t * d, t * d, 1, d}) // its transpose
	scores := func(element int32) uintptr {
		return g.inside(element, [4]int64{b, h, s, t}, [4]int64{h * s * t, s * t, t, 1})
	}
	rows := func() uintptr { return g.inside(dnnFloat, [4]int64{b, h, s, 1}, [4]int64{h * s, s, 1, 1}) }

	x := scores(dnnFloat)
	g.matmul(q, k, x)
	scaled := scores(dnnFloat)
	g.pointwise(dnnMultiply, dnnFloat, x, g.scalar(idScale), 0, scaled)
	x = scaled
	if c.Causal {
		row, column, seen, masked := scores(dnnInt32), scores(dnnInt32), scores(dnnBoolean), scores(dnnFloat)
		g.pointwise(dnnIndex, dnnFloat, x, 0, 0, row, dnnValues(dnnPointwiseAxis, dnnTypeInt64, int64(2)))
		g.pointwise(dnnIndex, dnnFloat, x, 0, 0, column, dnnValues(dnnPointwiseAxis, dnnTypeInt64, int64(3)))
		g.pointwise(dnnGreaterOrEqual, dnnBoolean, row, column, 0, seen)
		g.pointwise(dnnSelect, dnnFloat, x, g.scalar(idMasked), seen, masked)
		x = masked
	}
	// The statistics of a row (its maximum plus the logarithm of its sum) are for training; nobody reads them here, but they are part
	// of the pattern.
	top, sum, logarithm, statistics := rows(), rows(), rows(), rows()
	below, powers, p := scores(dnnFloat), scores(dnnFloat), scores(element)
	g.reduction(dnnReduceMax, x, top)
	g.pointwise(dnnSubtract, dnnFloat, x, top, 0, below)
	g.pointwise(dnnExponential, dnnFloat, below, 0, 0, powers)
	g.reduction(dnnReduceAdd, powers, sum)
	g.pointwise(dnnLogarithm, dnnFloat, sum, 0, 0, logarithm)
	g.pointwise(dnnAdd, dnnFloat, top, logarithm, 0, statistics)
	g.pointwise(dnnDivide, dnnFloat, powers, sum, 0, p)
	g.matmul(p, v, o)
	return g.made
}

// operation is the same without a mask, as a single one.
func (g *dnnAttentionGraph) operation() []uintptr {
	c := g.c
	h, kh, s, t := int64(c.Heads), int64(c.KeyHeads), int64(c.Queries), int64(c.Keys)
	return []uintptr{g.b.describe(dnnAttentionOperation,
		dnnValues(dnnAttentionQ, dnnTypeDescriptor, g.heads(idQ, h, s)), dnnValues(dnnAttentionK, dnnTypeDescriptor, g.heads(idK, kh, t)),
		dnnValues(dnnAttentionV, dnnTypeDescriptor, g.heads(idV, kh, t)), dnnValues(dnnAttentionO, dnnTypeDescriptor, g.heads(idO, h, s)),
		dnnValues(dnnAttentionScale, dnnTypeDescriptor, g.scalar(idScale)))}
}

func (g *dnnAttentionGraph) element() int32 {
	if g.c.Element == ScalarFloat16 {
		return dnnHalf
	}
	return dnnBFloat16
}

// heads is a tensor in memory.
func (g *dnnAttentionGraph) heads(id, heads, positions int64) uintptr {
	d := int64(g.c.Dimension)
	return g.tensor(id, g.element(), [4]int64{int64(g.c.Batch), heads, positions, d}, [4]int64{heads * positions * d, positions * d, d, 1})
}

func (g *dnnAttentionGraph) tensor(id int64, element int32, dims, strides [4]int64, more ...dnnAttribute) uintptr {
	return g.b.describe(dnnTensor, append([]dnnAttribute{
		dnnValues(dnnTensorType, dnnTypeData, element), dnnValues(dnnTensorDims, dnnTypeInt64, dims[:]...),
		dnnValues(dnnTensorStrides, dnnTypeInt64, strides[:]...), dnnValues(dnnTensorID, dnnTypeInt64, id),
		dnnValues(dnnTensorAlignment, dnnTypeInt64, int64(16)),
	}, more...)...)
}

// inside is a result that never reaches memory.
func (g *dnnAttentionGraph) inside(element int32, dims, strides [4]int64) uintptr {
	g.next++
	return g.tensor(g.next, element, dims, strides, dnnValues(dnnTensorVirtual, dnnTypeBoolean, true))
}

// scalar is a float that is read from host memory.
func (g *dnnAttentionGraph) scalar(id int64) uintptr {
	one := [4]int64{1, 1, 1, 1}
	return g.tensor(id, dnnFloat, one, one, dnnValues(dnnTensorByValue, dnnTypeBoolean, true))
}

func (g *dnnAttentionGraph) matmul(a, b, c uintptr) {
	how := g.b.describe(dnnMatmul, dnnValues(dnnMatmulType, dnnTypeData, dnnFloat))
	g.made = append(g.made, g.b.describe(dnnMatmulOperation, dnnValues(dnnMatmulA, dnnTypeDescriptor, a), dnnValues(dnnMatmulB, dnnTypeDescriptor, b),
		dnnValues(dnnMatmulC, dnnTypeDescriptor, c), dnnValues(dnnMatmulOp, dnnTypeDescriptor, how)))
}

func (g *dnnAttentionGraph) reduction(operator int32, x, y uintptr) {
	how := g.b.describe(dnnReduction, dnnValues(dnnReductionType, dnnTypeData, dnnFloat), dnnValues(dnnReductionOperator, dnnTypeReduction, operator))
	g.made = append(g.made, g.b.describe(dnnReductionOperation, dnnValues(dnnReductionX, dnnTypeDescriptor, x),
		dnnValues(dnnReductionY, dnnTypeDescriptor, y), dnnValues(dnnReductionOp, dnnTypeDescriptor, how)))
}

// pointwise is y = mode(x), mode(x, b), or t ? x : b.
func (g *dnnAttentionGraph) pointwise(mode, precision int32, x, b, t, y uintptr, more ...dnnAttribute) {
	how := g.b.describe(dnnPointwise, append([]dnnAttribute{dnnValues(dnnPointwiseMode, dnnTypePointwise, mode),
		dnnValues(dnnPointwisePrecision, dnnTypeData, precision)}, more...)...)
	attributes := []dnnAttribute{dnnValues(dnnPointwiseOp, dnnTypeDescriptor, how), dnnValues(dnnPointwiseX, dnnTypeDescriptor, x),
		dnnValues(dnnPointwiseY, dnnTypeDescriptor, y)}
	if b != 0 {
		attributes = append(attributes, dnnValues(dnnPointwiseB, dnnTypeDescriptor, b))
	}
	if t != 0 {
		attributes = append(attributes, dnnValues(dnnPointwiseT, dnnTypeDescriptor, t))
	}
	g.made = append(g.made, g.b.describe(dnnPointwiseOperation, attributes...))
}
