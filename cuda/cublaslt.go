package cuda

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"unsafe"
)

// BLAS is NVIDIA's library of matrix products, cuBLASLt, loaded where a machine has it: what the products of kernels are
// compared with. Like everything here it works on the current context, which must be a primary one.
type BLAS struct {
	fn     blasCalls
	path   string
	handle uintptr
}

type blasCalls struct {
	create        func(handle *word) int32                                                                                                                                                                                `cuda:"cublasLtCreate"`
	version       func() uint64                                                                                                                                                                                           `cuda:"cublasLtGetVersion"`
	statusText    func(status int32) *byte                                                                                                                                                                                `cuda:"cublasLtGetStatusString"`
	descCreate    func(desc *word, compute, scale int32) int32                                                                                                                                                            `cuda:"cublasLtMatmulDescCreate"`
	descSet       func(desc word, attribute int32, value unsafe.Pointer, size uint64) int32                                                                                                                               `cuda:"cublasLtMatmulDescSetAttribute"`
	descDestroy   func(desc word) int32                                                                                                                                                                                   `cuda:"cublasLtMatmulDescDestroy"`
	layoutCreate  func(layout *word, element int32, rows, columns uint64, stride int64) int32                                                                                                                             `cuda:"cublasLtMatrixLayoutCreate"`
	layoutDestroy func(layout word) int32                                                                                                                                                                                 `cuda:"cublasLtMatrixLayoutDestroy"`
	prefCreate    func(preference *word) int32                                                                                                                                                                            `cuda:"cublasLtMatmulPreferenceCreate"`
	prefSet       func(preference word, attribute int32, value unsafe.Pointer, size uint64) int32                                                                                                                         `cuda:"cublasLtMatmulPreferenceSetAttribute"`
	prefDestroy   func(preference word) int32                                                                                                                                                                             `cuda:"cublasLtMatmulPreferenceDestroy"`
	heuristic     func(handle, desc, a, b, c, d, preference word, want int32, results unsafe.Pointer, got *int32) int32                                                                                                   `cuda:"cublasLtMatmulAlgoGetHeuristic"`
	matmul        func(handle, desc word, alpha unsafe.Pointer, a addr, la word, b addr, lb word, beta unsafe.Pointer, c addr, lc word, d addr, ld word, algo unsafe.Pointer, space addr, size uint64, stream word) int32 `cuda:"cublasLtMatmul"`
}

// ScalarType is a cudaDataType_t: the type of a matrix's elements.
type ScalarType int32

// The types that products are made of.
const (
	ScalarFloat32  ScalarType = 0  // CUDA_R_32F
	ScalarFloat16  ScalarType = 2  // CUDA_R_16F
	ScalarInt8     ScalarType = 3  // CUDA_R_8I
	ScalarInt32    ScalarType = 10 // CUDA_R_32I
	ScalarBFloat16 ScalarType = 14 // CUDA_R_16BF
	ScalarFloat8   ScalarType = 28 // CUDA_R_8F_E4M3
)

// Numbers of cublas_api.h and cublasLt.h. A test compares each with the name behind it where the headers are.
const (
	blasTransposed     int32 = 1  // CUBLAS_OP_T
	blasComputeFloat32 int32 = 68 // CUBLAS_COMPUTE_32F
	blasComputeTF32    int32 = 77 // CUBLAS_COMPUTE_32F_FAST_TF32
	blasComputeInt32   int32 = 72 // CUBLAS_COMPUTE_32I
	blasDescTransA     int32 = 3  // CUBLASLT_MATMUL_DESC_TRANSA
	blasDescFastAdding int32 = 25 // CUBLASLT_MATMUL_DESC_FAST_ACCUM
	blasPrefWorkspace  int32 = 1  // CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES
)

// blasHeuristic is a cublasLtMatmulHeuristicResult_t.
type blasHeuristic struct {
	algorithm [8]uint64
	workspace uint64 // bytes
	state     int32  // 0: usable
	waves     float32
	_         [4]int32
}

// OpenBLAS loads cuBLASLt. Without one that works with this driver the error is ErrNoLibrary.
func OpenBLAS(where Search) (*BLAS, error) {
	b := &BLAS{}
	err := where.open("cuBLASLt", []string{"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11"}, func(handle uintptr, path string) error {
		if err := bindAll(handle, &b.fn); err != nil {
			return err
		}
		b.path = path
		return b.check("cublasLtCreate", b.fn.create(&b.handle))
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Version is the library's own: "13.1.0".
func (b *BLAS) Version() string {
	v := b.fn.version()
	return fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100)
}

// Path is the file that was loaded.
func (b *BLAS) Path() string { return b.path }

func (b *BLAS) check(call string, status int32) error {
	if status == 0 {
		return nil
	}
	return fmt.Errorf("%s: %s (status %d)", call, goString(b.fn.statusText(status)), status)
}

// BLASConfig is a product C = A times the transpose of B, all row by row: A is M by K, B is N by K, C is M by N.
type BLASConfig struct {
	Operands, Result ScalarType
	TF32             bool // operands of floats are rounded to tf32
	M, N, K          int
	A, B, C          Pointer
	Workspace        Pointer // memory that algorithms may use
	WorkspaceBytes   uint64
	Algorithms       int // how many to ask the heuristics for, at least 1
}

// BLASProduct is a product with the algorithms that the library's heuristics offer for it, the most promising first.
type BLASProduct struct {
	b          *BLAS
	config     BLASConfig
	desc       uintptr
	layouts    [3]uintptr // of the first operand, the second, the result
	algorithms []blasHeuristic
	factors    *[2]uint32 // alpha and beta, as bits
}

// NewProduct asks the library how it would compute the product; an error also when it has no way. Float8 operands are added up as
// wgmma does, without promotion in between (the library's "fast accumulation").
func (b *BLAS) NewProduct(c BLASConfig) (_ *BLASProduct, err error) {
	p := &BLASProduct{b: b, config: c, factors: &[2]uint32{math.Float32bits(1), 0}}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("prepare product of cuBLASLt: %w", err), p.Close())
		}
	}()
	compute, scale := blasComputeFloat32, ScalarFloat32
	switch {
	case c.Operands == ScalarInt8:
		compute, scale = blasComputeInt32, ScalarInt32
		p.factors[0] = 1
	case c.Operands == ScalarFloat32 && c.TF32:
		compute = blasComputeTF32
	}
	if err := b.check("cublasLtMatmulDescCreate", b.fn.descCreate(&p.desc, compute, int32(scale))); err != nil {
		return nil, err
	}
	// The library thinks in columns. Our rows are its columns, so that it computes the transpose of C as the transpose of (B as it
	// sees it) times (A as it sees it).
	transposed := blasTransposed
	if err := b.check("cublasLtMatmulDescSetAttribute", b.fn.descSet(p.desc, blasDescTransA, unsafe.Pointer(&transposed), 4)); err != nil {
		return nil, err
	}
	if c.Operands == ScalarFloat8 {
		fast := int8(1)
		if err := b.check("cublasLtMatmulDescSetAttribute", b.fn.descSet(p.desc, blasDescFastAdding, unsafe.Pointer(&fast), 1)); err != nil {
			return nil, err
		}
	}
	for i, l := range []struct {
		element       ScalarType
		rows, columns int
	}{{c.Operands, c.K, c.N}, {c.Operands, c.K, c.M}, {c.Result, c.N, c.M}} {
		code := b.fn.layoutCreate(&p.layouts[i], int32(l.element), uint64(l.rows), uint64(l.columns), int64(l.rows))
		if err := b.check("cublasLtMatrixLayoutCreate", code); err != nil {
			return nil, err
		}
	}
	return p, p.ask()
}

// ask fills the list of algorithms.
func (p *BLASProduct) ask() (err error) {
	b := p.b
	var preference uintptr
	if err := b.check("cublasLtMatmulPreferenceCreate", b.fn.prefCreate(&preference)); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, b.check("cublasLtMatmulPreferenceDestroy", b.fn.prefDestroy(preference)))
	}()
	size := p.config.WorkspaceBytes
	if err := b.check("cublasLtMatmulPreferenceSetAttribute", b.fn.prefSet(preference, blasPrefWorkspace, unsafe.Pointer(&size), 8)); err != nil {
		return err
	}
	results := make([]blasHeuristic, max(p.config.Algorithms, 1))
	var got int32
	l := p.layouts
	code := b.fn.heuristic(b.handle, p.desc, l[0], l[1], l[2], l[2], preference, int32(len(results)), unsafe.Pointer(&results[0]), &got)
	if err := b.check("cublasLtMatmulAlgoGetHeuristic", code); err != nil {
		return err
	}
	for _, r := range results[:min(max(int(got), 0), len(results))] {
		if r.state == 0 && r.workspace <= size {
			p.algorithms = append(p.algorithms, r)
		}
	}
	if len(p.algorithms) == 0 {
		return errors.New("its heuristics offer no algorithm")
	}
	return nil
}

// Algorithms is how many the heuristics offered.
func (p *BLASProduct) Algorithms() int { return len(p.algorithms) }

// Run puts the product into the stream, by the algorithm with this number.
func (p *BLASProduct) Run(s *Stream, algorithm int) error {
	c, l, a := p.config, p.layouts, &p.algorithms[algorithm]
	code := p.b.fn.matmul(p.b.handle, p.desc, unsafe.Pointer(&p.factors[0]), c.B, l[0], c.A, l[1], unsafe.Pointer(&p.factors[1]),
		c.C, l[2], c.C, l[2], unsafe.Pointer(&a.algorithm), c.Workspace, c.WorkspaceBytes, s.handle)
	runtime.KeepAlive(p)
	return p.b.check("cublasLtMatmul", code)
}

// Close gives the descriptions back. A second Close does nothing.
func (p *BLASProduct) Close() error {
	var errs []error
	for i, l := range p.layouts {
		if l != 0 {
			errs = append(errs, p.b.check("cublasLtMatrixLayoutDestroy", p.b.fn.layoutDestroy(l)))
			p.layouts[i] = 0
		}
	}
	if p.desc != 0 {
		errs = append(errs, p.b.check("cublasLtMatmulDescDestroy", p.b.fn.descDestroy(p.desc)))
		p.desc = 0
	}
	return errors.Join(errs...)
}
