package kernels

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"testing"
)

// families are the families with the names of kernels that all of their images have.
func families() map[Family][]string {
	return map[Family][]string{
		Demo():      DemoKernels(),
		Verify():    {"verify_fill", "verify_matmul", "verify_attention", "verify_compare", "verify_same", "verify_written", "verify_sum"},
		Memory():    {"memory_read", "memory_write", "memory_copy", "memory_triad", "memory_stride", "memory_gather", "memory_chase"},
		Latency():   {"latency_empty", "latency_spin", "chain_scale", "chain_fused"},
		Matmuls():   {"matmul_sm80_bf16", "matmul_fp32", "transpose_tiled"},
		Attention(): {"attention_product", "attention_sm80_128", "attention_decode_128", "attention_merge"},
	}
}

// The committed images must be those of the committed sources: build.sh writes both hashes.
func TestManifestIsThatOfTheSourcesAndTheImages(t *testing.T) {
	hash := func(b []byte) string { sum := sha256.Sum256(b); return hex.EncodeToString(sum[:]) }
	for f, names := range families() {
		m, err := f.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range m.Sources {
			source, err := os.ReadFile(s.File)
			if err != nil {
				t.Fatal(err)
			}
			if hash(source) != s.SHA256 {
				t.Errorf("%s has changed since the images of %s were compiled: run make kernels", s.File, f.name)
			}
		}
		if len(m.Sources) == 0 || len(m.Images) == 0 || m.Compiler == "" || len(m.Flags) == 0 {
			t.Errorf("the manifest of %s says too little: %+v", f.name, m)
		}
		for _, i := range m.Images {
			image, err := images.ReadFile("images/" + i.File)
			if err != nil {
				t.Error(err)
				continue
			}
			if hash(image) != i.SHA256 {
				t.Errorf("%s is not the image that the manifest names", i.File)
			}
			for _, name := range names {
				if !bytes.Contains(image, []byte(name)) {
					t.Errorf("%s has no kernel %s", i.File, name)
				}
			}
			for _, k := range i.Kernels {
				if k.Spills != 0 || k.Registers == 0 {
					t.Errorf("%s: %+v", i.File, k)
				}
			}
		}
	}
}

func TestSelectPrefersMachineCodeAndFallsBackToPTX(t *testing.T) {
	for _, c := range []struct {
		major, minor int
		want         string
	}{
		{8, 0, "demo.sm_80.cubin"},
		{8, 7, "demo.sm_86.cubin"},
		{8, 9, "demo.sm_89.cubin"},
		{9, 0, "demo.sm_90a.cubin"},
		{9, 1, "demo.compute_80.ptx"},
		{10, 0, "demo.compute_80.ptx"},
		{12, 1, "demo.compute_80.ptx"},
	} {
		i, image, err := Demo().Select(c.major, c.minor)
		if err != nil || i.File != c.want || len(image) == 0 {
			t.Errorf("for %d.%d: %s, %d bytes, %v; want %s", c.major, c.minor, i.File, len(image), err, c.want)
		}
	}
	if _, _, err := Demo().Select(7, 5); !errors.Is(err, ErrNoImage) {
		t.Errorf("for 7.5: %v", err)
	}
}

// TestPTXIsOldEnough: a driver refuses PTX that is newer than itself, and those since 525 are to take it.
func TestPTXIsOldEnough(t *testing.T) {
	for _, f := range []Family{Demo(), Memory(), Matmuls(), Attention(), Latency(), Verify()} {
		i, image, err := f.Select(10, 0)
		if err != nil || i.Kind != "ptx" || !bytes.Contains(image, []byte("\n.version 8.0\n")) || !bytes.Contains(image, []byte("\n.target sm_80\n")) {
			t.Errorf("%s: %v", i.File, err)
		}
	}
}

func TestLaunchesCoverEveryElement(t *testing.T) {
	for _, c := range []struct {
		launch  Launch
		threads uint64 // at least, and less than one block more in each direction
		args    int
	}{
		{Saxpy(1000, 1, 0, 0), 1000, 4},
		{Loss(257, 0, 0, 0, 0), 257, 5},
		{AdamW(1, 0, 1, 0, 0, 0, 0), 1, 7},
		{Matmul(17, 33, 5, true, 0, 0, 0), 17 * 33, 7},
		{MatmulGrad(16, 16, 5, 0, 0, 0), 256, 6},
		{LayerNorm(9, 100, 0, 0), 9 * 100, 3},
	} {
		got := c.launch.Config.Grid.Count() * c.launch.Config.Block.Count()
		if got < c.threads || len(c.launch.Args) != c.args {
			t.Errorf("%s: %d threads for %d elements, %d arguments, want %d", c.launch.Kernel, got, c.threads, len(c.launch.Args), c.args)
		}
	}
	if g := Matmul(17, 33, 5, false, 0, 0, 0).Config.Grid; g[0] != 3 || g[1] != 2 {
		t.Errorf("a 17 by 33 matrix takes %v blocks", g)
	}
}
