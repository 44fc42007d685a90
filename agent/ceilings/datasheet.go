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

// sheets are by the name that NVML gives the product. From NVIDIA's datasheets of each product; where a sheet counts
// with sparsity, half of it.
func sheets() map[string]sheet {
	h100, a100 := sheet{989.5, 494.7, 1979, 1979, 67, 3350}, sheet{312, 156, 0, 624, 19.5, 2039}
	with := func(s sheet, memory float64) sheet {
		s.memory = memory
		return s
	}
	return map[string]sheet{
		"NVIDIA H100 80GB HBM3": h100,
		"NVIDIA H200":           with(h100, 4800),
		"NVIDIA H100 PCIe":      {756, 378, 1513, 1513, 51, 2000},
		"NVIDIA A100-SXM4-80GB": a100,
		"NVIDIA A100-SXM4-40GB": with(a100, 1555),
		"NVIDIA A100 80GB PCIe": with(a100, 1935),
		"NVIDIA A100-PCIE-40GB": with(a100, 1555),
		"NVIDIA L40S":           {362, 183, 733, 733, 91.6, 864},
		"NVIDIA L4":             {121, 60, 242.5, 242.5, 30.3, 300},
		"NVIDIA A10":            {125, 62.5, 0, 250, 31.2, 600},
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
	return Set{Version: schema, GPU: product, Source: Datasheet, Rates: rates}, nil
}
