package analyze

// classRule gives names that contain one of parts a class.
type classRule struct {
	class Class
	parts []string
}

// classRules are tried in order, the special before the general: a cuDNN attention kernel is also an
// "fprop", a split-K reduction of cuBLAS also a "reduce". Names are in lower case, without template
// arguments. TestClassOf holds the names they were written for.
var classRules = []classRule{
	// NCCL; vLLM's and TensorRT-LLM's own all-reduce; NVSHMEM; PyTorch's symmetric memory.
	{ClassCommunication, []string{
		"nccl", "nvshmem", "cross_device_reduce", "allreduce", "all_reduce", "allgather", "all_gather_", "reducescatter", "reduce_scatter", "alltoall",
		"all_to_all", "multimem_", "symm_mem", "one_shot_", "two_shot_", "sendrecv", "deep_ep",
	}},
	// FlashInfer and SGLang put everything into one namespace: its other kernels first.
	{ClassReduction, []string{"flashinfer::norm", "flashinfer::sampling", "rmsnormkernel", "topk_topp", "sampling"}},
	{ClassElementwise, []string{"flashinfer::activation", "batchqkapplyrotary", "rotary", "act_and_mul", "rope_kernel", "fused_rope"}},
	{ClassMemory, []string{"reshape_and_cache", "concat_and_cache", "appendpagedkvcache", "copy_blocks", "swap_blocks", "gather_cache"}},
	// cuDNN ("sdpa"), FlashAttention 2 and 3, memory-efficient attention ("fmha"), vLLM, Triton tutorials.
	{ClassAttention, []string{
		"sdpa", "flash_", "flash::", "flashattn", "fmha", "attention", "attn", "mha_", "batchprefillwith", "batchdecodewith", "singleprefillwith",
		"singledecodewith", "compute_dot_do_o", "convert_dq_to_16bits", "flash_mla", "_mla_", "mla_decode", "merge_states",
	}},
	{ClassOptimizer, []string{
		"multi_tensor_apply", "multitensorapply", "optimizer", "adamw", "adam_", "adam8bit", "fused_adam", "fusedadam", "lamb_", "sgd_", "adagrad", "adafactor",
		"ksgd", "newton_schulz", "_adam", "koptimizer",
	}},
	{ClassMatmul, []string{"splitkreduce", "splitk_reduce", "deep_gemm", "fused_moe_kernel", "grouped_gemm", "scaled_mm"}},
	// cuDNN's and CUTLASS's convolutions name their direction.
	{ClassConvolution, []string{
		"winograd", "fprop", "dgrad", "wgrad", "conv2d", "conv3d", "conv1d", "convolve", "convolution", "conv_depthwise", "depthwise", "im2col", "col2im",
		"implicit_convolve", "cudnn::cnn", "triton_convolution", "_conv_", "conv_fwd", "conv_bwd",
	}},
	{ClassReduction, []string{"triton_red_", "triton_per_", "input_reduce", "layer_norm", "layernorm", "rms_norm", "rmsnorm", "batch_norm", "batchnorm", "group_norm", "groupnorm"}},
	{ClassElementwise, []string{"triton_poi_", "triton_for_"}},
	// cuBLAS (nvjet since 12.8, xmma and cutlass before), quantised kernels of vLLM, generated templates.
	{ClassMatmul, []string{
		"nvjet", "gemm", "gemv", "xmma", "cutlass", "cublas", "matmul", "marlin", "machete", "bmm", "triton_mm", "triton_tem_", "_mm_", "gett_", "wgmma", "dot_kernel",
		"awq", "gptq", "exl2", "w8a8", "w4a16", "tensorop", "fused_moe",
	}},
	{ClassGather, []string{
		"index_elementwise", "gather", "scatter", "indexselect", "index_select", "indexfunc", "index_put", "index_add", "indexing_backward", "embedding", "embed_",
		"radixsort", "radix_sort", "mergesort", "merge_sort", "bitonicsort", "segmented_sort", "sort", "uniquebykey", "unique", "devicescan", "scan", "compact", "topk", "top_k",
		"krn_partial", "compute_grad_weight", "compute_num_of_partial", "nonzero", "searchsorted", "histogram", "moe_align", "deviceselect", "radixfindkth",
	}},
	{ClassMemory, []string{
		"catarray", "memcpy", "memset", "fill_kernel", "transpose", "permute", "nchwtonhwc", "nhwctonchw", "copy_kernel", "copy_device", "deviceinit", "replication_pad",
		"reflection_pad", "constant_pad", "cast_kernel", "convert_kernel", "wrapped_transpose", "wrapped_copy", "loop_copy",
	}},
	{ClassReduction, []string{
		"softmax", "gammabeta", "nll_loss", "cross_entropy", "crossentropy", "logsumexp", "argmax", "argmin", "reduce", "norm_kernel", "norm_bwd", "norm_fwd", "bn_fw", "bn_bw",
		"welford", "loss_", "_loss",
	}},
	{ClassElementwise, []string{
		"elementwise", "pointwise", "activation", "silu", "gelu", "relu", "swiglu", "dropout", "bernoulli", "distribution", "arange", "fused_add", "add_kernel", "mul_kernel",
		"addkernel", "mulkernel", "clamp", "where_kernel", "fusion", "foreach", "random", "axpy", "scale_kernel", "sigmoid", "tanh", "bias_", "add_", "mul_", "masked_",
		"quantize", "quant_", "vector_add", "vectoradd", "saxpy",
	}},
}
