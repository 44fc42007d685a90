package bench

import (
	"errors"
	"testing"

	"github.com/warpscope/warpscope/cuda"
	"github.com/warpscope/warpscope/kernels"
)

// A library that is nowhere is an error of the first row that asks for it, and no partner of the others.
func TestMissingLibrariesAreSaidOnce(t *testing.T) {
	partners := References(cuda.Search{Path: "/nowhere/nvidia", Getenv: func(string) string { return "" }})
	problems := map[string]any{
		"cuBLASLt": kernels.Product{M: 16, N: 16, K: 16}, "cuDNN": kernels.Attend{Batch: 1, Heads: 1, KeyHeads: 1, Queries: 16, Keys: 16, D: 64},
		"cuMemcpyDtoD": CopyProblem{},
	}
	if len(partners) != len(problems) {
		t.Fatalf("%d partners for %d problems", len(partners), len(problems))
	}
	for _, p := range partners {
		for name, problem := range problems {
			_, err := p.Prepare(nil, problem)
			switch {
			case name != p.Name():
				if !errors.Is(err, ErrNoPartner) {
					t.Errorf("%s for a problem of %s: %v", p.Name(), name, err)
				}
			case p.Name() == "cuMemcpyDtoD":
				if err != nil {
					t.Errorf("the driver's copy: %v", err)
				}
			default:
				if !errors.Is(err, cuda.ErrNoLibrary) {
					t.Errorf("%s, the first time: %v", name, err)
				}
				if _, err := p.Prepare(nil, problem); !errors.Is(err, ErrNoPartner) {
					t.Errorf("%s, the second time: %v", name, err)
				}
			}
		}
	}
	causal := kernels.Attend{Batch: 1, Heads: 1, KeyHeads: 1, Queries: 16, Keys: 32, D: 64, Causal: true}
	if _, err := partners[1].Prepare(nil, causal); !errors.Is(err, ErrNoPartner) {
		t.Errorf("causal, with more keys than queries: %v", err)
	}
}
