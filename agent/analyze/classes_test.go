package analyze

import (
	"strings"
	"testing"
)

// Names of kernels as CUPTI gave them or as their libraries' sources spell them, by class.
var classNames = map[Class][]string{
	ClassMatmul: {
		"nvjet_sm90_tst_192x128_64x5_1x2_h_bz_coopB_bias_TNT", "nvjet_sm90_tst_64x8_64x16_4x1_v_bz_splitK_TNT", "nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_NNT",
		"sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1_execute_segment_k_off_kernel__5x_cublas",
		"ampere_sgemm_128x64_tn", "ampere_fp16_s16816gemm_fp16_128x128_ldg8_f2f_stages_32x5_tn", "volta_h884gemm_64x128_ldg8_tn", "turing_fp16_s1688gemm_fp16_128x64_sliced1x2_ldg8_f2f_tn",
		"_ZN7cutlass7Kernel2I66cutlass_80_tensorop_f16_s16816gemm_relu_f16_256x128_32x6_tn_align8EEvNT_6ParamsE",
		"void cutlass::Kernel2<cutlass_80_simt_sgemm_128x32_8x5_tn_align1>(cutlass_80_simt_sgemm_128x32_8x5_tn_align1::Params)",
		"void cutlass::device_kernel<cutlass::gemm::kernel::GemmUniversal<cute::tuple<int, int, int, int>, cutlass::gemm::collective::CollectiveMma<>>>(Params)",
		"_Z17gemv2T_kernel_valIiiffffLi128ELi16ELi4ELi4ELb0ELb1E18cublasGemvParamsExIi30cublasGemvTensorStridedBatchedIKfES3_S1_IfEfEEvT11_T4_S7_",
		"void cublasLt::splitKreduce_kernel<32, 16, int, float, __nv_bfloat16, float, __nv_bfloat16, false>(cublasLt::cublasSplitKParams<float>)",
		"void gemmSN_NN_kernel<float, 128, 2, 4, 8, 4, 4, false>(cublasGemmSmallNParams)", "triton_tem_fused_mm_3", "void marlin::Marlin<256, 4, 16, 4, 4>(int4 const*)",
		"fused_moe_kernel", "void deep_gemm::sm90_fp8_gemm_1d2d_impl<128u>(float*)", "void dot_kernel<float, 128, 0, cublasDotParams>(cublasDotParams)", "_scaled_mm_kernel",
	},
	ClassAttention: {
		"cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x64_4x1x1_cga1x1x1_kernel0_0",
		"cudnn_generated_fort_native_sdpa_sm90_flash_bprop_wgmma_f16_knob_26_64x64x64_1x4x1_cga1x1x1_kernel0_0",
		"void cudnn::fusion::compute_dot_do_o_specialized<true, 64>(void const*, void const*)", "void cudnn::fusion::convert_dq_to_16bits<true>(void const*, void*)",
		"void flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128, 128, 4, false, false, cutlass::half_t>>(flash::Flash_fwd_params)",
		"void flash::flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<Flash_bwd_kernel_traits<64>>(flash::Flash_bwd_params)",
		"fmha_cutlassF_f16_aligned_64x64_rf_sm80(PyTorchMemEffAttention::AttentionKernel::Params)", "void vllm::paged_attention_v1_kernel<float, float, 128>(float*)",
		"_attn_fwd", "void flashinfer::BatchDecodeWithPagedKVCacheKernel<true>(Params)", "triton_tem_fused_flex_attention_0", "kernel_unified_attention_2d",
		"void cutlass::device_kernel<flash::FlashAttnFwdSm90<flash::CollectiveMainloopFwdSm90>>(Params)", "void flash_mla::flash_fwd_splitkv_mla_kernel<>(Params)",
	},
	ClassConvolution: {
		"sm80_xmma_fprop_implicit_gemm_tf32f32_tf32f32_f32_nhwckrsc_nchw_tilesize128x128x16_stage4_warpsize2x2x1_g1_tensor16x8x8_kernel_cudnn",
		"sm80_xmma_wgrad_implicit_gemm_indexed_tf32f32_tf32f32_f32_nhwckrsc_nhwc_tilesize128x128x16", "cudnn_infer_ampere_scudnn_winograd_128x128_ldg1_ldg4_relu_tile148t_nt_v1",
		"void implicit_convolve_sgemm<float, float, 1024, 5, 5, 3, 3, 3, 1, false, false, true>(int)", "void cudnn::cnn::conv2d_grouped_direct_kernel<false>(cudnnTensorStruct)",
		"void at::native::(anonymous namespace)::conv_depthwise2d_forward_kernel<3, float, int>(float)", "_5x_cudnn_ampere_scudnn_128x64_relu_xregs_large_dgrad",
		"void cutlass__5x_cudnn::Kernel<cutlass_tensorop_s1688dgrad_optimized_tf32_256x128_16x3_nhwc_unity_stride_align4>(Params)",
	},
	ClassElementwise: {
		"_ZN2at6native29vectorized_elementwise_kernelILi4ENS0_15CUDAFunctor_addIfEESt5arrayIPcLm3EEEEviT0_T1_",
		"void at::native::elementwise_kernel<128, 4, at::native::gpu_kernel_impl_nocast<at::native::BinaryFunctor<float, float, float, at::native::binary_internal::MulFunctor<float>>>>(int)",
		"void at::native::vectorized_elementwise_kernel<8, at::native::GeluCUDAKernelImpl(at::TensorIteratorBase&, at::native::GeluType)::{lambda()#2}, std::array<char*, 2ul> >(int)",
		"void (anonymous namespace)::elementwise_kernel_with_index<int, at::native::arange_cuda_out(c10::Scalar const&)::{lambda()#1}>(int)",
		"void at::native::(anonymous namespace)::distribution_elementwise_grid_stride_kernel<unsigned int, 4>(long)", "triton_poi_fused_add_cat_index_select_mul_split_sub_unsqueeze_view_0",
		"void vllm::act_and_mul_kernel<c10::BFloat16, &vllm::silu_kernel<c10::BFloat16>, true>(c10::BFloat16*)", "void vllm::rotary_embedding_kernel<c10::BFloat16, true>(long const*)",
		"loop_add_fusion_3", "void at::native::(anonymous namespace)::fused_dropout_kernel_vec<float>(float)", "demo_saxpy",
	},
	ClassReduction: {
		"void at::native::reduce_kernel<128, 4, at::native::ReduceOp<c10::BFloat16, at::native::func_wrapper_t<c10::BFloat16, at::native::sum_functor<c10::BFloat16>>>>(int)",
		"_ZN2at6native12_GLOBAL__N_128vectorized_layer_norm_kernelIN3c108BFloat16EfLb1EEEviT0_PKT_S8_S8_PS5_S9_PS6_",
		"void at::native::(anonymous namespace)::GammaBetaBackwardCUDAKernelTemplate<float, float, 32u, 32u, 256u, false, true, false>(long, long)",
		"void at::native::(anonymous namespace)::cunn_SoftMaxBackward<8, c10::BFloat16, float>(c10::BFloat16*)",
		"_ZN43_GLOBAL__N__b6de9c8c_10_SoftMax_cu_9f978f6320softmax_warp_forwardIfffLi4ELb0ELb0EEEvPT0_PKT_iiiPKbib", "_ZN4vllm15rms_norm_kernelIN3c104HalfEEEvPT_PKS3_S6_fii",
		"void at::native::(anonymous namespace)::nll_loss_forward_reduce_cuda_kernel_2d<float, float, long>(float*)", "triton_red_fused_native_layer_norm_2", "triton_per_fused_mean_pow_rsqrt_1",
		"void flashinfer::norm::RMSNormKernel<8, __nv_bfloat16>(__nv_bfloat16*)", "void cudnn::bn_fw_tr_1C11_kernel_NCHW<float, float, 512, true, 1, true>(cudnnTensorStruct)",
		"input_reduce_fusion_1", "demo_layernorm", "demo_loss", "void flashinfer::sampling::TopKTopPSamplingFromProbKernel<1024>(float*)",
	},
	ClassGather: {
		"void at::native::vectorized_gather_kernel<16, long>(char*, char*, long*, int, long, long, long, long, bool)",
		"void at::native::(anonymous namespace)::indexSelectSmallIndex<c10::BFloat16, long, unsigned int, 2, 2, -2>(at::cuda::detail::TensorInfo<c10::BFloat16, unsigned int>)",
		"void at::native::(anonymous namespace)::embedding_backward_feature_kernel<float, float, long>(long const*)", "void at::native::index_elementwise_kernel<128, 4, at::native::gpu_index_kernel>(long)",
		"void at_cuda_detail::cub::detail::radix_sort::DeviceRadixSortOnesweepKernel<at_cuda_detail::cub::detail::radix::policy_hub<long>>(int*)",
		"void at_cuda_detail::cub::detail::unique_by_key::DeviceUniqueByKeySweepKernel<at_cuda_detail::cub::detail::unique_by_key::policy_hub<long, int>::Policy1000>(long const*)",
		"void at::native::(anonymous namespace)::compute_grad_weight<float, long>(long const*)", "void at::native::(anonymous namespace)::sum_and_scatter<float, long>(long const*)",
		"void at::native::_scatter_gather_elementwise_kernel<128, 8>(int)", "void vllm::moe::topkGatingSoftmax<8, 64, 4, 16, 32>(float const*)", "void at::native::sbtopk::gatherTopK<float, unsigned int, 2, false>(int)",
	},
	ClassOptimizer: {
		"void at::native::(anonymous namespace)::multi_tensor_apply_kernel<at::native::(anonymous namespace)::FusedOptimizerTensorListMetadata<4>, at::native::(anonymous namespace)::FusedAdamMathFunctor<float, 4>>(int)",
		"void multi_tensor_apply_kernel<TensorListMetadata<4>, AdamFunctor<float, float, int>, float, float>(long)", "void kOptimizerStatic8bit1StateBlockwise<float, 0, 256, 1>(float*)", "demo_adamw",
		"void lamb_stage1_kernel<float>(float*)",
	},
	ClassCommunication: {
		"_Z40ncclDevKernel_AllReduce_Sum_bf16_RING_LL24ncclDevKernelArgsStorageILm4096EE", "ncclKernel_AllGather_RING_LL_Sum_int8_t(ncclWorkElem)", "ncclDevKernel_SendRecv(ncclDevKernelArgsStorage<4096ul>)",
		"void vllm::cross_device_reduce_1stage<__nv_bfloat16, 8>(vllm::RankData*)", "void tensorrt_llm::kernels::oneShotAllReduceKernel<__nv_bfloat16, 8>(AllReduceParams)", "multimem_all_reduce_kernel",
		"void nvshmemi_transfer_rma<1>(void*)",
	},
	ClassMemory: {
		"void at::native::vectorized_elementwise_kernel<8, at::native::bfloat16_copy_kernel_cuda(at::TensorIteratorBase&)::{lambda(float)#1}, std::array<char*, 2ul> >(int)",
		"void at::native::unrolled_elementwise_kernel<at::native::direct_copy_kernel_cuda(at::TensorIteratorBase&)::{lambda()#3}::operator()() const::{lambda()#7}, std::array<char*, 2ul>>(int)",
		"_ZN2at6native29vectorized_elementwise_kernelILi4ENS0_11FillFunctorIN3c108BFloat16EEESt5arrayIPcLm1EEEEviT0_T1_",
		"void at::native::(anonymous namespace)::CatArrayBatchedCopy<at::native::(anonymous namespace)::OpaqueType<2u>, unsigned int, 4, 64, 64>(int)",
		"void vllm::reshape_and_cache_flash_kernel<__nv_bfloat16, __nv_bfloat16, (vllm::Fp8KVCacheDataType)0>(__nv_bfloat16 const*)",
		"void cudnn::ops::nchwToNhwcKernel<__half, __half, float, false, true, (cudnnKernelDataType_t)0>(cudnn::ops::nchw2nhwc_params_t<float>)",
	},
	ClassOther: {"", "kernel_1", "my_solver", "_ZN2at6nativeXYZ", "void (*)()", "<<<<", "((("},
}

func TestClassOf(t *testing.T) {
	for want, names := range classNames {
		for _, name := range names {
			if got := ClassOf(name); got != want {
				t.Errorf("%s is %s, want %s", name, got, want)
			}
		}
	}
}

// TestClassOfIsTheSameForBothSpellings: traces hold mangled names, other formats whole ones.
func TestClassOfIsTheSameForBothSpellings(t *testing.T) {
	n := 0
	for _, names := range classNames {
		for _, name := range names {
			if strings.HasPrefix(name, "_Z") && Demangle(name) != name {
				n++
				if a, b := ClassOf(name), ClassOf(Demangle(name)); a != b {
					t.Errorf("%s is %s mangled, %s whole", name, a, b)
				}
			}
		}
	}
	if n < 5 {
		t.Fatalf("only %d mangled names", n)
	}
}
