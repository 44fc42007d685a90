package doctor

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/ceilings"
)

const (
	// coresShare is from which part of a step on matrix products without tensor cores are a finding.
	coresShare = 0.05
	// coresFaster is by how much tensor cores are taken to be faster in TF32 where no ceilings are known: less than
	// on any GPU that has both.
	coresFaster = 4.0
	// coresReached is how much of that a program's products are taken to reach.
	coresReached = 0.75
	// tensorIdle is up to which part of the time tensor cores may be at work and still be called idle.
	tensorIdle = 0.05
)

// tensorCoresIdle finds matrix products in full fp32.
func tensorCoresIdle() Rule {
	return Rule{
		ID: "time.tensor-cores-idle", What: "matrix products in full fp32, which tensor cores cannot do", needs: []need{needWork, needKernels, needTensorCores},
		judge: func(c *Case) (*Finding, string) {
			var slow, all int64
			var longest *analyze.AccountKernel
			for i := range c.Account.Kernels {
				k := &c.Account.Kernels[i]
				if k.Class != "matmul" && k.Class != "convolution" {
					continue
				}
				all += k.TotalNS
				if !analyze.OnCUDACores(k.Name) && !analyze.OnCUDACores(k.Symbol) {
					continue
				}
				slow += k.TotalNS
				if longest == nil {
					longest = k
				}
			}
			if c.share(slow) < coresShare {
				return nil, fmt.Sprintf("kernels of matrix products in full fp32 take %s (%s), of %s in all", c.each(slow), percent(c.share(slow)), c.each(all))
			}
			faster, from := c.coresFaster()
			saved := int64(float64(slow) * (1 - 1/max(faster*coresReached, 1.5)))
			out := &Finding{
				Title: "Matrix products in full fp32 leave the tensor cores idle", Confidence: Medium, Cost: c.cost(saved, Estimated),
				Evidence: []Evidence{
					c.time("products of fp32 kernels that use no tensor cores", slow, shortKernel(longest.Name)), c.part("of the step", slow),
					{What: "times that tensor cores are faster in TF32 (" + from + ")", Figure: faster, Unit: "count", Source: Estimated},
				},
				RuledOut: []string{},
			}
			if a, _ := c.row(); a != nil {
				if p := a.Phase(analyze.PhaseSteady); p != nil && p.Tensor != nil {
					out.Evidence = append(out.Evidence, Evidence{What: "tensor cores at work", Figure: p.Tensor.Mean, Unit: "share", Source: Measured, Where: fmt.Sprintf("NVML, mean of %d windows", p.Windows)})
					if p.Tensor.Mean <= tensorIdle {
						out.Confidence = High
					}
				}
			}
			gain := fmt.Sprintf("about %s, estimated", c.each(saved))
			if c.torch() {
				out.Fix = []Fix{
					{Change: "allow TF32: 10 bits of mantissa in products, fp32 everywhere else", Direction: "replace", Gain: gain, Paste: "torch.set_float32_matmul_precision(\"high\")"},
					{Change: "or compute in bfloat16, at half the bytes", Direction: "replace", Gain: "more than that, not measured here", Paste: "with torch.autocast(\"cuda\", torch.bfloat16):"},
				}
			} else {
				out.Fix = []Fix{{Change: "allow TF32 in cuBLAS, or compute in bfloat16", Direction: "replace", Gain: gain, Paste: "cublasSetMathMode(handle, CUBLAS_TF32_TENSOR_OP_MATH);"}}
			}
			return out, ""
		},
	}
}

// tensorCores says whether the GPU may have tensor cores that take fp32: Ampere and newer have.
func (c *Case) tensorCores() bool {
	gpu := c.In.GPU(c.Account.UUID, c.Account.GPU)
	if gpu == nil || gpu.Capability == "" {
		return true
	}
	major, _, _ := strings.Cut(gpu.Capability, ".")
	n, err := strconv.Atoi(major)
	return err != nil || n >= 8
}

// coresFaster returns how many times faster tensor cores are in TF32 than the CUDA cores in fp32, and who says so.
func (c *Case) coresFaster() (times float64, from string) {
	_, roofline := c.row()
	if roofline != nil {
		tensor, cores := roofline.Ceiling(ceilings.TF32), roofline.Ceiling(ceilings.Float32)
		if tensor != nil && cores != nil && cores.PerSecond > 0 {
			return tensor.PerSecond / cores.PerSecond, tensor.Source
		}
	}
	return coresFaster, "assumed: no ceilings of this GPU"
}
