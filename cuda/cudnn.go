package cuda

import (
	"errors"
	"fmt"
	"unsafe"
)

// DNN is NVIDIA's library of neural network primitives, cuDNN, loaded where a machine has it: what the attention of kernels is
// compared with. Only its backend API is used. Like everything here it works on the current context, which must be a primary one.
type DNN struct {
	fn     dnnCalls
	path   string
	handle uintptr
}

type dnnCalls struct {
	create     func(handle *word) int32                                                                       `cuda:"cudnnCreate"`
	setStream  func(handle, stream word) int32                                                                `cuda:"cudnnSetStream"`
	version    func() uint64                                                                                  `cuda:"cudnnGetVersion"`
	statusText func(status int32) *byte                                                                       `cuda:"cudnnGetErrorString"`
	lastError  func(text *byte, size uint64)                                                                  `cuda:"cudnnGetLastErrorString"`
	describe   func(kind int32, descriptor *word) int32                                                       `cuda:"cudnnBackendCreateDescriptor"`
	forget     func(descriptor word) int32                                                                    `cuda:"cudnnBackendDestroyDescriptor"`
	set        func(descriptor word, attribute, kind int32, count int64, values unsafe.Pointer) int32         `cuda:"cudnnBackendSetAttribute"`
	get        func(descriptor word, attribute, kind int32, most int64, count *int64, v unsafe.Pointer) int32 `cuda:"cudnnBackendGetAttribute"`
	finalize   func(descriptor word) int32                                                                    `cuda:"cudnnBackendFinalize"`
	execute    func(handle, plan, pack word) int32                                                            `cuda:"cudnnBackendExecute"`
}

// Numbers of cudnn_graph.h. A test compares each with the name behind it where the headers are.
const (
	dnnPointwise          int32 = 0  // CUDNN_BACKEND_POINTWISE_DESCRIPTOR
	dnnEngineConfig       int32 = 3  // CUDNN_BACKEND_ENGINECFG_DESCRIPTOR
	dnnHeuristics         int32 = 4  // CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR
	dnnPlan               int32 = 5  // CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR
	dnnPointwiseOperation int32 = 13 // CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR
	dnnGraph              int32 = 15 // CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR
	dnnPack               int32 = 16 // CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR
	dnnTensor             int32 = 17 // CUDNN_BACKEND_TENSOR_DESCRIPTOR
	dnnMatmul             int32 = 18 // CUDNN_BACKEND_MATMUL_DESCRIPTOR
	dnnMatmulOperation    int32 = 19 // CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR
	dnnReduction          int32 = 21 // CUDNN_BACKEND_REDUCTION_DESCRIPTOR
	dnnReductionOperation int32 = 22 // CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR

	dnnAttentionOperation int32 = 41 // CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR

	dnnPointwiseMode      int32 = 0    // CUDNN_ATTR_POINTWISE_MODE
	dnnPointwisePrecision int32 = 1    // CUDNN_ATTR_POINTWISE_MATH_PREC
	dnnPointwiseAxis      int32 = 9    // CUDNN_ATTR_POINTWISE_AXIS
	dnnHeuristicsMode     int32 = 200  // CUDNN_ATTR_ENGINEHEUR_MODE
	dnnHeuristicsGraph    int32 = 201  // CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH
	dnnHeuristicsResults  int32 = 202  // CUDNN_ATTR_ENGINEHEUR_RESULTS
	dnnPlanHandle         int32 = 400  // CUDNN_ATTR_EXECUTION_PLAN_HANDLE
	dnnPlanConfig         int32 = 401  // CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG
	dnnPlanWorkspace      int32 = 402  // CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE
	dnnPointwiseOp        int32 = 750  // CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR
	dnnPointwiseX         int32 = 751  // CUDNN_ATTR_OPERATION_POINTWISE_XDESC
	dnnPointwiseB         int32 = 752  // CUDNN_ATTR_OPERATION_POINTWISE_BDESC
	dnnPointwiseY         int32 = 753  // CUDNN_ATTR_OPERATION_POINTWISE_YDESC
	dnnPointwiseT         int32 = 758  // CUDNN_ATTR_OPERATION_POINTWISE_TDESC
	dnnGraphHandle        int32 = 800  // CUDNN_ATTR_OPERATIONGRAPH_HANDLE
	dnnGraphOperations    int32 = 801  // CUDNN_ATTR_OPERATIONGRAPH_OPS
	dnnTensorAlignment    int32 = 900  // CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT
	dnnTensorType         int32 = 901  // CUDNN_ATTR_TENSOR_DATA_TYPE
	dnnTensorDims         int32 = 902  // CUDNN_ATTR_TENSOR_DIMENSIONS
	dnnTensorStrides      int32 = 903  // CUDNN_ATTR_TENSOR_STRIDES
	dnnTensorID           int32 = 906  // CUDNN_ATTR_TENSOR_UNIQUE_ID
	dnnTensorVirtual      int32 = 907  // CUDNN_ATTR_TENSOR_IS_VIRTUAL
	dnnTensorByValue      int32 = 908  // CUDNN_ATTR_TENSOR_IS_BY_VALUE
	dnnPackIDs            int32 = 1000 // CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS
	dnnPackPointers       int32 = 1001 // CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS
	dnnPackWorkspace      int32 = 1003 // CUDNN_ATTR_VARIANT_PACK_WORKSPACE
	dnnMatmulType         int32 = 1500 // CUDNN_ATTR_MATMUL_COMP_TYPE
	dnnMatmulA            int32 = 1520 // CUDNN_ATTR_OPERATION_MATMUL_ADESC
	dnnMatmulB            int32 = 1521 // CUDNN_ATTR_OPERATION_MATMUL_BDESC
	dnnMatmulC            int32 = 1522 // CUDNN_ATTR_OPERATION_MATMUL_CDESC
	dnnMatmulOp           int32 = 1523 // CUDNN_ATTR_OPERATION_MATMUL_DESC
	dnnReductionOperator  int32 = 1600 // CUDNN_ATTR_REDUCTION_OPERATOR
	dnnReductionType      int32 = 1601 // CUDNN_ATTR_REDUCTION_COMP_TYPE
	dnnReductionX         int32 = 1610 // CUDNN_ATTR_OPERATION_REDUCTION_XDESC
	dnnReductionY         int32 = 1611 // CUDNN_ATTR_OPERATION_REDUCTION_YDESC
	dnnReductionOp        int32 = 1612 // CUDNN_ATTR_OPERATION_REDUCTION_DESC
	dnnAttentionQ         int32 = 2800 // CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC
	dnnAttentionK         int32 = 2801 // CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC
	dnnAttentionV         int32 = 2802 // CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC
	dnnAttentionO         int32 = 2803 // CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC
	dnnAttentionScale     int32 = 2805 // CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC

	dnnTypeHandle     int32 = 0   // CUDNN_TYPE_HANDLE
	dnnTypeData       int32 = 1   // CUDNN_TYPE_DATA_TYPE
	dnnTypeBoolean    int32 = 2   // CUDNN_TYPE_BOOLEAN
	dnnTypeInt64      int32 = 3   // CUDNN_TYPE_INT64
	dnnTypePointer    int32 = 6   // CUDNN_TYPE_VOID_PTR
	dnnTypeHeuristic  int32 = 8   // CUDNN_TYPE_HEUR_MODE
	dnnTypePointwise  int32 = 14  // CUDNN_TYPE_POINTWISE_MODE
	dnnTypeDescriptor int32 = 15  // CUDNN_TYPE_BACKEND_DESCRIPTOR
	dnnTypeReduction  int32 = 18  // CUDNN_TYPE_REDUCTION_OPERATOR_TYPE
	dnnHeuristicModeA int32 = 3   // CUDNN_HEUR_MODE_A
	dnnFloat          int32 = 0   // CUDNN_DATA_FLOAT
	dnnHalf           int32 = 2   // CUDNN_DATA_HALF
	dnnInt32          int32 = 4   // CUDNN_DATA_INT32
	dnnBFloat16       int32 = 9   // CUDNN_DATA_BFLOAT16
	dnnBoolean        int32 = 11  // CUDNN_DATA_BOOLEAN
	dnnReduceAdd      int32 = 0   // CUDNN_REDUCE_TENSOR_ADD
	dnnReduceMax      int32 = 3   // CUDNN_REDUCE_TENSOR_MAX
	dnnAdd            int32 = 0   // CUDNN_POINTWISE_ADD
	dnnMultiply       int32 = 1   // CUDNN_POINTWISE_MUL
	dnnDivide         int32 = 6   // CUDNN_POINTWISE_DIV
	dnnSubtract       int32 = 9   // CUDNN_POINTWISE_SUB
	dnnExponential    int32 = 13  // CUDNN_POINTWISE_EXP
	dnnLogarithm      int32 = 15  // CUDNN_POINTWISE_LOG
	dnnGreaterOrEqual int32 = 303 // CUDNN_POINTWISE_CMP_GE
	dnnIndex          int32 = 501 // CUDNN_POINTWISE_GEN_INDEX
	dnnSelect         int32 = 601 // CUDNN_POINTWISE_BINARY_SELECT
)

// OpenDNN loads cuDNN 9. Without one that works with this driver the error is ErrNoLibrary.
func OpenDNN(where Search) (*DNN, error) {
	l := &DNN{}
	err := where.open("cuDNN", []string{"libcudnn.so.9"}, func(handle uintptr, path string) error {
		if err := bindAll(handle, &l.fn); err != nil {
			return err
		}
		l.path = path
		return l.check("cudnnCreate", l.fn.create(&l.handle))
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Version is the library's own: "9.10.2".
func (l *DNN) Version() string {
	v := l.fn.version()
	return fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100)
}

// Path is the file that was loaded.
func (l *DNN) Path() string { return l.path }

func (l *DNN) check(call string, status int32) error {
	if status == 0 {
		return nil
	}
	why := make([]byte, 512)
	l.fn.lastError(&why[0], uint64(len(why)))
	return fmt.Errorf("%s: %s (status %d) %s", call, goString(l.fn.statusText(status)), status, cString(why))
}

// dnnBuilder makes descriptors and remembers the first failure: after it, everything is a no-op.
type dnnBuilder struct {
	l    *DNN
	made []uintptr
	err  error
}

// dnnAttribute is a property of a descriptor: count values of a kind.
type dnnAttribute struct {
	name, kind int32
	count      int64
	values     unsafe.Pointer
}

func dnnValues[T any](name, kind int32, values ...T) dnnAttribute {
	return dnnAttribute{name, kind, int64(len(values)), unsafe.Pointer(unsafe.SliceData(values))}
}

// describe makes a finished descriptor.
func (b *dnnBuilder) describe(kind int32, attributes ...dnnAttribute) uintptr {
	d := b.blank(kind)
	for _, a := range attributes {
		if b.err == nil {
			b.err = b.l.check(fmt.Sprintf("cudnnBackendSetAttribute %d of descriptor %d", a.name, kind), b.l.fn.set(d, a.name, a.kind, a.count, a.values))
		}
	}
	if b.err == nil {
		b.err = b.l.check(fmt.Sprintf("cudnnBackendFinalize of descriptor %d", kind), b.l.fn.finalize(d))
	}
	return d
}

// blank makes a descriptor that the library will fill.
func (b *dnnBuilder) blank(kind int32) uintptr {
	var d uintptr
	if b.err == nil {
		b.err = b.l.check(fmt.Sprintf("cudnnBackendCreateDescriptor %d", kind), b.l.fn.describe(kind, &d))
	}
	if d != 0 {
		b.made = append(b.made, d)
	}
	return d
}

// close gives all descriptors back.
func (b *dnnBuilder) close() error {
	var errs []error
	for i := len(b.made) - 1; i >= 0; i-- {
		errs = append(errs, b.l.check("cudnnBackendDestroyDescriptor", b.l.fn.forget(b.made[i])))
	}
	b.made = nil
	return errors.Join(errs...)
}
