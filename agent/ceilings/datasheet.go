package ceilings

// tera and giga are units of the datasheets.
const (
	tera = 1e12
	giga = 1e9
)

// sheet is what a datasheet says: dense rates of the tensor cores and of the CUDA cores (Float32) in tera-operations a
// second, memory in GB/s. A zero is not on the sheet, or the GPU cannot do it.
type sheet struct {
	bf16, tf32, fp8, int8, fp32 float64
	memory                      float64
}

// sheets are by the name that NVML gives the product. Where a sheet counts with sparsity, half of it. A GPU that is missing
// here has no share of a datasheet: none is guessed.
func sheets() map[string]sheet {
	// NVIDIA H100 Tensor Core GPU Architecture, table of peak rates, and the H100 datasheet: SXM 1,979 bf16 and 3,958 fp8 with sparsity,
	// 3.35 TB/s. Dense as in the former: https://glennklockwood.com/garden/processors/h100 quotes it.
	h100 := sheet{bf16: 989.4, tf32: 494.7, fp8: 1978.9, int8: 1978.9, fp32: 66.9, memory: 3350}
	// NVIDIA A100 datasheet, nvidia-a100-datasheet-us-nvidia-1758950-r4-web.pdf: 312, 156, 624, 19.5; memory 2,039 (SXM, 80 GB),
	// 1,935 (PCIe, 80 GB), 1,555 (40 GB). https://glennklockwood.com/garden/processors/A100 quotes it.
	a100 := sheet{bf16: 312, tf32: 156, int8: 624, fp32: 19.5, memory: 2039}
	with := func(s sheet, memory float64) sheet {
		s.memory = memory
		return s
	}
	return map[string]sheet{
		"NVIDIA H100 80GB HBM3": h100,
		// NVIDIA H200 datasheet: the H100's rates, 4.8 TB/s; https://itkb.uw.cz/2026/06/nvidia-h200-vs-b300-precisions-cores.html has them dense.
		"NVIDIA H200": with(h100, 4800),
		// NVIDIA H100 datasheet, PCIe: 756, 1,513 and 3,026 with sparsity, 51, 2,000 GB/s;
		// https://archive-lib.hpctech.co.jp/gpuproduct/nvidia-h100.html quotes it.
		"NVIDIA H100 PCIe":      {bf16: 756.5, tf32: 378, fp8: 1513, int8: 1513, fp32: 51, memory: 2000},
		"NVIDIA A100-SXM4-80GB": a100,
		"NVIDIA A100-SXM4-40GB": with(a100, 1555),
		"NVIDIA A100 80GB PCIe": with(a100, 1935),
		"NVIDIA A100-PCIE-40GB": with(a100, 1555),
		// NVIDIA L40S datasheet, dense beside sparse; https://www.mullet.se/product.html?product_id=355414 quotes it.
		"NVIDIA L40S": {bf16: 362.05, tf32: 183, fp8: 733, int8: 733, fp32: 91.6, memory: 864},
		// NVIDIA L4 datasheet: 120, 242 and 485 with sparsity, 30.3, 300 GB/s.
		"NVIDIA L4": {bf16: 121, tf32: 60, fp8: 242.5, int8: 242.5, fp32: 30.3, memory: 300},
	}
}

// OfDatasheet is what the datasheet of a product says, by NVML's name; ErrUnknown if it is not in the table.
func OfDatasheet(product string) (Set, error) {
	s, ok := sheets()[product]
	if !ok {
		return Set{}, unknown(product)
	}
	rates := map[Kind]float64{
		BFloat16: s.bf16 * tera, Float16: s.bf16 * tera, TF32: s.tf32 * tera, Float8: s.fp8 * tera, Int8: s.int8 * tera, Float32: s.fp32 * tera,
		Read: s.memory * giga, Write: s.memory * giga, Copy: s.memory * giga, Triad: s.memory * giga,
	}
	for k, r := range rates {
		if r == 0 {
			delete(rates, k)
		}
	}
	return Set{Version: Schema, GPU: product, Source: Datasheet, Rates: rates}, nil
}
