package demo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/warpscope/warpscope/cuda"
	"github.com/warpscope/warpscope/kernels"
)

// The model: y = layernorm(x W1) W2 + skip x, trained to reproduce its input. Small enough for a step to
// take well under a millisecond on a GPU, large enough to fill one for a moment.
const (
	rows    = 128 // of a batch
	inputs  = 256
	hidden  = 512
	skip    = 0.1
	rate    = 3e-3
	float   = 4               // bytes
	weights = inputs * hidden // of each of the two matrices

	batchBytes  = rows * inputs * float
	hiddenBytes = rows * hidden * float
	weightBytes = weights * float
	lossBytes   = float

	// The workspace of a step: given back and taken anew every time, as an allocator without a cache would.
	workspaceBytes = batchBytes + 2*hiddenBytes
)

// layer is a weight matrix with all that training keeps for it.
type layer struct{ weight, gradient, first, second cuda.Pointer }

// model is the memory that lives as long as the loop.
type model struct {
	w             *work
	l1, l2        layer
	x, y, h, loss cuda.Pointer
	evalH, evalN  cuda.Pointer
	evalY         cuda.Pointer
	pinned        *cuda.Host // a batch, and the loss behind it
	random        *rand.Rand
	evaluation    *cuda.GraphExec
}

// evaluationNodes is how many kernels the evaluation graph has.
const evaluationNodes = 3

func newModel(w *work) (*model, error) {
	// A fixed seed: every run does the same.
	m := &model{w: w, random: rand.New(rand.NewPCG(1, 2))}
	for _, a := range []struct {
		p     *cuda.Pointer
		bytes uint64
	}{
		{&m.l1.weight, weightBytes}, {&m.l1.gradient, weightBytes}, {&m.l1.first, weightBytes}, {&m.l1.second, weightBytes},
		{&m.l2.weight, weightBytes}, {&m.l2.gradient, weightBytes}, {&m.l2.first, weightBytes}, {&m.l2.second, weightBytes},
		{&m.x, batchBytes}, {&m.y, batchBytes}, {&m.h, hiddenBytes}, {&m.loss, lossBytes},
		{&m.evalH, hiddenBytes}, {&m.evalN, hiddenBytes}, {&m.evalY, batchBytes},
	} {
		p, err := w.alloc(a.bytes)
		if err != nil {
			return nil, fmt.Errorf("allocate the model: %w", err)
		}
		*a.p = p
	}
	var err error
	if m.pinned, err = w.driver.AllocHost(batchBytes + lossBytes); err != nil {
		return nil, fmt.Errorf("allocate the batch: %w", err)
	}
	w.counts.PinnedBytes = batchBytes + lossBytes
	return m, m.initialise()
}

// initialise uploads random weights and clears the optimizer's state.
func (m *model) initialise() error {
	buffer := make([]byte, weightBytes)
	for _, l := range []layer{m.l1, m.l2} {
		m.fill(buffer, 1/math.Sqrt(inputs))
		// Pageable memory on purpose, once: a trace shows the difference. It is copied before the call returns.
		if err := m.w.copyIn(l.weight, buffer); err != nil {
			return err
		}
		if err := errors.Join(m.w.zero(l.first, weightBytes), m.w.zero(l.second, weightBytes), m.w.stream.Synchronize()); err != nil {
			return err
		}
	}
	return m.record()
}

// fill writes normally distributed floats.
func (m *model) fill(b []byte, scale float64) {
	for i := 0; i < len(b); i += float {
		binary.LittleEndian.PutUint32(b[i:], math.Float32bits(float32(m.random.NormFloat64()*scale)))
	}
}

// record captures the evaluation, a forward pass with memory of its own, as a CUDA graph.
func (m *model) record() error {
	g, err := m.w.stream.Capture(func() error {
		for _, l := range m.forward(m.evalH, m.evalN, m.evalY) {
			// Not work.launch: a captured kernel has not run.
			if err := l.Run(m.w.stream, m.w.kernels[l.Kernel]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("capture the evaluation: %w", err)
	}
	m.evaluation, err = g.Instantiate()
	if err != nil {
		return fmt.Errorf("instantiate the evaluation: %w", errors.Join(err, g.Close()))
	}
	return g.Close()
}

func (m *model) forward(h, n, y cuda.Pointer) []kernels.Launch {
	return []kernels.Launch{
		kernels.Matmul(rows, hidden, inputs, false, m.x, m.l1.weight, h),
		kernels.LayerNorm(rows, hidden, h, n),
		kernels.Matmul(rows, inputs, hidden, false, n, m.l2.weight, y),
	}
}

// step trains on one batch and returns the loss, which a simulated device does not compute.
func (m *model) step(index int) (float32, error) {
	w := m.w
	batch, loss := m.pinned.Bytes()[:batchBytes], m.pinned.Bytes()[batchBytes:]
	m.fill(batch, 1)
	if err := w.copyIn(m.x, batch); err != nil {
		return 0, err
	}
	workspace, err := w.alloc(workspaceBytes)
	if err != nil {
		return 0, fmt.Errorf("allocate the workspace: %w", err)
	}
	normal, err := w.allocAsync(hiddenBytes)
	if err != nil {
		return 0, fmt.Errorf("allocate the activations: %w", err)
	}
	gradY, gradH := workspace, workspace+batchBytes
	list := append(m.forward(m.h, normal, m.y),
		kernels.Saxpy(rows*inputs, skip, m.x, m.y),
		kernels.Loss(rows*inputs, m.y, m.x, gradY, m.loss),
		kernels.MatmulGrad(hidden, inputs, rows, normal, gradY, m.l2.gradient),
		kernels.Matmul(rows, hidden, inputs, true, gradY, m.l2.weight, gradH),
		// The layer norm passes its gradient straight through: this is a demo, not a paper.
		kernels.MatmulGrad(inputs, hidden, rows, m.x, gradH, m.l1.gradient),
		kernels.AdamW(weights, rate, index, m.l1.gradient, m.l1.first, m.l1.second, m.l1.weight),
		kernels.AdamW(weights, rate, index, m.l2.gradient, m.l2.first, m.l2.second, m.l2.weight))
	if err := w.zero(m.loss, lossBytes); err != nil {
		return 0, err
	}
	if err := w.launchAll(list...); err != nil {
		return 0, err
	}
	if index%evaluateEvery == 0 {
		if err := w.launchGraph(m.evaluation, evaluationNodes); err != nil {
			return 0, fmt.Errorf("launch the evaluation: %w", err)
		}
	}
	if err := errors.Join(w.copyOut(loss, m.loss), w.freeAsync(normal), w.stream.Synchronize(), w.free(workspace)); err != nil {
		return 0, err
	}
	return math.Float32frombits(binary.LittleEndian.Uint32(loss)), nil
}

// evaluateEvery is the distance in steps between two launches of the evaluation graph.
const evaluateEvery = 4

func (m *model) close() error {
	var errs []error
	if m.evaluation != nil {
		errs = append(errs, m.evaluation.Close())
	}
	if m.pinned != nil {
		errs = append(errs, m.pinned.Close())
	}
	return errors.Join(errs...)
}
