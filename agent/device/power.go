package device

import "github.com/NVIDIA/go-nvml/pkg/nvml"

// powerLimits returns the power that the GPU may take now and the one it is made for, in mW; notAvailable where NVML does
// not say.
func (g *nvmlGPU) powerLimits() (now, usual int64) {
	if g.parent != nil {
		return notAvailable, notAvailable // it is the whole GPU's
	}
	read := func(symbol string, get func() (uint32, nvml.Return)) int64 {
		if !g.driver.has(symbol) {
			return notAvailable
		}
		v, ret := get()
		if ret != nvml.SUCCESS {
			return notAvailable
		}
		return int64(v)
	}
	return read("nvmlDeviceGetEnforcedPowerLimit", g.dev.GetEnforcedPowerLimit),
		read("nvmlDeviceGetPowerManagementDefaultLimit", g.dev.GetPowerManagementDefaultLimit)
}
