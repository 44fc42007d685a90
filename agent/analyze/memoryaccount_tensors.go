package analyze

import (
	"fmt"
	"path"
)

// TensorsJoin puts what PyTorch's allocator held at a failure into an account of the same moment. It says whether
// the process is in it.
func (m *MemoryAccount) TensorsJoin(t *Tensors) bool {
	if t.Added == nil || t.Failed == nil {
		return false
	}
	for i := range m.GPUs {
		for j := range m.GPUs[i].Traced {
			p := &m.GPUs[i].Traced[j]
			if p.TorchBytes == 0 || p.Inner != t.Added.PID && p.PID != t.Added.PID || p.Tensors != nil {
				continue
			}
			p.Tensors = tensorAccount(t, p.TorchBytes)
			return true
		}
	}
	return false
}

func tensorAccount(t *Tensors, torch uint64) *TensorAccount {
	h := t.Failed
	out := &TensorAccount{
		File: path.Base(t.File), When: "at the failure", Reserved: h.Reserved, Roles: h.Roles, Rounding: h.Live - min(h.Requested, h.Live), Pending: h.Pending,
		Private: h.Private, Free: []PoolFree{}, Difference: int64(torch) - int64(h.Reserved),
	}
	for _, p := range h.Pools {
		if n := p.FreePartly + p.FreeWhole; n > 0 {
			size := "large"
			if p.Small {
				size = "small"
			}
			out.Free = append(out.Free, PoolFree{Pool: fmt.Sprintf("%s, %s", p.Pool, size), Stream: p.Stream, Bytes: n})
		}
	}
	return out
}
